"""The `ronghe` command, assembled."""

import os
from collections.abc import Sequence

import typer

from clients.cli import (
    accesses,
    answering,
    applications,
    backups,
    bridges,
    case_acts,
    cases,
    catalog,
    certificates,
    clock,
    collaborations,
    conformance,
    dead_letters,
    deciding,
    doctor,
    documents,
    faults,
    inbox,
    journals,
    locate,
    mesh,
    operator,
    preview,
    requesting,
    routing,
    tasks,
    trace,
)
from clients.cli.command import QUIET_TRANSPORT, remember
from clients.telemetry.logging import configure_logging

TOP = (
    mesh.app,
    applications.app,
    inbox.app,
    documents.app,
    trace.app,
    catalog.app,
    journals.app,
    operator.app,
    doctor.app,
    faults.app,
    conformance.app,
    backups.app,
)
CASE = (cases.app, locate.app, case_acts.app, deciding.app, applications.case_app)
COLLABORATION = (collaborations.app, requesting.app, routing.app)
TASK = (tasks.app, answering.app)
CATALOG = (catalog.catalog_app, preview.app)


def build() -> typer.Typer:
    """The whole command."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(remember)
    for part in TOP:
        app.add_typer(part)
    app.add_typer(_group("Cases (办件): look at them, and act in them.", CASE), name="case")
    app.add_typer(_group("Collaborations (协同事件): asking others about a case.", COLLABORATION), name="collaboration")
    app.add_typer(_group("Tasks (协办任务): what other organs ask the acting organ.", TASK), name="task")
    app.add_typer(_group("The catalog (事项目录): the items, and who is asked about them.", CATALOG), name="catalog")
    app.add_typer(bridges.app, name="bridge")
    app.add_typer(clock.app, name="clock")
    app.add_typer(dead_letters.app, name="dead-letters")
    app.add_typer(certificates.app, name="certs")
    app.add_typer(accesses.app, name="access")
    return app


def _group(about: str, parts: Sequence[typer.Typer]) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, help=about)
    for part in parts:
        app.add_typer(part)
    return app


def main() -> None:
    """Run the command line."""
    os.environ.setdefault(*QUIET_TRANSPORT)
    configure_logging("ronghe")
    build()()

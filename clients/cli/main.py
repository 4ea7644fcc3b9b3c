"""The `ronghe` command, assembled."""

import os

import typer

from clients.cli import (
    acts,
    applications,
    cases,
    catalog,
    certificates,
    documents,
    inbox,
    locate,
    mesh,
    operations,
    trace,
)
from clients.cli.command import remember
from clients.telemetry.logging import configure_logging

TOP = (mesh.app, applications.app, inbox.app, documents.app, trace.app, catalog.app, operations.app)
CASE = (cases.app, locate.app, acts.app, applications.case_app)


def build() -> typer.Typer:
    """The whole command."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
    app.callback()(remember)
    for part in TOP:
        app.add_typer(part)
    app.add_typer(_case(), name="case")
    app.add_typer(certificates.app, name="certs")
    return app


def _case() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, help="Cases (办件): look at them, and act in them.")
    for part in CASE:
        app.add_typer(part)
    return app


def main() -> None:
    """Run the command line."""
    # What grpc's core says on standard error is no sentence of ours.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    configure_logging("ronghe")
    build()()

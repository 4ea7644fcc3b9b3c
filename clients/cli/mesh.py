"""`ronghe up` and `ronghe demo`."""

import os
import sys
from typing import Annotated

import typer

from clients.cli.command import QUIET_TRANSPORT, DataOption, data_of
from clients.cli.errors import one_sentence
from clients.cli.language import in_english

app = typer.Typer()

PortBase = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65400,
        show_default="7100",
        help="First port: intake +1, governance +2, department +3, Kafka +92 and +93; 0 for any free ones.",
    ),
]


@app.command()
def up(
    context: typer.Context,
    data: DataOption = None,
    port_base: PortBase = None,
    stepped_clock: Annotated[
        bool, typer.Option("--stepped-clock", help="A simulation: `ronghe clock advance` lets time pass in it.")
    ] = False,
    database: Annotated[
        str,
        typer.Option(
            help="A PostgreSQL server, postgresql://USER:PASSWORD@HOST:PORT: a database each is made there.",
            show_default="SQLite files",
        ),
    ] = "",
    replicas: Annotated[
        int | None,
        typer.Option(min=1, max=9, show_default="1", help="Processes of each subsystem; needs PostgreSQL."),
    ] = None,
    brokers: Annotated[
        int | None,
        typer.Option(min=1, max=3, show_default="1", help="Kafka brokers: three survive the loss of one."),
    ] = None,
) -> None:
    """Start a mesh on this machine: Kafka and the three subsystems, until Ctrl-C."""
    options = [] if port_base is None else ["--port-base", str(port_base)]
    options += ["--stepped-clock"] if stepped_clock else []
    options += ["--database", database] if database else []
    options += [] if replicas is None else ["--replicas", str(replicas)]
    options += [] if brokers is None else ["--brokers", str(brokers)]
    command = [sys.executable, "-m", "servers.mesh", "--data", str(data_of(context, data)), *options]
    # The servers' logs are to have what the transport library says of handshakes that fail.
    environment = {name: value for name, value in os.environ.items() if (name, value) != QUIET_TRANSPORT}
    os.execve(sys.executable, command, environment)  # noqa: S606 - the mesh takes this process's place, and its signals


@app.command()
def demo(
    context: typer.Context,
    data: DataOption = None,
    port_base: PortBase = None,
    cases: Annotated[int, typer.Option(min=1, help="Applications to play.")] = 300,
) -> None:
    """Play applications through the whole mesh, and compare how each ended with its plan; 0 when all ended so.

    The mesh that runs on the data directory is used; where none does, one is started, and stopped at the end.
    """
    from clients.demo.main import run

    with in_english(), one_sentence():  # its stories have no Chinese
        raise typer.Exit(run(data_of(context, data), cases, port_base))

"""`ronghe up` and `ronghe demo`."""

import os
import sys
from typing import Annotated

import typer

from clients.cli.command import DataOption, data_of

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
def up(context: typer.Context, data: DataOption = None, port_base: PortBase = None) -> None:
    """Start a mesh on this machine: Kafka and the three subsystems, until Ctrl-C."""
    ports = [] if port_base is None else ["--port-base", str(port_base)]
    command = [sys.executable, "-m", "servers.mesh", "--data", str(data_of(context, data)), *ports]
    os.execv(sys.executable, command)  # noqa: S606 - the mesh takes this process's place, and its signals


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

    raise typer.Exit(run(data_of(context, data), cases, port_base))

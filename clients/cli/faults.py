"""`ronghe faults`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def faults(
    quick: Annotated[bool, typer.Option("--quick", help="One mesh: kills, crash points, Kafka once, poison.")] = False,
    seed: Annotated[int | None, typer.Option(help="Repeats the schedule of an earlier run.")] = None,
    rate: Annotated[
        float, typer.Option(min=0.1, max=500, help="Cases a second; scenes of fewer in proportion.")
    ] = 20.0,
    scene: Annotated[str, typer.Option(help="Scenes whose name matches this regular expression.")] = ".*",
    only: Annotated[str, typer.Option(help="Faults whose name matches this regular expression.")] = "",
    folder: Annotated[Path, typer.Option(help="Made anew: data and report.")] = Path(".ronghe-faults"),
    port_base: Annotated[int, typer.Option(min=1, max=64400, help="First port; each scene has a hundred.")] = 7400,
) -> None:
    """Break a mesh of its own in every way it must survive; an independent checker judges; 0 when all is well."""
    command = [
        sys.executable,
        "-m",
        "faults",
        "--rate",
        str(rate),
        "--folder",
        str(folder),
        "--only",
        only,
        "--scene",
        scene,
    ]
    command += ["--port-base", str(port_base), *(["--quick"] if quick else [])]
    command += [] if seed is None else ["--seed", str(seed)]
    os.execv(sys.executable, command)  # noqa: S606 - the campaign takes this process's place, and its signals

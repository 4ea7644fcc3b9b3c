"""`ronghe backup`, `ronghe restore`: the databases of the data directory, put away and put back."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from clients.cli.acting import Acting
from clients.cli.command import command
from clients.cli.errors import Failure, one_line
from clients.cli.output import rows, show, show_plain_json, table

app = typer.Typer()

FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the backup is.")]


@command(app, "backup")
async def backup(
    acting: Acting, folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")]
) -> None:
    """Copy the databases into a folder, while the mesh runs or not. Keep it safe: it holds personal data.

    The keys in the data directory's `pki` are not copied: keep them elsewhere.
    """
    made = _run(acting, "backup", str(folder))
    lines = [(name, each["epoch"], each["position"]) for name, each in made["databases"].items()]
    _show(acting, made, rows(table("backed up", "epoch#", "up to position#"), lines))


@command(app, "restore")
async def restore(
    acting: Acting,
    folder: FolderArgument,
    only: Annotated[
        list[str] | None, typer.Option(metavar="intake|governance|department", help="Of this subsystem; or all.")
    ] = None,
) -> None:
    """Put databases back from a backup while the mesh is stopped; the ones in place are set aside.

    At the next start each learns again, from Kafka and from its neighbors, what came after the backup.
    """
    chosen = [text for name in only or () for text in ("--only", name)]
    done = _run(acting, "restore", str(folder), *chosen)
    lines = [(name, each["epoch"], each["position"], each["set_aside"]) for name, each in done.items()]
    _show(acting, done, rows(table("restored", "new epoch#", "up to position#", "the one before"), lines))


def _run(acting: Acting, *arguments: str) -> dict[str, Any]:
    module = [sys.executable, "-m", "servers.mesh.backup", "--data", str(acting.data)]
    done = subprocess.run([*module, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(one_line(done.stderr))
    return dict(json.loads(done.stdout))


def _show(acting: Acting, done: dict[str, Any], shown: Any) -> None:
    if acting.json:
        show_plain_json(done)
    else:
        show([shown])

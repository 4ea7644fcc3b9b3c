"""`python -m servers.mesh.backup`: what `ronghe backup` and `ronghe restore` run; it begins epochs on PostgreSQL."""

import argparse
import hashlib
import json
import shutil
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, select, text
from sqlalchemy.exc import SQLAlchemyError

from servers.kernel import journal, tables
from servers.kernel.database import Database
from servers.kernel.restored import begin_epoch
from servers.mesh.epochs import last_epoch, remember_epoch
from servers.mesh.errors import MeshError
from servers.mesh.folder import locked

# Intake last: whatever the others have of a case, it has too.
SUBSYSTEMS = ("department", "governance", "intake")
MANIFEST = "manifest.json"
SLICE = 5_000
# Before kernel_0006 journals were chained otherwise.
EARLIER = text("SELECT count(*) FROM alembic_version WHERE version_num BETWEEN 'kernel_0001' AND 'kernel_0005'")


def back_up(data: Path, folder: Path) -> Mapping[str, Any]:
    """Copy every subsystem's database, each as of one moment, while the mesh runs or not; gives the manifest.

    Raises MeshError.
    """
    if folder.exists() and any(folder.iterdir()):
        raise MeshError(f"{folder} is not empty: name a new folder for each backup")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = {"made_at": made_at, "databases": {name: _copy(data, folder, name) for name in SUBSYSTEMS}}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return manifest


def _copy(data: Path, folder: Path, name: str) -> Mapping[str, Any]:
    source, target = database(data, name), folder / f"{name}.db"
    if not source.exists():
        raise MeshError(f"there is no {source}: a database elsewhere is backed up by its own tools")
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as here,
        closing(sqlite3.connect(target)) as there,
    ):
        here.backup(there)
        there.execute("PRAGMA journal_mode=DELETE")
    return _described(target)


def restore(data: Path, folder: Path, names: Sequence[str]) -> Mapping[str, Any]:
    """Put these databases back, each in a new epoch; the old ones are set aside. Gives what was put back.

    Raises MeshError; before anything is changed where the backup is not whole, or a mesh runs.
    """
    manifest = _manifest(folder)
    with locked(data):
        for name in names:
            _check(folder, name, manifest["databases"])
        return {name: _put_back(data, folder, name) for name in names}


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / MANIFEST).read_text()))
    except (OSError, ValueError) as error:
        raise MeshError(f"{folder} holds no backup: its {MANIFEST} cannot be read") from error


def _check(folder: Path, name: str, databases: Mapping[str, Any]) -> None:
    path = folder / f"{name}.db"
    if name not in databases or not path.exists():
        raise MeshError(f"the backup {folder} has no database of {name}")
    if databases[name] != _described(path):
        raise MeshError(f"{path} is not what was backed up: take another backup")
    with closing(create_engine(f"sqlite:///{path}").connect()) as connection:
        if connection.scalar(EARLIER):
            raise MeshError(
                f"{path} is of an earlier version, which chained its journal in another way: restore it by that"
            )
        fault = first_fault(connection)
    if fault is not None:
        raise MeshError(f"the journal in {path} is not whole: at {fault.position}: {fault.description}")


def first_fault(connection: Connection) -> journal.Fault | None:
    """The first place where a journal is not whole."""
    position, count = 0, SLICE
    while count == SLICE:
        walk = journal.verify(connection, position, SLICE)
        position, count = walk.position, walk.rows
        if walk.fault is not None:
            return walk.fault
    return journal.verify_head(connection)


def _described(path: Path) -> Mapping[str, Any]:
    try:
        with closing(create_engine(f"sqlite:///{path}").connect()) as connection:
            head = connection.execute(select(tables.journal_head)).one()
    except SQLAlchemyError as error:
        raise MeshError(f"{path} is no database of ronghe") from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"epoch": head.epoch, "position": head.position, "hash": head.hash.hex(), "sha256": digest}


def _put_back(data: Path, folder: Path, name: str) -> Mapping[str, Any]:
    target, new = database(data, name), database(data, name).with_suffix(".new")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / f"{name}.db", new)
    with create_engine(f"sqlite:///{new}").begin() as connection:
        epoch = begin_epoch(connection, datetime.now(UTC), after=last_epoch(data, name))
        position = connection.scalar(select(tables.journal_head.c.position))
    remember_epoch(data, name, epoch)
    aside = _set_aside(target, epoch)
    new.rename(target)
    return {"epoch": epoch, "position": position, "set_aside": str(aside) if aside else ""}


def begin(data: Path, name: str, url: str) -> int:
    """Begin a new epoch in a database that was put back by other means; gives it. Raises MeshError.

    It is greater than any before, also where the same backup was put back before.
    """
    try:
        with closing(Database(url)) as database, database.writer.begin() as connection:
            epoch = begin_epoch(connection, datetime.now(UTC), after=last_epoch(data, name))
            # Before the commit: one that was remembered in vain is passed over, one that was forgotten comes again.
            remember_epoch(data, name, epoch)
    except SQLAlchemyError as error:
        raise MeshError(f"the database cannot be changed: {type(error).__name__}") from error
    return epoch


def _set_aside(target: Path, epoch: int) -> Path | None:
    """Together with its log, which may hold what is not in the file yet, and would be taken for that of the new one."""
    was_there = target.exists()
    aside = target.with_name(f"{target.stem}.before-epoch-{epoch}.db")
    for suffix in ("", "-wal", "-shm"):
        path = target.with_name(target.name + suffix)
        if path.exists():
            path.rename(aside.with_name(aside.name + suffix))
    return aside if was_there else None


def database(data: Path, name: str) -> Path:
    """A subsystem's database in a data directory."""
    return data / "db" / f"{name}.db"


def main() -> int:
    """Print what was done, as JSON; 1 with one sentence when it cannot be done."""
    arguments = _arguments()
    try:
        done = arguments.do(arguments)
    except MeshError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 1
    sys.stdout.write(json.dumps(done, indent=2) + "\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ronghe", description="Put databases away, and put them back.")
    parser.add_argument("--data", type=Path, default=Path(".ronghe"), help="data directory (.ronghe)")
    commands = parser.add_subparsers(required=True)
    backup = commands.add_parser("backup")
    backup.set_defaults(do=lambda said: back_up(said.data, said.folder))
    back = commands.add_parser("restore")
    back.add_argument("--only", action="append", choices=SUBSYSTEMS, help="of which subsystem; all when left out")
    back.set_defaults(do=lambda said: restore(said.data, said.folder, said.only or SUBSYSTEMS))
    for command in (backup, back):
        command.add_argument("folder", type=Path, help="of the backup")
    epoch = commands.add_parser("epoch", help="of a database that its own tools have put back")
    epoch.add_argument("name", choices=SUBSYSTEMS, help="of the subsystem, which is stopped")
    epoch.add_argument("url", help="of its database")
    epoch.set_defaults(do=lambda said: {"epoch": begin(said.data, said.name, said.url)})
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Brings a database to the newest schema: the kernel's tables, and the subsystem's beside them."""

from collections.abc import Iterable, Set
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from bridge.crash import crash_point
from servers.kernel.database import Database
from servers.kernel.subsystem import Subsystem

HERE = Path(__file__).parent / "migrations"
# Any number will do, the same in every replica: they migrate one after another.
ADVISORY_LOCK = 7101
VERSIONS = "alembic_version"


def migrate(database: Database, subsystem: Subsystem) -> None:
    """Apply what is missing, in one transaction."""
    folders = (HERE / "versions", subsystem.migrations)
    with database.writer.begin() as connection:
        if not database.is_sqlite:
            # Another replica's migration takes its time.
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        if _applied(connection) != _newest(folders):
            _upgrade(connection, folders)
            crash_point("during-migration")


def _applied(connection: Connection) -> Set[str]:
    """The newest revision of each branch that the database has."""
    if not inspect(connection).has_table(VERSIONS):
        return set()
    return {row.version_num for row in connection.execute(text(f"SELECT version_num FROM {VERSIONS}"))}  # noqa: S608 - a constant


def _newest(folders: Iterable[Path]) -> Set[str]:
    """The newest revision of each branch that there is: a folder is a branch, a file is named after its revision."""
    return {max(path.stem for path in folder.glob("*_[0-9]*.py")) for folder in folders}


def _upgrade(connection: Connection, folders: Iterable[Path]) -> None:
    # Nearly every start finds nothing to do, and need not load it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(map(str, folders)))
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")

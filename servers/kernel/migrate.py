"""Brings a database to the newest schema: the kernel's tables, and the subsystem's beside them."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from bridge.crash import crash_point
from servers.kernel.database import Database
from servers.kernel.subsystem import Subsystem

HERE = Path(__file__).parent / "migrations"
# Any number will do, the same in every replica: they migrate one after another.
ADVISORY_LOCK = 7101


def migrate(database: Database, subsystem: Subsystem) -> None:
    """Apply what is missing, in one transaction."""
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{HERE / 'versions'}\n{subsystem.migrations}")
    with database.writer.begin() as connection:
        if not database.is_sqlite:
            # Another replica's migration takes its time.
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        config.attributes["connection"] = connection
        command.upgrade(config, "heads")
        crash_point("during-migration")

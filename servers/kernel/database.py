"""A subsystem's database, SQLite or PostgreSQL: engines, the append lock, and statements rendered once."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import psycopg
import structlog
from sqlalchemy import (
    ARRAY,
    Connection,
    Engine,
    FromClause,
    Table,
    Text,
    any_,
    bindparam,
    create_engine,
    event,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql import ClauseElement

from bridge.ports import StoreUnavailable

log = structlog.get_logger()

READERS = 3
# What a statement may raise: through SQLAlchemy, and on the driver's own cursor.
DATABASE_ERRORS = (DBAPIError, sqlite3.Error, psycopg.Error)
UNANSWERED = (sqlite3.OperationalError, sqlite3.InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)
# A stopped replica's append lock is freed after this long, so that the others go on.
IDLE_IN_TRANSACTION_MS = 10_000
# One that was stopped among statements that it sends in a row is not idle to the server, which waits for the rest of
# them, or to be rid of an answer, and for that has no limit. It is ended by whoever has waited for its lock in vain.
END_STOPPED = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user
        AND state = 'active' AND wait_event_type = 'Client'
        AND state_change < now() - %s * interval '1 millisecond'
        AND pid IN (
            SELECT pid FROM pg_locks
            WHERE relation = to_regclass('journal_head') AND granted AND mode IN ('RowShareLock', 'RowExclusiveLock')
        )
"""
# A server that no longer answers is given up after about this long, rather than after the system's minutes or hours.
SILENCE_SECONDS = 10
KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": SILENCE_SECONDS * 1000,
}
# Beginnings of SQLSTATEs, https://www.postgresql.org/docs/current/errcodes-appendix.html: the rest is the statement's.
POSTGRESQL_OUTAGES = (
    "08",  # connection
    "25006",  # a standby that is not promoted yet: read-only
    "25P03",  # idle in transaction for too long: this process was stopped
    "28",  # not let in
    "3D",  # no such database
    "40",  # rolled back to be tried again
    "42501",  # not permitted any more
    "53",  # no disk, memory or connection left
    "55P03",  # lock not available
    "57",  # shut down, starting, or canceled
    "58",  # the server's own system
    "XX001",  # damaged data
    "XX002",  # damaged index
)
SQLITE_OUTAGES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
SQLITE_PRAGMAS = (
    # Of a new file: a case's state takes more than the 4 KiB that are usual.
    "PRAGMA page_size=8192",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA busy_timeout=5000",
    # See checkpoints.py; only where that thread cannot work does the writer do it itself.
    "PRAGMA wal_autocheckpoint=50000",
)


# KiB of pages that a connection may keep: the writer comes back to the same pages with each commit, and what a reader
# does not find it takes from the system's own cache.
WRITER_CACHE, READER_CACHE = 64 * 1024, 8 * 1024


class Database:
    """One subsystem's database; `writer` is for the one writer thread, `reader` for short reads."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.writer = self._engine(self.url, pool_size=1)
        # A read sees one moment, however many queries it makes; SQLite's always does.
        self.reader = self._engine(self._there(), pool_size=READERS).execution_options(
            **({} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"})
        )
        if self.is_sqlite:
            event.listen(self.writer, "begin", _begin_immediate)
            event.listen(self.writer, "connect", lambda connection, _: _keep_pages(connection, WRITER_CACHE))
            event.listen(self.reader, "begin", _begin)
            event.listen(self.reader, "connect", lambda connection, _: _keep_pages(connection, READER_CACHE))
        else:
            # The writer connects anew after it has waited in vain.
            event.listen(self.writer, "connect", _end_stopped)

    @property
    def is_gone(self) -> bool:
        """Whether the file was taken away under its connections: what they still write is lost with them."""
        return self.is_sqlite and not Path(str(self.url.database)).exists()

    def _there(self) -> URL:
        """As whoever comes after the writer opens it: a file that is gone is not made anew, empty."""
        if not self.is_sqlite:
            return self.url
        path = Path(str(self.url.database)).absolute()
        return self.url.set(database=path.as_uri(), query={"mode": "rw", "uri": "true"})

    def _engine(self, url: URL, pool_size: int) -> Engine:
        if self.is_sqlite:
            engine = create_engine(
                url,
                paramstyle="named",
                poolclass=QueuePool,
                pool_size=pool_size,
                max_overflow=0,
                connect_args={"check_same_thread": False, "timeout": 5},
            )
            engine.dialect.statement_compiler = _WithHints
            event.listen(engine, "connect", _set_up_sqlite)
            return engine
        limits = {
            "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS,
            "lock_timeout": IDLE_IN_TRANSACTION_MS + 2_000,  # whoever waits is served when it is freed
            "statement_timeout": 30_000,
        }
        options = " ".join(f"-c {name}={limit}" for name, limit in limits.items())
        return create_engine(
            self.url.set(drivername="postgresql+psycopg"),
            pool_size=pool_size,
            max_overflow=0,
            pool_pre_ping=True,
            pool_timeout=5,
            connect_args={"options": options, "connect_timeout": 3, **KEEPALIVE},
        )

    def close(self) -> None:
        """Close every connection."""
        self.writer.dispose()
        self.reader.dispose()

    def found(self, table: Table, key: str, *others: str) -> str:
        """Text of a select of these columns, of the rows whose key is one of the parameter `keys`."""
        column = table.c[key]
        is_one = (
            column.in_(select(func.json_each(bindparam("keys")).table_valued("value").c.value))
            if self.is_sqlite
            else column == any_(bindparam("keys", type_=ARRAY(Text)))
        )
        return self.render(select(column, *(table.c[name] for name in others)).where(is_one))

    def keys(self, values: Iterable[str]) -> str | list[str]:
        """Any number of texts as one parameter: so a statement's text stays the same."""
        return json.dumps(list(values)) if self.is_sqlite else list(values)

    def render(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> str:
        """The statement's text with named parameters, for the driver; `columns` are those that it sets."""
        return str(statement.compile(dialect=self.writer.dialect, column_keys=columns))

    def insert(self, table: Table, *columns: str) -> str:
        """Text of an insert of these columns, or of whole rows."""
        return self.render(table.insert(), columns or [column.name for column in table.columns])

    def insert_new(self, table: Table, *columns: str) -> str:
        """Text of an insert that leaves a row alone whose unique key is there already."""
        dialect = cast("Any", sqlite if self.is_sqlite else postgresql)
        return self.render(dialect.insert(table).on_conflict_do_nothing(), columns)

    def upsert(self, table: Table) -> str:
        """Text of an insert that replaces a row of the same key."""
        dialect = cast("Any", sqlite if self.is_sqlite else postgresql)
        statement = dialect.insert(table)
        key = [column.name for column in table.primary_key]
        names = [column.name for column in table.columns if column.name not in key]
        return self.render(
            statement.on_conflict_do_update(
                index_elements=key, set_={name: statement.excluded[name] for name in names}
            ),
            [column.name for column in table.columns],
        )

    def list_more(self, table: Table, column: str) -> str:
        """Text of an insert that adds to a row of the same key, behind a comma in this column."""
        dialect = cast("Any", sqlite if self.is_sqlite else postgresql)
        statement = dialect.insert(table)
        key = [column.name for column in table.primary_key]
        more = table.c[column] + literal_column("','") + statement.excluded[column]
        return self.render(
            statement.on_conflict_do_update(index_elements=key, set_={column: more}),
            [column.name for column in table.columns],
        )

    def update(self, table: Table, *names: str) -> str:
        """Text of an update of these columns by the whole key; the key's parameters are `key_<name>`."""
        statement = update(table)
        for column in table.primary_key:
            statement = statement.where(column == bindparam(f"key_{column.name}"))
        return self.render(statement, names)


def write_rows(connection: Connection, statement: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run a rendered statement for each of the rows, on the driver's own cursor. Raises its errors.

    For what every commit does: SQLAlchemy's results cost more than most of these statements.
    """
    with closing(connection.connection.cursor()) as cursor:
        cursor.executemany(statement, rows)


def read_rows(
    connection: Connection, statement: str, parameters: Mapping[str, Any] | None = None
) -> Sequence[tuple[Any, ...]]:
    """The rows of a rendered statement, as the driver gives them. Raises its errors."""
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(statement, parameters or {})
        return cursor.fetchall()


def is_outage(error: BaseException) -> bool:
    """Whether the database itself failed (to be waited for), rather than what it was asked to do."""
    if isinstance(error, StoreUnavailable | NoConnectionFree):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _says_outage(error.orig)
    return isinstance(error, DATABASE_ERRORS) and _says_outage(error)


def _says_outage(error: BaseException | None) -> bool:
    sqlite_code: int | None = getattr(error, "sqlite_errorcode", None)
    if sqlite_code is not None:
        # The low byte is the primary code.
        return sqlite_code & 0xFF in SQLITE_OUTAGES
    state: str | None = getattr(error, "sqlstate", None)
    if state is not None:
        return state.startswith(POSTGRESQL_OUTAGES)
    # No answer came from the server at all.
    return isinstance(error, UNANSWERED)


class _WithHints(SQLiteCompiler):
    """Writes a statement's hints for a table, such as INDEXED BY, which SQLAlchemy's own leaves out."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        """The hint as it is."""
        return text


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transactions start too late for BEGIN IMMEDIATE.
    connection.isolation_level = None
    for pragma in SQLITE_PRAGMAS:
        connection.execute(pragma)


def _keep_pages(connection: Any, kibibytes: int) -> None:
    connection.execute(f"PRAGMA cache_size=-{kibibytes}")


def _end_stopped(connection: "psycopg.Connection[Any]", _record: object) -> None:
    try:
        connection.execute(END_STOPPED, [IDLE_IN_TRANSACTION_MS])
        connection.commit()
    except psycopg.Error as error:  # it may not be allowed to; all else goes on
        connection.rollback()
        log.warning("database.cannot_end_stopped", error=type(error).__name__)


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")

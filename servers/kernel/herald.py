"""Tells the other replicas of a PostgreSQL database that the journal has grown, and hears it from them.

On a connection and a thread of its own: the writer does not wait for it, and commits to several databases of one server
do not queue up behind each other, as they would with a NOTIFY in each. What is lost does no harm: whoever waits looks
once a second.
"""

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from selectors import EVENT_READ, DefaultSelector
from typing import Any

import psycopg
import structlog
from sqlalchemy.engine import URL

from clients.telemetry.unexpected import unexpected

log = structlog.get_logger()

CHANNEL = "ronghe"
PAUSE_SECONDS = 1.0
# With 0 the library gives up before it has looked.
POLL_SECONDS = 0.01
# What it writes need not be durable.
OPTIONS = "-c synchronous_commit=off -c statement_timeout=5000"


class Herald:
    """Calls `heard` on its own thread with the position that another replica has written; 0 where any may have."""

    def __init__(self, url: URL, heard: Callable[[int], None], keepalive: Mapping[str, Any]) -> None:
        self._url = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._keepalive = keepalive
        self._heard = heard
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._position = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="herald", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End the connection and the thread."""
        self._stopping.set()
        self.tell(0)
        self._thread.join()
        os.close(self._reading)
        os.close(self._writing)

    def tell(self, position: int) -> None:
        """The journal has grown up to here; from any thread."""
        self._position = max(self._position, position)
        try:
            os.write(self._writing, b".")
        except BlockingIOError:
            return  # it is full of what says the same

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with closing(self._connect()) as connection:
                    self._heard(0)  # what was told meanwhile was not heard
                    self._serve(connection)
            except psycopg.Error as error:
                log.warning("herald.waiting", error=type(error).__name__)
                self._stopping.wait(PAUSE_SECONDS)
            except Exception as error:
                # Nobody would miss the thread: everything would merely take a second longer.
                log.error("herald.failed", **unexpected(error))  # noqa: TRY400 - no text
                self._stopping.wait(PAUSE_SECONDS)

    def _connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        connection = psycopg.connect(self._url, autocommit=True, options=OPTIONS, connect_timeout=3, **self._keepalive)
        connection.execute(f"LISTEN {CHANNEL}")
        return connection

    def _serve(self, connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
        with DefaultSelector() as selector:
            selector.register(connection.fileno(), EVENT_READ)
            selector.register(self._reading, EVENT_READ)
            while not self._stopping.is_set():
                if any(key.fd == self._reading for key, _ in selector.select()):
                    os.read(self._reading, 4096)
                    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, str(self._position)))
                # Also those that came along with the answer just now.
                for each in connection.notifies(timeout=POLL_SECONDS):
                    if each.pid != connection.info.backend_pid and each.payload.isdecimal():
                        self._heard(int(each.payload))

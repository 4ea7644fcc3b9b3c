"""A log that is on the disk before its writer goes on; lines that wait share one fsync."""

import asyncio
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class DurableLog:
    """JSON lines; `write` returns when its line is durable. Use it with `with`, inside a running loop."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._loop = asyncio.get_running_loop()
        self._lines: list[bytes] = []
        self._written = self._loop.create_future()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"log {path.name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()
        self._file.close()

    async def write(self, entry: Mapping[str, Any]) -> None:
        """Append a line; durable on return."""
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        with self._wake:
            self._lines.append(line)
            written = self._written
            self._wake.notify()
        await asyncio.shield(written)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._lines or self._stopping):
                    self._wake.wait()
                if not self._lines:
                    return
                lines, self._lines = self._lines, []
                written, self._written = self._written, self._loop.create_future()
            self._file.write(b"".join(lines))
            self._file.flush()
            os.fdatasync(self._file.fileno())
            self._loop.call_soon_threadsafe(_done, written)


def _done(written: "asyncio.Future[None]") -> None:
    if not written.done():
        written.set_result(None)

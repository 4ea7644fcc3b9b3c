"""Logs: one JSON object a line, an event's name with fields. A contract message never gets in."""

import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, TextIO, cast
from uuid import UUID

import structlog
from google.protobuf.message import Message


def configure_logging(service: str, path: Path | None = None) -> None:
    """Log to the file, or to standard error. Call it once, when the process begins."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _Service(service),
            structlog.processors.JSONRenderer(ensure_ascii=False, default=_name_of),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(_lines(path) if path else sys.stderr),
        cache_logger_on_first_use=True,
    )


def _lines(path: Path) -> TextIO:
    return cast("TextIO", _Lines(path))


class _Lines:
    """A log file. What a full disk does not take is lost, and whoever wrote it goes on."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def write(self, text: str) -> None:
        """Append it."""
        with suppress(OSError):
            self._file.write(text.encode())

    def flush(self) -> None:
        """Nothing is held back."""


class _Service:
    """Puts the process's name into every line."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        fields["service"] = self._service
        return fields


def _name_of(value: object) -> str:
    """Stands for what JSON has no form for, however deep in a field it lies.

    Printing a message, or what holds one, would print personal data: its type is all that may be said.
    """
    if isinstance(value, UUID | Path | Enum):
        return str(value)
    if isinstance(value, Message):
        return f"<{value.DESCRIPTOR.full_name}>"
    return f"<{type(value).__qualname__}>"

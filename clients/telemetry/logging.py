"""Logs: one JSON object a line, an event's name with fields. A contract message never gets in."""

import logging
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

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
            _drop_messages,
            _Service(service),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(path.open("a", buffering=1) if path else sys.stderr),
        cache_logger_on_first_use=True,
    )


class _Service:
    """Puts the process's name into every line."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        fields["service"] = self._service
        return fields


def _drop_messages(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Printing a message would print personal data: its type is all that may be said."""
    for name, value in fields.items():
        if isinstance(value, Message):
            fields[name] = f"<{value.DESCRIPTOR.full_name}>"
    return fields

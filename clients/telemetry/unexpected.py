"""How an unexpected exception is logged: its kind and where it arose, never its text, which may hold personal data."""

import traceback
from typing import TypedDict


class Unexpected(TypedDict):
    """Fields of a log event."""

    error: str
    where: list[str]


def unexpected(error: BaseException) -> Unexpected:
    """The exception's type, and the innermost places of its traceback as `file:line function`."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return {
        "error": type(error).__name__,
        "where": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }

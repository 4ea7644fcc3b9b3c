"""A request must not be larger than what the center can make of it: it opens the event with one fact for all tasks."""

from collections.abc import Iterable

from ronghe.collaboration.v1.collaboration_pb2 import Ask
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.batch import MAX_COMMANDED_BYTES
from servers.kernel.stream import Refused

PER_TASK = 1024
"""Bytes that a task has beside what its ask says, at most."""
MOST = MAX_COMMANDED_BYTES - 8 * 1024
"""So that an officer can give any of the tasks to an organ: his reason stands beside the brief."""


def check_size(asks: Iterable[Ask]) -> None:
    """Raises Refused, TOO_LARGE: the center reacts, and could not refuse."""
    size = sum(_size(ask) for ask in asks)
    if size > MOST:
        raise Refused(
            Reason.REASON_TOO_LARGE,
            f"the tasks would have {size} bytes, at most {MOST} are allowed: ask fewer at once, or shorter",
        )


def _size(ask: Ask) -> int:
    """Of the tasks that come of an ask: each repeats it, but for the places, of which each has its own."""
    places = sum(place.ByteSize() for place in ask.places)
    tasks = 1 if ask.organ_id else len(ask.places)
    return places + tasks * (ask.ByteSize() - places + PER_TASK)

"""What no request may hold, whichever field it stands in: control characters, and times and dates that do not exist."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from servers.kernel.stream import FieldViolation

# Tabs and line breaks are text. The others do harm where text is printed, and PostgreSQL's texts cannot hold a NUL.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# The years 1 to 9999; a duration is as long as that at most.
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
LONGEST = 315_576_000_000
BILLION = 1_000_000_000


Problem = Callable[[Any], str] | None
"""What is wrong with a value, empty for nothing; None for a message that is looked into."""


class _Field(NamedTuple):
    """A field that may hold one of them."""

    name: str
    is_repeated: bool
    problem: Problem


def malformed(message: Message) -> Sequence[FieldViolation]:
    """Every place in the message that holds one of them."""
    found: list[FieldViolation] = []
    _look(message, "", found)
    return found


def _look(message: Message, path: str, found: list[FieldViolation]) -> None:
    """Only what is set is looked at: to ask each field whether it is takes several times as long."""
    fields = _fields(message.DESCRIPTOR)
    for descriptor, value in message.ListFields():
        field = fields.get(descriptor.number)
        if field is None:
            continue
        if field.is_repeated:
            for index, each in enumerate(value):
                _look_at(each, field.problem, f"{path}{field.name}[{index}]", found)
        else:
            _look_at(value, field.problem, path + field.name, found)


def _look_at(value: Any, problem: Problem, path: str, found: list[FieldViolation]) -> None:
    if problem is None:
        _look(value, f"{path}.", found)
        return
    said = problem(value)
    if said:
        found.append(FieldViolation(path, said))


@cache
def _fields(descriptor: Descriptor) -> Mapping[int, _Field]:
    """By number."""
    return {
        field.number: _Field(field.name, field.is_repeated, _problem_of(field))
        for field in descriptor.fields
        if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE)
    }


def _problem_of(field: FieldDescriptor) -> Problem:
    if field.type == FieldDescriptor.TYPE_STRING:
        return _of_text
    assert field.message_type is not None  # noqa: S101 - it is a message
    return _OF_TYPES.get(field.message_type.full_name)


def _of_text(text: str) -> str:
    control = CONTROL.search(text)
    return f"holds the control character U+{ord(control[0]):04X}: leave it out" if control else ""


def _of_timestamp(moment: Timestamp) -> str:
    is_one = FIRST_SECOND <= moment.seconds <= LAST_SECOND and 0 <= moment.nanos < BILLION
    return "" if is_one else "is no time: it lies in the years 1 to 9999, and nanos between 0 and 999999999"


def _of_duration(span: Duration) -> str:
    is_one = abs(span.seconds) <= LONGEST and abs(span.nanos) < BILLION and span.seconds * span.nanos >= 0
    return "" if is_one else "is no duration: nanos stay below a second, and have the sign of seconds"


def _of_date(day: Date) -> str:
    try:
        date(day.year, day.month, day.day)
    except (ValueError, OverflowError):
        return "is no day of the calendar: give year, month and day"
    return ""


_OF_TYPES: Mapping[str, Callable[[Any], str]] = {
    "google.protobuf.Timestamp": _of_timestamp,
    "google.protobuf.Duration": _of_duration,
    "google.type.Date": _of_date,
}

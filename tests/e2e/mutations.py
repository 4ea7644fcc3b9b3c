"""Requests that are wrong in one place: every field of a request in turn, with values that nobody expects there."""

from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

INT32, INT64, UINT64 = 2**31 - 1, 2**63 - 1, 2**64 - 1
MANY = 3_000

SCALARS: dict[int, Sequence[Any]] = {
    Field.CPPTYPE_STRING: ("", "\0", "a\0b", "\x1b[31m\u202e", "字" * 20_000, "'; DROP TABLE journal; --"),
    Field.CPPTYPE_INT32: (-INT32 - 1, -1, INT32),
    Field.CPPTYPE_UINT32: (0, 2**32 - 1),
    Field.CPPTYPE_INT64: (-INT64 - 1, -1, INT64),
    Field.CPPTYPE_UINT64: (0, INT64, UINT64),
    Field.CPPTYPE_ENUM: (0, -1, INT32),
    Field.CPPTYPE_BOOL: (True, False),
    Field.CPPTYPE_DOUBLE: (float("nan"), float("inf"), float("-inf"), 1.7e308, -0.0),
    Field.CPPTYPE_FLOAT: (float("nan"), float("inf")),
}
BYTES = (b"", b"\0" * 32, b"\xff" * 20_000)
MESSAGES: dict[str, Sequence[Message]] = {
    "google.protobuf.Timestamp": (
        Timestamp(),
        Timestamp(seconds=INT64, nanos=INT32),
        Timestamp(seconds=-INT64),
        Timestamp(seconds=253402300799, nanos=999_999_999),
        Timestamp(seconds=253402300800),
        Timestamp(seconds=-62135596801),
        Timestamp(seconds=1, nanos=-1),
    ),
    "google.protobuf.Duration": (
        Duration(seconds=INT64, nanos=INT32),
        Duration(seconds=-INT64),
        Duration(seconds=1, nanos=-1),
        Duration(seconds=-1, nanos=1),
    ),
    "google.type.Date": (
        Date(),
        Date(year=2026),
        Date(year=2026, month=13, day=45),
        Date(year=2026, month=2, day=30),
        Date(year=INT32, month=1, day=1),
        Date(year=-1, month=-1, day=-1),
        Date(year=9999, month=12, day=31),
        Date(year=1, month=1, day=1),
    ),
}


def mutations(request: Message) -> Iterator[tuple[str, Message]]:
    """What is wrong, and the request that has it."""
    fields: Sequence[Any] = request.DESCRIPTOR.fields
    for field in fields:
        if field.is_repeated:
            yield from _of_repeated(request, field)
        elif field.cpp_type == Field.CPPTYPE_MESSAGE:
            yield from _of_message(request, field)
        else:
            for value in _values(field):
                yield f"{field.name}={_shown(value)}", _with(request, field, value)


def _of_message(request: Message, field: Field) -> Iterator[tuple[str, Message]]:
    absent = _copy(request)
    absent.ClearField(field.name)
    yield f"no {field.name}", absent
    kind = getattr(request, field.name).DESCRIPTOR.full_name
    for value in MESSAGES.get(kind, ()):
        yield f"{field.name}={_shown(value)}", _with(request, field, value)
    if kind not in MESSAGES:
        for what, value in mutations(getattr(request, field.name)):
            yield f"{field.name}.{what}", _with(request, field, value)


def _of_repeated(request: Message, field: Field) -> Iterator[tuple[str, Message]]:
    present = list(getattr(request, field.name))
    none = _copy(request)
    none.ClearField(field.name)
    yield f"no {field.name}", none
    if field.cpp_type != Field.CPPTYPE_MESSAGE:
        for value in _values(field):
            yield f"{field.name}=[{_shown(value)}]", _with_all(request, field, [value])
        yield f"{field.name} x {MANY}", _with_all(request, field, (present or [_values(field)[-1]]) * MANY)
        return
    first = present[0] if present else getattr(_copy(request), field.name).add()
    yield f"{field.name} x {MANY}", _with_all(request, field, [first] * MANY)
    yield f"{field.name} x 2", _with_all(request, field, [first] * 2)
    for what, value in mutations(first):
        yield f"{field.name}[0].{what}", _with_all(request, field, [value, *present[1:]])


def _values(field: Field) -> Sequence[Any]:
    return BYTES if field.type == Field.TYPE_BYTES else SCALARS[field.cpp_type]


def _with(request: Message, field: Field, value: Any) -> Message:
    copy: Any = _copy(request)
    if isinstance(value, Message):
        getattr(copy, field.name).CopyFrom(value)
        getattr(copy, field.name).SetInParent()
    else:
        setattr(copy, field.name, value)
    return copy  # type: ignore[no-any-return]


def _with_all(request: Message, field: Field, values: Sequence[Any]) -> Message:
    copy: Any = _copy(request)
    copy.ClearField(field.name)
    getattr(copy, field.name).extend(values)
    return copy  # type: ignore[no-any-return]


def _copy(request: Message) -> Message:
    copy = type(request)()
    copy.CopyFrom(request)
    return copy


def _shown(value: Any) -> str:
    text = str(value).replace("\n", " ").strip()
    return text if len(text) < 40 else f"{text[:20]}... ({len(text)})"

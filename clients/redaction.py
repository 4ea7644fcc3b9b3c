"""Personal data is what the contract marks `debug_redact`; here it is taken out of messages."""

from collections.abc import Iterator
from functools import cache
from typing import TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


def redacted(message: M) -> M:
    """A copy without its marked fields, at any depth."""
    copy = type(message)()
    copy.CopyFrom(message)
    redact(copy)
    return copy


def redact(message: Message) -> None:
    """Clear the marked fields of a message, at any depth. What stands in an Any is not looked into."""
    marked, nested = _fields(message.DESCRIPTOR)
    for field in marked:
        message.ClearField(field.name)
    for field in nested:
        if field.is_repeated:
            for item in getattr(message, field.name):
                redact(item)
        elif message.HasField(field.name):
            redact(getattr(message, field.name))


def marked(message: Message) -> list[str]:
    """Paths of the marked values that a message shows, for example "case.application.personal.applicant.name"."""
    return sorted(set(_shown(message, "", inside=False)))


def _shown(message: Message, path: str, *, inside: bool) -> Iterator[str]:
    for field, value in message.ListFields():
        name = f"{path}{field.name}"
        hidden = inside or field.GetOptions().debug_redact
        if field.message_type is not None:
            for item in value if field.is_repeated else [value]:
                yield from _shown(item, f"{name}.", inside=hidden)
        elif hidden:
            yield name


@cache
def _fields(descriptor: Descriptor) -> tuple[list[FieldDescriptor], list[FieldDescriptor]]:
    """The marked fields, and the fields below which there may be marked ones."""
    marked = [field for field in descriptor.fields if field.GetOptions().debug_redact]
    nested = [
        field
        for field in descriptor.fields
        if field not in marked and field.message_type is not None and _holds_marked(field.message_type, frozenset())
    ]
    return marked, nested


def _holds_marked(descriptor: Descriptor, above: frozenset[str]) -> bool:
    if descriptor.full_name in above:
        return False
    above |= {descriptor.full_name}
    return any(
        field.GetOptions().debug_redact or (field.message_type is not None and _holds_marked(field.message_type, above))
        for field in descriptor.fields
    )

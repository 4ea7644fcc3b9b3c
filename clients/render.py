"""The one way to show a message to a person or a log."""

from collections.abc import Iterator
from typing import Any as Value

from google.protobuf import descriptor_pool, text_format
from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from clients.redaction import redact, redacted


def render(message: Message) -> str:
    """The message as text without the fields the contract marks `debug_redact`, at any depth, also inside an Any."""
    shown = redacted(message)
    _redact_anys(shown)
    return text_format.MessageToString(shown, as_utf8=True)


def _redact_anys(message: Message) -> None:
    if isinstance(message, Any):
        _redact_any(message)
        return
    for field, value in message.ListFields():
        for child in _children(field, value):
            _redact_anys(child)


def _children(field: FieldDescriptor, value: Value) -> Iterator[Message]:
    if field.message_type is None or field.message_type.GetOptions().map_entry:
        return
    if field.is_repeated:
        yield from value
    else:
        yield value


def _redact_any(packed: Any) -> None:
    """What cannot be parsed cannot be redacted: then only its type is shown."""
    content = _unpacked(packed)
    if content is None:
        packed.ClearField("value")
        return
    redact(content)
    _redact_anys(content)
    packed.Pack(content)


def _unpacked(packed: Any) -> Message | None:
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(packed.TypeName())
        return GetMessageClass(descriptor).FromString(packed.value)
    except (KeyError, DecodeError):
        return None

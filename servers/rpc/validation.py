"""The contract's own rules on fields, checked on every message that comes in."""

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from protovalidate import Validator

from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import FieldViolation, Refused
from servers.rpc.wellformed import malformed

M = TypeVar("M", bound=Message)

# An application or a batch of acknowledgements; an event is at most 256 KiB.
MAX_BODY = 1024 * 1024


@cache
def _validator() -> Validator:
    """One for the process: it keeps the compiled rules."""
    return Validator()


def parse(message_class: type[M], body: bytes) -> M:
    """The message of these bytes; raises Refused when they are none, or too many."""
    if len(body) > MAX_BODY:
        raise Refused(
            Reason.REASON_TOO_LARGE,
            f"the request has {len(body)} bytes, at most {MAX_BODY} are allowed: send less in one",
        )
    try:
        return message_class.FromString(body)
    except DecodeError as error:
        name = message_class.DESCRIPTOR.full_name
        raise Refused(
            Reason.REASON_INVALID_FIELD,
            f"the bytes are no {name}: encode it by the contract, with every string in UTF-8",
        ) from error


def validate(message: Message) -> None:
    """Raise Refused where a rule is broken: fields and rules are named, never a value."""
    violations = malformed(message) or [
        FieldViolation(_path(violation.proto.field), violation.proto.message)
        for violation in _validator().collect_violations(message)
    ]
    if violations:
        raise Refused(Reason.REASON_INVALID_FIELD, _sentence(violations), violations=violations)


def _sentence(violations: Sequence[FieldViolation]) -> str:
    first = violations[0]
    others = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return f"{first.field or 'the message'}: {first.description}{others}"


def _path(field: Any) -> str:
    """A field's path, for example "form[2].name"."""
    return ".".join(map(_element, field.elements)) if field is not None else ""


def _element(element: Any) -> str:
    index = element.subscript
    return f"{element.field_name}[{index.value}]" if index is not None else str(element.field_name)

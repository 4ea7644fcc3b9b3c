"""The id of a case, made where it is submitted; it is also its trace id and its Kafka key."""

import hashlib
from uuid import UUID

from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest
from servers.case.rules import caller_of
from servers.kernel.stream import Scope
from servers.kernel.times import to_micros

RANDOM_A, RANDOM_B = 12, 62
"""Bits of a UUIDv7 besides the time, the version and the variant (RFC 9562, 5.7)."""


def case_id(command: SubmitApplicationRequest, scope: Scope) -> str:
    """A UUIDv7 of the scope's time whose other bits come from who asks and by which request.

    So everyone who has the command and its scope arrives at the same id, and no two requests do.
    """
    asked = f"{caller_of(scope)} {command.request_id}"
    chance = int.from_bytes(hashlib.sha256(asked.encode()).digest())
    milliseconds = to_micros(scope.now) // 1000
    value = milliseconds << 4 | 7
    value = value << RANDOM_A | _bits(chance, RANDOM_A)
    value = value << 2 | 0b10
    value = value << RANDOM_B | _bits(chance >> RANDOM_A, RANDOM_B)
    return str(UUID(int=value))


def _bits(value: int, count: int) -> int:
    return value & ((1 << count) - 1)

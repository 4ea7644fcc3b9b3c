"""The id of a case, made where it is submitted; it is also its trace id and its Kafka key."""

from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest
from servers.case.rules import caller_of
from servers.kernel.derived import derived
from servers.kernel.stream import Scope

VERSION = 14
"""Where the version stands in a UUID's text."""


def case_id(command: SubmitApplicationRequest, scope: Scope) -> str:
    """A UUID that comes from who asks, and by which request: whoever has both arrives at the same id, at any time.

    As the request's own id it is of version 7 and begins with its time, or else of version 8 (RFC 9562).
    """
    asked = f"{caller_of(scope)} {command.request_id}"
    return derived(command.request_id, asked, 7 if command.request_id[VERSION] == "7" else 8)

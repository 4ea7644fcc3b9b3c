"""Rules that hold for every command about a case, whoever gives it."""

from datetime import datetime, timedelta

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ronghe.case.v1 import case_pb2
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import Refused

CLOCK_TOLERANCE = timedelta(seconds=120)
"""How far a caller's clock may be ahead."""


def check_occurred_at(occurred_at: Timestamp, case: case_pb2.Case, now: datetime) -> None:
    """An act may be told late, but not before it happens, and not before what the case has seen a person do.

    An empty case has seen nothing since 1970. Raises Refused: OCCURRED_AT_OUT_OF_RANGE.
    """
    earliest, latest = case.last_act_at, Timestamp()
    latest.FromDatetime(now + CLOCK_TOLERANCE)
    is_time = 0 <= occurred_at.nanos < 1_000_000_000
    if is_time and earliest.ToNanoseconds() <= occurred_at.ToNanoseconds() <= latest.ToNanoseconds():
        return
    bounds = {"earliest": earliest.ToJsonString(), "latest": latest.ToJsonString()}
    raise Refused(
        Reason.REASON_OCCURRED_AT_OUT_OF_RANGE,
        f"occurred_at must lie between {bounds['earliest']}, the latest act on this case, and {bounds['latest']}: "
        "check the clock, or read the case again",
        bounds,
    )


def check_state(case: case_pb2.Case, command: Message, *legal: "case_pb2.State.ValueType") -> None:
    """Raises Refused, ILLEGAL_STATE, where the case's state is none of those in which the command is legal."""
    if case.state in legal:
        return
    state = case_pb2.State.Name(case.state).removeprefix("STATE_")
    name = command.DESCRIPTOR.name.removesuffix("Request")
    places = " or ".join(case_pb2.State.Name(one).removeprefix("STATE_") for one in legal)
    raise Refused(
        Reason.REASON_ILLEGAL_STATE,
        f"{name} is legal in {places}, and the case is in {state}: read the case again",
        {"state": state, "command": name},
    )


def unknown_case() -> Refused:
    """No such case, or someone else's: both answer alike."""
    return Refused(Reason.REASON_CASE_NOT_FOUND, "there is no such case among yours: check the case_id")

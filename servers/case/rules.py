"""Rules that hold for every command about a case, whoever gives it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.error.v1.reason_pb2 import Reason
from servers.case.acts import Act
from servers.kernel.stream import FieldViolation, Refused, Scope

CLOCK_TOLERANCE = timedelta(seconds=120)
"""How far a caller's clock may differ."""


def check_act(case: case_pb2.Case, command: Act, now: datetime, *legal: "case_pb2.State.ValueType") -> None:
    """The command must be legal in the case's state, and its time must be right."""
    check_state(case, command, *legal)
    check_occurred_at(command.occurred_at, case.last_act_at, now)


def check_occurred_at(occurred_at: Timestamp, earliest: Timestamp, now: datetime) -> None:
    """An act may be told late, but not before it happens, and not before the latest act by a person on its stream.

    Raises Refused: OCCURRED_AT_OUT_OF_RANGE.
    """
    latest = Timestamp()
    latest.FromDatetime(now + CLOCK_TOLERANCE)
    is_time = 0 <= occurred_at.nanos < 1_000_000_000
    if is_time and earliest.ToNanoseconds() <= occurred_at.ToNanoseconds() <= latest.ToNanoseconds():
        return
    bounds = {"earliest": earliest.ToJsonString(), "latest": latest.ToJsonString()}
    raise Refused(
        Reason.REASON_OCCURRED_AT_OUT_OF_RANGE,
        f"occurred_at must lie between {bounds['earliest']}, the latest act before it, and {bounds['latest']}: "
        "check the clock, or read again",
        bounds,
        [FieldViolation("occurred_at", "lies before the latest act, or in the future")],
    )


def check_state(case: case_pb2.Case, command: Act, *legal: "case_pb2.State.ValueType") -> None:
    """Raises Refused, ILLEGAL_STATE, where the case's state is none of those in which the command is legal."""
    if case.state not in legal:
        names = [case_pb2.State.Name(one).removeprefix("STATE_") for one in (case.state, *legal)]
        raise illegal_state("case", command, *names)


def illegal_state(thing: str, command: Act, state: str, *legal: str) -> Refused:
    """The command is legal in other states than the one the case or task is in."""
    name = command.DESCRIPTOR.name.removesuffix("Request")
    return Refused(
        Reason.REASON_ILLEGAL_STATE,
        f"{name} is legal in {' or '.join(legal)}, and the {thing} is in {state}: read the {thing} again",
        {"state": state, "command": name},
    )


def invalid_fields(
    violations: Sequence[FieldViolation], reason: "Reason.ValueType" = Reason.REASON_INVALID_FIELD
) -> Refused:
    """A request whose fields break a rule of the item or the case; the first is named in the sentence."""
    return Refused(reason, f"{violations[0].field}: {violations[0].description}", violations=violations)


def caller_of(scope: Scope) -> Identity:
    """Who gives the command; a fact or a timer has no caller, and is no command."""
    if scope.caller is None:
        raise ValueError("a command has a caller")
    return scope.caller

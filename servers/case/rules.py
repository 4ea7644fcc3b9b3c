"""Rules that hold for every command about a case, whoever gives it."""

from collections.abc import Sequence
from datetime import datetime

from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.error.v1.reason_pb2 import Reason
from servers.case.acts import Act
from servers.kernel.occurred_at import check_occurred_at
from servers.kernel.stream import FieldViolation, Refused, Scope


def check_act(case: case_pb2.Case, command: Act, now: datetime, *legal: "case_pb2.State.ValueType") -> None:
    """The command must be legal in the case's state, and its time must be right."""
    check_state(case, command, *legal)
    check_occurred_at(command.occurred_at, case.last_act_at, now)


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

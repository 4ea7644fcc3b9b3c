"""What a servicer's method knows of the call it answers."""

from dataclasses import dataclass

from clients.identity import Identity
from clients.telemetry import SpanContext
from ronghe.access.v1.access_pb2 import Scope


@dataclass(frozen=True, slots=True)
class Call:
    """One call by one party."""

    caller: Identity
    scope: "Scope.ValueType"
    """Which records the caller reaches: its own, or all."""
    method: str
    """For example "ronghe.intake.v1.IntakeService/SubmitApplication"."""
    deadline: float
    """time.monotonic() at which the caller gives up; math.inf for a stream without one."""
    span: SpanContext
    """The call's own server span, in the caller's trace."""

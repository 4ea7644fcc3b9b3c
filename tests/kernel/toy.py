"""A small business for the kernel: a counter that takes steps, and a shadow in its database that reacts to them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import Column, Integer

from bridge.record import Record
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2 as event
from ronghe.state.v1 import state_pb2
from servers.kernel.stream import Refused, Scope, Stream, StreamKey
from servers.kernel.subsystem import Subsystem
from servers.kernel.tables import stream_table

MIGRATIONS = Path(__file__).parent / "toy_migrations"


class Counter(Stream[Any]):
    """Takes steps until it is closed. A step named "refused" is refused, "broken" is a bug, "huge" is too large."""

    kind = "counter"
    state = state_pb2.OrganCaseState
    fold_version = 1
    table = stream_table("counter", Column("taken", Integer, nullable=False))
    commands = (department.RecordStepRequest, department.CloseCaseRequest, department.DecideApplicationRequest)

    def target(self, command: Any, scope: Scope) -> StreamKey:
        return StreamKey(self.kind, command.case_id, command.case_id)

    def decide(self, state: Any, command: Any, scope: Scope) -> Sequence[Message]:
        if state.case.state:
            raise Refused(Reason.REASON_ILLEGAL_STATE, "the counter is closed")
        if isinstance(command, department.DecideApplicationRequest) and command.if_version != state.case.version:
            raise Refused(Reason.REASON_CASE_CHANGED, "read it again", {"version": str(state.case.version)})
        if isinstance(command, department.CloseCaseRequest):
            return [event.Closed(occurred_at=command.occurred_at)]
        if command.step.name == "refused":
            raise Refused(Reason.REASON_ILLEGAL_STATE, "not this step")
        if command.step.name == "broken":
            raise ZeroDivisionError
        fact = event.StepRecorded(occurred_at=command.occurred_at, step=command.step)
        if command.step.name == "huge":
            fact.step.opinion = "x" * 300_000
        if command.step.name == "numbered":
            fact.step.opinion = str(scope.next_number("numbers"))
        return [fact] * (3 if command.step.name == "thrice" else 1)

    def reply(self, command: Any, caused: Sequence[Record]) -> Message:
        return department.RecordStepResponse(version=caused[-1].version)

    def concerned(self, record: Record) -> Sequence[StreamKey]:
        if record.fact is None or record.type.endswith(("WithdrawalDeclined", "SupplementLate", "JournalHead")):
            return []
        return [StreamKey(self.kind, record.case_id, record.case_id)]

    def may_say(self, state: Any, record: Record) -> bool:
        return record.origin != "liar-01"

    def react(self, state: Any, record: Record, scope: Scope) -> Sequence[Message]:
        if isinstance(record.fact, event.WithdrawalRequested):
            if record.fact.reason == "poison":
                raise ValueError("personal data of the case")
            return [event.Withdrawn(occurred_at=record.fact.occurred_at)]
        return []

    def expire(self, state: Any, timer: str, scope: Scope) -> Sequence[Message]:
        return [event.Closed()]

    def evolve(self, state: Any, record: Record, version: int) -> None:
        state.case.version = version
        if isinstance(record.fact, event.StepRecorded):
            state.documents_issued += 1
            state.case.steps.append(record.fact.step)
        if isinstance(record.fact, event.Closed | event.Withdrawn):
            state.case.state = 5

    def columns(self, state: Any) -> Mapping[str, Any]:
        return {"taken": state.documents_issued}

    def timers(self, state: Any) -> Mapping[str, datetime]:
        """A step named "timed" closes the counter a second after it ended."""
        if state.case.state:
            return {}
        timed = [step for step in state.case.steps if step.name == "timed"]
        due = {step.name: step.ended_at.ToDatetime() for step in timed}
        return {name: moment.replace(tzinfo=_utc()) + timedelta(seconds=1) for name, moment in due.items()}

    def receivers(self, state: Any, record: Record) -> Sequence[str]:
        return [f"organ/{record.case_id[-4:]}", "organ/all"]


class Shadow(Counter):
    """Lives beside the counter: every step, own or foreign, makes it say something of its own."""

    kind = "shadow"
    table = stream_table("shadow", Column("taken", Integer, nullable=False))
    commands = ()

    def concerned(self, record: Record) -> Sequence[StreamKey]:
        if not isinstance(record.fact, event.StepRecorded):
            return []
        return [StreamKey(self.kind, record.case_id, record.case_id)]

    def react(self, state: Any, record: Record, scope: Scope) -> Sequence[Message]:
        return [event.SupplementLate(notice_number="seen")]

    def timers(self, state: Any) -> Mapping[str, datetime]:
        return {}

    def receivers(self, state: Any, record: Record) -> Sequence[str]:
        return []


def toy(origin: str = "department-09", *others: Stream[Any]) -> Subsystem:
    """The toy subsystem, with other streams beside its own."""
    return Subsystem(origin, [Counter(), Shadow(), *others], MIGRATIONS)


def _utc() -> Any:
    from datetime import UTC

    return UTC

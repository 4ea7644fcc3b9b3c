"""The center's view of a case: it takes every fact in, and passes the lead's facts on to the intake they concern."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.record import Record
from ronghe.event.v1 import event_pb2 as event
from ronghe.state.v1.state_pb2 import GovernanceCaseState
from servers.case.fold import CaseFact, SaidByLead, fold
from servers.case.ownership import may_go_on, may_lead, may_open
from servers.case.views import case_values
from servers.governance.views import GOVERNANCE_CASES
from servers.kernel.stream import Stream, StreamKey


@dataclass(frozen=True)
class CaseStream(Stream[GovernanceCaseState]):
    """`case/<case id>`. The center decides nothing about a plain case."""

    kind = "case"
    state = GovernanceCaseState
    fold_version = 3
    table = GOVERNANCE_CASES

    def concerned(self, record: Record) -> Sequence[StreamKey]:
        """Every fact of a case concerns the center."""
        return [StreamKey(self.kind, record.case_id, record.case_id)] if isinstance(record.fact, CaseFact) else []

    def may_say(self, state: GovernanceCaseState, record: Record) -> bool:
        """Intake opens the case and speaks for the applicant, the lead decides."""
        case = state.case
        return may_open(case, record) or may_go_on(case, record, state.intake_origin) or may_lead(case, record)

    def evolve(self, state: GovernanceCaseState, record: Record, version: int) -> None:
        """Fold, and remember where the case came from."""
        if isinstance(record.fact, event.Submitted):
            state.intake_origin = record.origin
        fold(state.case, record, version)

    def columns(self, state: GovernanceCaseState) -> Mapping[str, Any]:
        """By which cases are found."""
        return case_values(state.case)

    def receivers(self, state: GovernanceCaseState, record: Record) -> Sequence[str]:
        """The way back: the lead's facts go to the intake deployment the case came from."""
        return [f"service/{state.intake_origin}"] if isinstance(record.fact, SaidByLead) else []

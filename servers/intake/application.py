"""The application: intake receives it, hands the applicant's later acts on, and follows what the lead says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from google.protobuf.message import Message

from bridge.record import Record
from ronghe.case.v1 import case_pb2
from ronghe.event.v1 import event_pb2 as event
from ronghe.intake.v1 import intake_service_pb2 as pb
from ronghe.state.v1.state_pb2 import ApplicationState
from servers.case.fold import CaseFact, SaidByIntake, fold
from servers.case.ownership import may_lead
from servers.case.rules import caller_of
from servers.case.views import case_values, not_found
from servers.catalog.catalog import Catalog
from servers.intake.acts import request_withdrawal, supplement
from servers.intake.case_id import case_id
from servers.intake.query_code import QueryCodes
from servers.intake.submission import submit
from servers.intake.views import INTAKE_CASES
from servers.kernel.stream import Scope, Stream, StreamKey

COMMANDS: Sequence[type[Message]] = (
    pb.SubmitApplicationRequest,
    pb.SupplementApplicationRequest,
    pb.RequestWithdrawalRequest,
)
Command = pb.SubmitApplicationRequest | pb.SupplementApplicationRequest | pb.RequestWithdrawalRequest


@dataclass(frozen=True)
class ApplicationStream(Stream[ApplicationState]):
    """`application/<case id>`, owned by the intake system that submitted it."""

    deployment: str
    """For example "intake-01"; its digits stand in the case numbers."""
    center: str
    """The governance deployment that pulls the applications, for example "governance-01"."""
    catalog: Catalog
    codes: QueryCodes
    intakes: Mapping[str, str] = field(default_factory=dict)
    """Names of the intake systems by id."""

    kind = "application"
    state = ApplicationState
    fold_version = 1
    table = INTAKE_CASES
    commands = COMMANDS

    def target(self, command: Any, scope: Scope) -> StreamKey:
        """A new case, or the one named."""
        if isinstance(command, pb.SubmitApplicationRequest):
            return self._key(case_id(command, scope))
        return self._key(command.case_id.lower())

    def _key(self, name: str) -> StreamKey:
        return StreamKey(self.kind, name, name)

    def decide(self, state: ApplicationState, command: Any, scope: Scope) -> Sequence[Message]:
        """Raises Refused."""
        return [self._decide(state, command, scope)]

    def _decide(self, state: ApplicationState, command: Command, scope: Scope) -> Message:
        match command:
            case pb.SubmitApplicationRequest():
                return submit(command, scope, self.catalog, self.deployment, self.intakes)
            case pb.SupplementApplicationRequest():
                return supplement(_own(state, scope), command, scope.now)
            case pb.RequestWithdrawalRequest():
                return request_withdrawal(_own(state, scope), command, scope.now)
            case _:
                assert_never(command)

    def reply(self, command: Any, caused: Sequence[Record]) -> Message:
        """The voucher with its query code, or how the case stands."""
        record = caused[0]  # a later version may have let more follow
        match record.fact:
            case event.Submitted() as fact:
                return pb.SubmitApplicationResponse(
                    case_id=record.case_id,
                    case_no=fact.application.case_no,
                    voucher=fact.voucher,
                    query_code=self.codes.code(record.case_id),
                )
            case event.Supplemented(state=state):
                return pb.SupplementApplicationResponse(state=state)
            case event.WithdrawalRequested():
                return pb.RequestWithdrawalResponse(withdrawal=case_pb2.WITHDRAWAL_STATUS_REQUESTED)
            case _:
                raise TypeError(f"no command causes {record.type}")

    def concerned(self, record: Record) -> Sequence[StreamKey]:
        """Every fact of a case concerns its application."""
        return [self._key(record.case_id)] if isinstance(record.fact, CaseFact) else []

    def may_say(self, state: ApplicationState, record: Record) -> bool:
        """Only the lead has something to say to intake."""
        return may_lead(state.case, record)

    def evolve(self, state: ApplicationState, record: Record, version: int) -> None:
        """Fold."""
        fold(state.case, record, version)

    def columns(self, state: ApplicationState) -> Mapping[str, Any]:
        """By which cases are found."""
        return case_values(state.case)

    def receivers(self, state: ApplicationState, record: Record) -> Sequence[str]:
        """The way out: the applicant's acts go to the center. The way back: the lead's go to the intake system."""
        if isinstance(record.fact, SaidByIntake):
            return [f"service/{self.center}"]
        return [f"intake/{state.case.application.intake_id}"]


def _own(state: ApplicationState, scope: Scope) -> case_pb2.Case:
    """The case, where it is the caller's."""
    if not state.case.case_id or state.case.application.intake_id != caller_of(scope).id:
        raise not_found()
    return state.case

"""The lead organ's case: where it is accepted and decided, and where the applicant's acts meet it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from bridge.record import Record
from ronghe.case.v1 import case_pb2
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.department.v1 import department_service_pb2 as pb
from ronghe.event.v1 import event_pb2 as event
from ronghe.state.v1.state_pb2 import OrganCaseState
from servers.case.fold import Reaction, SaidByIntake, fold
from servers.case.ownership import may_feed_back, may_go_on, may_open
from servers.case.rules import caller_of
from servers.case.views import case_values, not_found
from servers.catalog.catalog import Catalog
from servers.collaboration.facts import FedBack
from servers.department import asking, decisions, reactions
from servers.department.decisions import Command
from servers.department.views import DEPARTMENT_CASES
from servers.kernel.stream import Facts, Scope, Stream, StreamKey
from servers.law.calendar import Calendar

COMMANDS: Sequence[type[Message]] = (
    pb.AcceptApplicationRequest,
    pb.RefuseAcceptanceRequest,
    pb.RequestCorrectionRequest,
    pb.RecordStepRequest,
    pb.DecideApplicationRequest,
    pb.CloseCaseRequest,
    collaboration.RequestCollaborationRequest,
    collaboration.RecallCollaborationRequest,
)

ToldToLead = SaidByIntake | Reaction | FedBack | event.AnswerLate


@dataclass(frozen=True)
class OrganCaseStream(Stream[OrganCaseState]):
    """`organ_case/<organ>/<case id>`, for the organs that this deployment serves."""

    deployment: str
    """For example "department-01"."""
    catalog: Catalog
    calendar: Calendar

    kind = "organ_case"
    state = OrganCaseState
    fold_version = 3
    table = DEPARTMENT_CASES
    commands = COMMANDS

    def target(self, command: Any, scope: Scope) -> StreamKey:
        """The caller's own case: of another organ's it knows nothing."""
        return self._key(caller_of(scope).id, command.case_id.lower())

    def decide(self, state: OrganCaseState, command: Any, scope: Scope) -> Facts:
        """Raises Refused."""
        if not state.case.case_id:
            raise not_found()
        decisions.check_version(state.case, command)
        return self._decide(state.case, command, scope)

    def _decide(self, case: case_pb2.Case, command: Command, scope: Scope) -> Facts:
        match command:
            case pb.AcceptApplicationRequest():
                return [decisions.accept(case, command, scope.now, self.catalog, self.calendar)]
            case pb.RefuseAcceptanceRequest():
                return [decisions.refuse_acceptance(case, command, scope.now)]
            case pb.RequestCorrectionRequest():
                return [decisions.request_correction(case, command, scope.now)]
            case pb.RecordStepRequest():
                return [decisions.record_step(case, command, scope.now)]
            case pb.DecideApplicationRequest():
                return decisions.decide(case, command, scope.now, self.catalog)
            case pb.CloseCaseRequest():
                return [decisions.close(case, command, scope.now)]
            case collaboration.RequestCollaborationRequest():
                return [asking.request(case, command, scope, self.catalog)]
            case collaboration.RecallCollaborationRequest():
                return [asking.recall(case, command, scope.now)]
            case _:
                assert_never(command)

    def reply(self, command: Any, caused: Sequence[Record]) -> Message:
        """The paper that was issued, and the version after it."""
        record = caused[0]
        match record.fact:
            case event.Accepted() as fact:
                return pb.AcceptApplicationResponse(receipt=fact.receipt, version=record.version)
            case event.AcceptanceRefused() as fact:
                return pb.RefuseAcceptanceResponse(refusal=fact.refusal, version=record.version)
            case event.CorrectionRequested() as fact:
                return pb.RequestCorrectionResponse(notice=fact.notice, version=record.version)
            case event.Decided() as fact:
                return pb.DecideApplicationResponse(decision=fact.decision, version=record.version)
            case event.StepRecorded():
                return pb.RecordStepResponse(version=record.version)
            case event.Closed():
                return pb.CloseCaseResponse(version=record.version)
            case event.CollaborationRequested(collaboration=asked):
                return collaboration.RequestCollaborationResponse(
                    collaboration_id=asked.collaboration_id, round=asked.round, version=record.version
                )
            case event.CollaborationRecallRequested():
                return collaboration.RecallCollaborationResponse(version=record.version)
            case _:
                raise TypeError(f"no command causes {record.type}")

    def concerned(self, record: Record) -> Sequence[StreamKey]:
        """The applicant's acts and what the center feeds back concern the lead, where this deployment serves it."""
        match record.fact:
            case event.Submitted(application=application) if application.lead.deployment == self.deployment:
                return [self._key(application.lead.id, record.case_id)]
            case event.Supplemented(lead_id=lead_id) | event.WithdrawalRequested(lead_id=lead_id):
                return [self._key(lead_id, record.case_id)] if self._may_serve(lead_id) else []
            case fact if isinstance(fact, FedBack):
                return [self._key(fact.lead_id, record.case_id)] if self._may_serve(fact.lead_id) else []
            case _:
                return []

    def _may_serve(self, organ_id: str) -> bool:
        """An organ that the catalog does not know yet may be ours: whether its case is known tells then."""
        organ = self.catalog.organs.get(organ_id)
        return organ is None or organ.deployment == self.deployment

    def _key(self, organ_id: str, case_id: str) -> StreamKey:
        return StreamKey(self.kind, f"{organ_id}/{case_id}", case_id)

    def may_say(self, state: OrganCaseState, record: Record) -> bool:
        """Intake opens the case and speaks for the applicant, the center for collaborators; nobody else does here."""
        case = state.case
        return may_open(case, record) or may_go_on(case, record, state.intake_origin) or may_feed_back(case, record)

    def react(self, state: OrganCaseState, record: Record, scope: Scope) -> Facts:
        """What the applicant's acts lead to; a new application waits for the organ."""
        now = Timestamp()
        now.FromDatetime(scope.now)
        match record.fact:
            case event.Supplemented() as fact:
                return [reactions.on_supplement(state.case, fact, now, self.calendar)]
            case event.WithdrawalRequested():
                return reactions.on_withdrawal(state.case, now)
            case event.AnswerReceived() as fact:
                return reactions.on_answer(state.case, fact, now)
            case _:
                return []

    def evolve(self, state: OrganCaseState, record: Record, version: int) -> None:
        """Fold, and remember where the case came from."""
        if isinstance(record.fact, event.Submitted):
            state.intake_origin = record.origin
        fold(state.case, record, version)

    def columns(self, state: OrganCaseState) -> Mapping[str, Any]:
        """By which cases are found."""
        return case_values(state.case)

    def receivers(self, state: OrganCaseState, record: Record) -> Sequence[str]:
        """The organ gets what it did not do itself: others' acts, and what they led to."""
        lead = state.case.application.lead.id
        return [f"organ/{lead}"] if isinstance(record.fact, ToldToLead) else []

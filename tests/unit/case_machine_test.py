"""The lead's machine on its own, with any acts in any order: it keeps to the legal paths, and its journal is enough."""

import hashlib
from contextlib import suppress
from typing import Any
from uuid import uuid5

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bridge.record import Arrival, Record
from clients.redaction import redacted
from ronghe.case.v1 import case_pb2
from ronghe.event.v1 import event_pb2 as event
from servers.case.documents import with_addressee
from servers.case.fold import fold
from servers.case.rendering import render
from servers.kernel.stream import Refused, StreamKey
from tests import builders
from tests.builders import INTAKE, LEAD
from tests.machines import NAMESPACE, Clock, snapshot

NEW, SUBMITTED, CORRECTING, ACCEPTED, DECIDED, CLOSED = range(6)
LEGAL = {
    (NEW, SUBMITTED),
    (SUBMITTED, CORRECTING),
    (CORRECTING, SUBMITTED),
    (SUBMITTED, ACCEPTED),
    (ACCEPTED, DECIDED),
    (DECIDED, CLOSED),
    # Refused, or withdrawn.
    (SUBMITTED, CLOSED),
    (CORRECTING, CLOSED),
    (ACCEPTED, CLOSED),
}
OUTCOMES = {
    NEW: {0},
    SUBMITTED: {0},
    CORRECTING: {0},
    ACCEPTED: {0},
    DECIDED: {case_pb2.OUTCOME_GRANTED, case_pb2.OUTCOME_DENIED},
    CLOSED: set(case_pb2.Outcome.values()) - {0},
}


class Lead(RuleBasedStateMachine):
    """One organ and one case; the applicant's facts arrive whether they make sense or not."""

    @initialize()
    def the_application_arrives(self) -> None:
        self.clock = Clock()
        self.machine = builders.department_machine(self.clock)
        self.arrivals = 0
        self.path = [NEW]
        intake = builders.intake_machine(self.clock)
        case_id = intake.execute(builders.submission(self.clock.now), INTAKE).case_id
        self.key = StreamKey("organ_case", f"{LEAD.id}/{case_id}", case_id)
        self.machine.absorb(intake.journal[0], Arrival.KAFKA)

    @property
    def case(self) -> case_pb2.Case:
        return self.machine.of(self.key).state.case  # type: ignore[no-any-return]

    @rule(
        act=st.sampled_from(["accept", "refuse", "correct", "step", "grant", "deny", "close"]),
        hours=st.integers(-1, 30),
        stale=st.booleans(),
    )
    def the_organ_acts(self, act: str, hours: int, stale: bool) -> None:
        now = self.clock.advance(hours=hours) if hours > 0 else self.clock.now
        version = max(1, self.case.version - stale)
        with suppress(Refused):
            self.machine.execute(self._command(act, now, version), LEAD)
        self._walk()

    def _command(self, act: str, now: Any, version: int) -> Any:
        case_id = self.key.case_id
        match act:
            case "accept":
                return builders.acceptance(case_id, now, if_version=version)
            case "refuse":
                return builders.refusal(case_id, now, if_version=version)
            case "correct":
                return builders.correction(case_id, now)
            case "step":
                return builders.step(case_id, now)
            case "grant":
                return builders.grant(case_id, now, version)
            case "deny":
                return builders.denial(case_id, now, version)
            case _:
                return builders.closing(case_id, now)

    @rule(open_one=st.booleans())
    def a_supplement_arrives(self, open_one: bool) -> None:
        notice = self.case.open_notice if open_one else "no such notice"
        supplied = case_pb2.Supplement(notice_number=notice, supplied_at=builders.at(self.clock.now))
        self._arrive(event.Supplemented(occurred_at=supplied.supplied_at, supplement=supplied, lead_id=LEAD.id))

    @rule()
    def a_withdrawal_arrives(self) -> None:
        self._arrive(event.WithdrawalRequested(occurred_at=builders.at(self.clock.now), lead_id=LEAD.id))

    def _arrive(self, fact: Any) -> None:
        self.arrivals += 1
        record = Record(
            event_id=str(uuid5(NAMESPACE, f"arrival {self.arrivals}")),
            origin="intake-01",
            case_id=self.key.case_id,
            stream=f"application/{self.key.case_id}",
            version=self.arrivals,
            causes=(),
            recorded_at=self.clock.now,
            type=fact.DESCRIPTOR.full_name,
            body=fact.SerializeToString(),
            fact=fact,
        )
        self.machine.absorb(record, Arrival.KAFKA)
        self._walk()

    def _walk(self) -> None:
        if self.case.state != self.path[-1]:
            self.path.append(self.case.state)

    @invariant()
    def only_legal_paths_are_walked(self) -> None:
        self._walk()
        assert set(zip(self.path, self.path[1:], strict=False)) <= LEGAL
        assert self.case.outcome in OUTCOMES[self.case.state]
        assert not self.machine.parked

    @invariant()
    def the_journal_alone_gives_the_state(self) -> None:
        live = self.machine.of(self.key)
        assert self.machine.folded_again(self.key) == snapshot(live.state)
        assert live.version == self.case.version == len(self.machine.journal)

    @invariant()
    def an_open_notice_and_an_open_pause_go_together(self) -> None:
        open_pauses = [pause for pause in self.case.pauses if not pause.HasField("to")]
        if self.case.state == CORRECTING:
            assert self.case.open_notice
        elif self.case.state == ACCEPTED:
            assert bool(open_pauses) == bool(self.case.open_notice)
        else:
            assert not open_pauses
            assert not self.case.open_notice

    @invariant()
    def papers_are_numbered_once_and_match_their_digest(self) -> None:
        numbers = [document.number for document in self.case.documents]
        assert len(set(numbers)) == len(numbers)
        for document in self.case.documents:
            assert not document.HasField("addressee")
            text = render(with_addressee(document, self.case))
            assert hashlib.sha256(text.encode()).digest() == document.text_digest


TestLead = Lead.TestCase
TestLead.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_fact_of_a_later_version_counts_and_changes_nothing_else() -> None:
    clock = Clock()
    machine = builders.intake_machine(clock)
    machine.execute(builders.submission(clock.now), INTAKE)
    (case,) = machine.cases()
    before = snapshot(case)
    fold(case, machine.journal[0]._replace(type="ronghe.event.v1.NotKnownYet", fact=None), 2)
    assert case.version == 2
    case.version = 1
    assert snapshot(case) == before


def test_only_the_owner_of_a_fact_may_say_it() -> None:
    mesh = builders.mesh()
    mesh.intake.execute(builders.submission(mesh.clock.now), INTAKE)
    mesh.settle()
    case_id = mesh.intake.cases()[0].case_id
    mesh.department.execute(builders.acceptance(case_id, mesh.clock.now), LEAD)
    submitted, accepted = mesh.department.journal
    governance, lead, intake = (m.streams[0].may_say for m in (mesh.governance, mesh.department, mesh.intake))
    state = mesh.governance.of(StreamKey("case", case_id, case_id)).state
    organ_state = mesh.department.of(StreamKey("organ_case", f"{LEAD.id}/{case_id}", case_id)).state
    application = mesh.intake.of(StreamKey("application", case_id, case_id)).state

    assert governance(state, accepted)
    assert intake(application, accepted)
    for stranger in (accepted._replace(origin="department-02"), accepted._replace(origin="intake-01")):
        assert not governance(state, stranger)
        assert not intake(application, stranger)
    assert not lead(organ_state, accepted)
    assert not lead(organ_state, submitted), "a case is opened once"
    empty = mesh.department.streams[0].state()
    assert lead(empty, submitted)
    assert not lead(empty, submitted._replace(origin="department-01"))
    assert not lead(empty, submitted._replace(case_id="another"))


def test_events_carry_no_personal_data_outside_the_marked_fields() -> None:
    mesh = builders.mesh()
    case_id = mesh.intake.execute(builders.submission(mesh.clock.now), INTAKE).case_id
    mesh.settle()
    mesh.department.execute(builders.acceptance(case_id, mesh.clock.now), LEAD)
    for record in mesh.department.journal:
        assert record.fact is not None
        assert "张三".encode() not in snapshot(redacted(record.fact))

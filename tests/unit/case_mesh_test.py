"""All three machines together: facts travel with any delay, any interleaving and any repetition that the ways allow."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ronghe.case.v1 import case_pb2
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import Refused
from tests import builders
from tests.builders import INTAKE, LEAD
from tests.machines import Machine, Mesh, snapshot

ENDED = (case_pb2.STATE_DECIDED, case_pb2.STATE_CLOSED)


class LifeOfCases(RuleBasedStateMachine):
    """An applicant and an organ act on what they see, while the ways deliver when they like."""

    def __init__(self) -> None:
        super().__init__()
        self.mesh: Mesh = builders.mesh()
        self.outcomes: dict[str, int] = {}

    # --- people ---

    @precondition(lambda self: len(self.mesh.intake.cases()) < 2)
    @rule()
    def the_applicant_submits(self) -> None:
        now = self.mesh.clock.advance(seconds=1)
        self.mesh.intake.execute(builders.submission(now), INTAKE)

    @rule(data=st.data())
    def the_applicant_supplements(self, data: st.DataObject) -> None:
        case = self._one(data, self.mesh.intake)
        if case is not None:
            self._try(self.mesh.intake, builders.supplement(case, self.mesh.clock.advance(hours=1)), INTAKE)

    @rule(data=st.data())
    def the_applicant_withdraws(self, data: st.DataObject) -> None:
        case = self._one(data, self.mesh.intake)
        if case is not None:
            self._try(self.mesh.intake, builders.withdrawal(case.case_id, self.mesh.clock.advance(hours=1)), INTAKE)

    @rule(data=st.data(), act=st.sampled_from(["accept", "refuse", "correct", "step", "grant", "deny", "close"]))
    def the_organ_acts(self, data: st.DataObject, act: str) -> None:
        case = self._one(data, self.mesh.department)
        if case is not None:
            self._try(self.mesh.department, self._command(case, act), LEAD)

    def _command(self, case: case_pb2.Case, act: str) -> Any:
        now = self.mesh.clock.advance(hours=1)
        match act:
            case "accept":
                return builders.acceptance(case.case_id, now)
            case "refuse":
                return builders.refusal(case.case_id, now)
            case "correct":
                return builders.correction(case.case_id, now)
            case "step":
                return builders.step(case.case_id, now)
            case "grant":
                return builders.grant(case.case_id, now, case.version)
            case "deny":
                return builders.denial(case.case_id, now, case.version)
            case _:
                return builders.closing(case.case_id, now)

    def _one(self, data: st.DataObject, machine: Machine) -> case_pb2.Case | None:
        cases = machine.cases()
        return data.draw(st.sampled_from(cases)) if cases else None

    def _try(self, machine: Machine, command: Any, caller: Any) -> None:
        try:
            machine.execute(command, caller)
        except Refused as refused:
            assert refused.reason != Reason.REASON_OCCURRED_AT_OUT_OF_RANGE  # noqa: PT017 - the other refusals are the rules at work

    # --- ways ---

    @rule(way=st.integers(0, 5), records=st.integers(1, 3))
    def a_way_delivers(self, way: int, records: int) -> None:
        for _ in range(records):
            self.mesh.ways[way].deliver()

    @rule(way=st.integers(0, 5), records=st.integers(1, 5))
    def a_way_delivers_again(self, way: int, records: int) -> None:
        self.mesh.ways[way].go_back(records)

    # --- what always holds ---

    @invariant()
    def nothing_is_refused_by_ownership(self) -> None:
        assert not any(machine.parked for machine in self.mesh.machines)

    @invariant()
    def an_outcome_never_changes(self) -> None:
        for case in self.mesh.department.cases():
            if case.state in ENDED:
                assert case.outcome
                assert self.outcomes.setdefault(case.case_id, case.outcome) == case.outcome

    def teardown(self) -> None:
        self.mesh.settle()
        for case in self.mesh.department.cases():
            self._bring_to_its_end(case)
        self.mesh.settle()
        views = [sorted(map(snapshot, machine.cases())) for machine in self.mesh.machines]
        assert views[0] == views[1] == views[2]
        for case in self.mesh.intake.cases():
            assert case.state == case_pb2.STATE_CLOSED
            assert case.outcome == self.outcomes.setdefault(case.case_id, case.outcome)
            assert case.withdrawal != case_pb2.WITHDRAWAL_STATUS_REQUESTED

    def _bring_to_its_end(self, case: case_pb2.Case) -> None:
        match case.state:
            case case_pb2.STATE_SUBMITTED | case_pb2.STATE_CORRECTION_REQUESTED:
                self.mesh.department.execute(self._command(case, "refuse"), LEAD)
            case case_pb2.STATE_ACCEPTED:
                self.mesh.department.execute(self._command(case, "deny"), LEAD)
                self.mesh.department.execute(self._command(case, "close"), LEAD)
            case case_pb2.STATE_DECIDED:
                self.mesh.department.execute(self._command(case, "close"), LEAD)
            case _:
                pass


TestLifeOfCases = LifeOfCases.TestCase
TestLifeOfCases.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_supplement_that_crosses_the_refusal_is_late_in_every_journal() -> None:
    mesh = builders.mesh()
    case_id = mesh.intake.execute(builders.submission(mesh.clock.now), INTAKE).case_id
    mesh.settle()
    mesh.department.execute(builders.correction(case_id, mesh.clock.advance(hours=1)), LEAD)
    mesh.settle()
    (case,) = mesh.intake.cases()
    # Both act before either hears of the other; governance hears of the refusal first.
    mesh.department.execute(builders.refusal(case_id, mesh.clock.advance(hours=1)), LEAD)
    mesh.intake.execute(builders.supplement(case, mesh.clock.advance(hours=1)), INTAKE)
    mesh.ways[2].deliver()
    mesh.ways[4].deliver()
    mesh.settle()
    for machine in mesh.machines:
        (seen,) = machine.cases()
        assert seen.state == case_pb2.STATE_CLOSED
        assert seen.outcome == case_pb2.OUTCOME_ACCEPTANCE_REFUSED
        assert [supplement.late for supplement in seen.supplements] == [True]


@pytest.mark.parametrize("hears_first", ["applicant", "organ"])
def test_a_withdrawal_that_crosses_the_decision_is_declined_everywhere(hears_first: str) -> None:
    mesh = builders.mesh()
    case_id = mesh.intake.execute(builders.submission(mesh.clock.now), INTAKE).case_id
    mesh.settle()
    accepted = mesh.department.execute(builders.acceptance(case_id, mesh.clock.advance(hours=1)), LEAD)
    mesh.settle()
    mesh.intake.execute(builders.withdrawal(case_id, mesh.clock.advance(hours=1)), INTAKE)
    mesh.department.execute(builders.grant(case_id, mesh.clock.advance(hours=1), accepted.version), LEAD)
    for way in [0, 2, 4] if hears_first == "applicant" else [2, 4, 0]:
        while mesh.ways[way].waiting:
            mesh.ways[way].deliver()
    mesh.settle()
    for machine in mesh.machines:
        (seen,) = machine.cases()
        assert seen.outcome == case_pb2.OUTCOME_GRANTED
        assert seen.withdrawal == case_pb2.WITHDRAWAL_STATUS_DECLINED

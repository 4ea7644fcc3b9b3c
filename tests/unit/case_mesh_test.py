"""All three machines together: facts travel with any delay, any interleaving and any repetition that the ways allow."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import Refused
from tests import builders
from tests.builders import INTAKE, LEAD
from tests.machines import Machine, Mesh, snapshot

LIKELY = {
    case_pb2.STATE_SUBMITTED: ["correct", "correct", "accept", "accept", "accept", "refuse", "step"],
    case_pb2.STATE_CORRECTION_REQUESTED: ["refuse", "step", "correct", "accept"],
    case_pb2.STATE_ACCEPTED: ["correct", "correct", "correct", "step", "grant", "deny"],
    case_pb2.STATE_DECIDED: ["close", "step", "grant"],
    case_pb2.STATE_CLOSED: ["accept", "close"],
}
"""What an organ tries in a state, illegal acts among it."""

ENDED = (case_pb2.STATE_DECIDED, case_pb2.STATE_CLOSED)


class Lives:
    """An applicant and an organ act on what they see, while the ways deliver when they like."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.mesh: Mesh = builders.mesh()
        self.outcomes: dict[str, int] = {}

    def run(self, steps: int = 600) -> Sequence[case_pb2.Case]:
        """Some cases from their beginning to their end, as all three see them."""
        acts = [self.an_application_comes, self.the_applicant_acts, self.the_organ_acts]
        ways = [self.a_way_delivers, self.a_way_delivers_again]
        for _ in range(steps):
            self.chance.choices([*acts, *ways], [1, 12, 12, 90, 4])[0]()
            self.check()
        self.bring_to_an_end()
        return self.agreed()

    # --- people ---

    def an_application_comes(self) -> None:
        self.mesh.intake.execute(builders.submission(self.mesh.clock.advance(hours=1)), INTAKE)

    def the_applicant_acts(self) -> None:
        for case in self.one_of(self.mesh.intake):
            now = self.mesh.clock.advance(hours=1)
            if self.chance.random() < 0.02:
                self.attempt(self.mesh.intake, builders.withdrawal(case.case_id, now), INTAKE)
            elif case.open_notice:
                self.attempt(self.mesh.intake, builders.supplement(case, now), INTAKE)

    def the_organ_acts(self) -> None:
        for case in self.one_of(self.mesh.department):
            self.attempt(self.mesh.department, self.command(case, self.chance.choice(LIKELY[case.state])), LEAD)

    def one_of(self, machine: Machine) -> Sequence[case_pb2.Case]:
        """One case, or none while there is none."""
        cases = machine.cases()
        return [self.chance.choice(cases)] if cases else []

    def command(self, case: case_pb2.Case, act: str) -> Any:
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

    def attempt(self, machine: Machine, command: Any, caller: Identity) -> None:
        """The rules may refuse it, but never because of the time."""
        try:
            machine.execute(command, caller)
        except Refused as refused:
            if refused.reason == Reason.REASON_OCCURRED_AT_OUT_OF_RANGE:
                raise

    # --- ways ---

    def a_way_delivers(self) -> None:
        self.chance.choice(self.mesh.ways).deliver()

    def a_way_delivers_again(self) -> None:
        self.chance.choice(self.mesh.ways).go_back(self.chance.randint(1, 5))

    # --- what holds ---

    def check(self) -> None:
        """Nobody says what he may not say, and an outcome never changes."""
        assert not any(machine.parked for machine in self.mesh.machines)
        for case in self.mesh.department.cases():
            if case.state in ENDED:
                assert case.outcome
                assert self.outcomes.setdefault(case.case_id, case.outcome) == case.outcome

    def bring_to_an_end(self) -> None:
        self.mesh.settle()
        for case in self.mesh.department.cases():
            while case.state != case_pb2.STATE_CLOSED:
                acts = {case_pb2.STATE_ACCEPTED: "deny", case_pb2.STATE_DECIDED: "close"}
                self.mesh.department.execute(self.command(case, acts.get(case.state, "refuse")), LEAD)
        self.mesh.settle()
        self.check()

    def agreed(self) -> Sequence[case_pb2.Case]:
        """All three see the same, to the byte, and nothing is left open."""
        views = [sorted(map(snapshot, machine.cases())) for machine in self.mesh.machines]
        assert views[0] == views[1] == views[2]
        cases = self.mesh.intake.cases()
        for case in cases:
            assert case.state == case_pb2.STATE_CLOSED
            assert case.outcome == self.outcomes[case.case_id]
            assert case.withdrawal != case_pb2.WITHDRAWAL_STATUS_REQUESTED
        return cases


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_however_facts_travel_all_three_agree_on_one_outcome(seed: int) -> None:
    Lives(Random(seed)).run()


def test_the_lives_above_meet_every_outcome_and_every_crossing() -> None:
    cases = [case for seed in range(40) for case in Lives(Random(seed)).run()]
    assert {case.outcome for case in cases} == set(case_pb2.Outcome.values()) - {0}
    assert {case.withdrawal for case in cases} == {0, 2, 3}
    assert {supplement.late for case in cases for supplement in case.supplements} == {False, True}
    assert any(len(case.pauses) > 1 for case in cases)


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

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from google.type.date_pb2 import Date

from clients.demo.director import Director
from clients.demo.plan import Desk, Ending
from ronghe.case.v1 import case_pb2
from ronghe.document.v1 import document_service_pb2 as documents
from ronghe.intake.v1 import intake_service_pb2 as pb
from tests.e2e.drive import (
    AUDITOR,
    INTAKE,
    SUBSYSTEMS,
    TERMINAL,
    Mesh,
    PatientIntake,
    assert_nothing_doubled,
    at,
    case_at,
    counter,
    play,
    replay,
    short_name,
    stories,
    until,
)


@pytest.mark.parametrize("ending", Ending, ids=lambda ending: ending.name.lower())
async def test_a_case_ends_as_planned_and_is_the_same_case_everywhere(
    mesh: Mesh, desks: Sequence[Desk], ending: Ending
) -> None:
    told = stories(desks, [ending] * 3)

    await play(mesh, told)

    for story in told:
        at_intake, *others = [await case_at(mesh, name, story.case_id) for name in SUBSYSTEMS]
        assert at_intake.outcome == ending.value.outcome
        assert at_intake.state == case_pb2.STATE_CLOSED
        assert others == [at_intake, at_intake]
    assert_nothing_doubled(mesh, told)


class LateTerminal(PatientIntake):
    """A withdrawal that is asked for only when the decision has come, the first time."""

    def __init__(self, mesh: Mesh) -> None:
        super().__init__(mesh.addresses["intake"], mesh.pki, TERMINAL)
        self._mesh = mesh
        self.asked: list[str] = []
        """Case ids."""

    async def request_withdrawal(self, request: pb.RequestWithdrawalRequest) -> pb.RequestWithdrawalResponse:
        self.asked.append(request.case_id)
        if len(self.asked) == 1:
            await until(lambda: "Decided" in self._mesh.recorded("intake", request.case_id), "the decision has come")
        return await super().request_withdrawal(request)


async def test_a_withdrawal_that_does_not_cross_the_decision_is_played_again(mesh: Mesh, desks: Sequence[Desk]) -> None:
    [story] = told = stories(desks, [Ending.WITHDRAWAL_DECLINED])
    organ = story.desk.organ.id
    async with LateTerminal(mesh) as terminal, mesh.intake(INTAKE) as receiver, mesh.department(organ) as office:
        await Director(terminal, receiver, {organ: office}).play(told, lambda story: None)

    assert story.problem == ""
    assert terminal.asked[-1] == story.case_id != terminal.asked[0]
    assert (await case_at(mesh, "department", terminal.asked[0])).state == case_pb2.STATE_CLOSED
    assert_nothing_doubled(mesh, told)


async def test_the_intake_system_is_told_each_fact_once_and_in_order(mesh: Mesh, desks: Sequence[Desk]) -> None:
    told = stories(desks, Ending)

    await play(mesh, told)

    events = await replay(mesh, "intake", INTAKE)
    assert len({event.id for event in events}) == len(events)
    for story in told:
        facts = [short_name(event) for event in events if event.case_id == story.case_id]
        assert facts == list(story.ending.value.facts)


async def test_a_paper_reads_the_same_everywhere_and_its_digest_holds(mesh: Mesh, desks: Sequence[Desk]) -> None:
    told = stories(desks, [Ending.CORRECTED])

    await play(mesh, told)

    case = await case_at(mesh, "intake", told[0].case_id)
    assert len(case.documents) == 4
    for paper in case.documents:
        texts = set()
        for name in SUBSYSTEMS:
            async with mesh.client(name, AUDITOR) as client:
                request = documents.GetDocumentRequest(case_id=case.case_id, number=paper.number)
                texts.add((await client.documents.get_document(request)).text)
        assert [hashlib.sha256(text.encode()).digest() for text in texts] == [paper.text_digest]


async def test_a_pause_moves_the_last_days(mesh: Mesh, desks: Sequence[Desk]) -> None:
    """The acts lie in the past, as when an office enters its paper files."""
    started = datetime.now(UTC) - timedelta(days=20)
    async with counter(mesh, desks[0]) as here:
        case_id = (await here.submit(occurred_at=at(started))).case_id
        await here.delivered(case_id)
        receipt = (await here.accept(case_id, occurred_at=at(started + timedelta(days=1)))).receipt
        notice = (await here.correct(case_id, occurred_at=at(started + timedelta(days=2)))).notice
        await here.noticed(case_id, notice.number)
        await here.supplement(case_id, notice.number, occurred_at=at(started + timedelta(days=16)))
        await here.supplemented(case_id)
        await here.deny(case_id)
        await here.at_intake(case_id, case_pb2.STATE_CLOSED)

    at_intake, *others = [await case_at(mesh, name, case_id) for name in SUBSYSTEMS]
    assert others == [at_intake, at_intake]
    (pause,) = at_intake.pauses
    assert _day(pause.to) - _day(getattr(pause, "from")) == timedelta(days=14)
    assert _day(at_intake.legal_due.date) >= _day(receipt.legal_due.date) + timedelta(days=14)
    assert _day(at_intake.promised_due.date) >= _day(receipt.promised_due.date) + timedelta(days=14)


def _day(message: Date) -> date:
    return date(message.year, message.month, message.day)

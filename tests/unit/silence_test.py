"""What time does to a task at its organ, and what the center and the lead make of it."""

from datetime import UTC, datetime, timedelta

import pytest
from google.type.date_pb2 import Date

from ronghe.collaboration.v1.collaboration_pb2 import Answer, Collaboration, Task
from ronghe.event.v1 import event_pb2 as event
from tests import builders
from tests.builders import JIEFANGBEI
from tests.unit.collaboration_test import POLICE, TOWN, Stage

ADVERTISING = "IT-003"
"""Its rule for MARKET_REG has a demonstration basis by which silence is agreement."""
MARKET = "market-reg-500103"


def later(stage: Stage, moment: str) -> None:
    """The clock of all machines comes to this moment in Chongqing, and timers have their effect."""
    stage.mesh.clock.now = datetime.fromisoformat(f"{moment}+08:00").astimezone(UTC)
    stage.mesh.department.pass_time()
    stage.mesh.settle()


def told(stage: Stage, receiver: str) -> list[type]:
    subsystem = stage.mesh.governance if receiver.startswith("center/") else stage.mesh.department
    return [type(record.fact) for record in subsystem.inboxes[receiver]]


def test_who_does_not_sign_is_signed_in_when_the_next_working_day_has_passed() -> None:
    stage = Stage()
    stage.ask("traffic-police")
    # Asked on Monday 2026-11-23.
    later(stage, "2026-11-24 23:59")
    assert stage.task_of(POLICE).state == Task.STATE_ASSIGNED
    later(stage, "2026-11-25 00:00")
    task = stage.task_of(POLICE)
    assert task.state == Task.STATE_SIGNED
    assert not task.HasField("signed_by")
    # Three working days behind the day of the sign-in.
    assert task.reply_due.date == Date(year=2026, month=11, day=30)
    assert stage.agreed().tasks[0].state == Task.STATE_SIGNED


@pytest.mark.parametrize("act", ["answers", "returns"])
def test_an_act_on_its_way_while_time_signs_is_taken_as_it_was_done(act: str) -> None:
    stage = Stage()
    stage.ask("traffic-police")
    task = stage.task_of(POLICE)
    later(stage, "2026-11-25 00:00")
    done_at = datetime.fromisoformat("2026-11-24T23:59:58+08:00").astimezone(UTC)
    if act == "answers":
        stage.organ(POLICE, builders.answering(task, done_at))
    else:
        stage.organ(POLICE, builders.returning(task.task_id, done_at))
    assert stage.task_of(POLICE).state == (Task.STATE_ANSWERED if act == "answers" else Task.STATE_RETURNED)


def test_a_weekend_does_not_count_for_the_sign_in() -> None:
    stage = Stage()
    later(stage, "2026-11-27 10:00")
    stage.ask("traffic-police")
    later(stage, "2026-11-30 12:00")
    assert stage.task_of(POLICE).state == Task.STATE_ASSIGNED
    later(stage, "2026-12-01 00:00")
    assert stage.task_of(POLICE).state == Task.STATE_SIGNED


def test_silence_is_no_answer_where_no_basis_says_so_and_the_center_presses() -> None:
    stage = Stage()
    stage.ask("traffic-police", "town-gov")
    for organ in (POLICE, TOWN):
        stage.organ(organ, builders.signing(stage.task_of(organ).task_id, stage.now))
    later(stage, "2026-11-25 00:00")
    assert told(stage, f"organ/{TOWN}")[-1] is event.TaskReminded
    later(stage, "2026-11-26 00:00")
    assert told(stage, f"organ/{TOWN}")[-1] is event.TaskOverdue
    assert told(stage, f"center/{JIEFANGBEI}") == [event.TaskOverdue]
    town = stage.agreed().tasks[1]
    assert (town.state, town.overdue) == (Task.STATE_SIGNED, True)
    stage.answer_signed(TOWN)
    assert stage.agreed().tasks[1].state == Task.STATE_ANSWERED


def test_silence_is_agreement_where_a_document_says_so_and_the_decision_names_it() -> None:
    stage = Stage(item_code=ADVERTISING)
    stage.ask("market-reg")
    stage.organ(MARKET, builders.signing(stage.task_of(MARKET).task_id, stage.now))
    later(stage, "2026-11-26 00:00")
    task = stage.agreed().tasks[0]
    assert (task.state, task.answer.opinion, task.answer.deemed) == (Task.STATE_ANSWERED, Answer.OPINION_AGREE, True)
    assert stage.at_the_center.state == Collaboration.STATE_CONCLUDED
    decision = stage.grant(citations=builders.cite(stage.case)).decision
    assert any("视为同意" in line for line in decision.opinions)


@pytest.mark.parametrize("days", [3, 40])
def test_time_does_nothing_to_who_has_answered(days: int) -> None:
    stage = Stage()
    stage.ask("traffic-police")
    stage.answer(POLICE)
    before = len(stage.mesh.department.journal)
    stage.mesh.clock.now += timedelta(days=days)
    stage.mesh.department.pass_time()
    assert len(stage.mesh.department.journal) == before

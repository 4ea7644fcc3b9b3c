"""What the parties of the load do follows from what they are told alone."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import protovalidate
import pytest
from google.protobuf import any_pb2

from faults.load import load as playing
from faults.load.cast import Told
from faults.load.collaborators import RETURNED, RETURNS, SUGGESTED, answer_to
from faults.load.courses import PLAYED_AT, SHARES
from faults.load.load import Load
from faults.load.questions import BEYOND, NOBODYS_DUTY, opinion_on, question_to
from ronghe.catalog.v1.catalog_pb2 import (
    COLLABORATION_KIND_CO_APPROVAL,
    COLLABORATION_KIND_CONSULTATION,
    CollaborationKind,
)
from ronghe.collaboration.v1.collaboration_pb2 import Answer, Brief, CoApproval
from ronghe.event.v1 import event_pb2 as event

TASK = "0190a000-0000-7000-8000-000000000001"
OPINIONS = [each for each in Answer.Opinion.values() if each != Answer.OPINION_UNSPECIFIED]


@pytest.mark.parametrize("opinion", OPINIONS)
def test_whom_the_question_means_says_what_it_wants_and_the_others_agree(opinion: "Answer.Opinion.ValueType") -> None:
    question = question_to("planning", opinion)
    assert opinion_on(Brief(rule="planning", question=question)) == opinion
    assert opinion_on(Brief(rule="market-reg", question=question)) == Answer.OPINION_AGREE


@pytest.mark.parametrize("question", ["", BEYOND, NOBODYS_DUTY])
def test_who_is_asked_nothing_special_agrees(question: str) -> None:
    assert opinion_on(Brief(rule="planning", question=question)) == Answer.OPINION_AGREE


@pytest.mark.parametrize("kind", [COLLABORATION_KIND_CONSULTATION, COLLABORATION_KIND_CO_APPROVAL])
@pytest.mark.parametrize("opinion", OPINIONS)
def test_an_answer_has_what_its_opinion_and_its_kind_ask_for(
    opinion: "Answer.Opinion.ValueType", kind: "CollaborationKind.ValueType"
) -> None:
    brief = Brief(rule="planning", question=question_to("planning", opinion), kind=kind)
    answer = answer_to(event.TaskAssigned(task_id=TASK, brief=brief))

    protovalidate.validate(answer)
    needs_more = opinion == Answer.OPINION_NEED_MORE_MATERIAL
    assert answer.HasField("co_approval") == (kind == COLLABORATION_KIND_CO_APPROVAL and not needs_more)
    if answer.HasField("co_approval"):
        agrees = opinion != Answer.OPINION_DISAGREE
        assert answer.co_approval.result == (CoApproval.RESULT_GRANTED if agrees else CoApproval.RESULT_DENIED)


def test_a_task_that_is_nobodys_duty_is_returned_three_times_and_ends_with_whom_the_officer_names() -> None:
    chain, returned = [RETURNS], RETURNED[NOBODYS_DUTY]
    while returned[chain[-1]] not in chain:
        chain.append(returned[chain[-1]])
    assert len(chain) == 3
    assert SUGGESTED not in returned


def test_what_is_told_of_one_round_is_not_taken_for_the_other() -> None:
    async def scenario() -> None:
        told = Told()
        told.add("organ/lead", _event(event.AnswerReceived(collaboration_id="one", task_id=TASK)))
        told.add("organ/lead", _event(event.CollaborationConcluded(collaboration_id="one")))
        waits = asyncio.create_task(told.until("organ/lead", "CollaborationConcluded", collaboration_id="two"))
        await told.until("organ/lead", "CollaborationConcluded", collaboration_id="one")
        await asyncio.sleep(0)
        assert not waits.done()
        told.add("organ/lead", _event(event.CollaborationConcluded(collaboration_id="two")))
        await waits
        assert told.answers[TASK].collaboration_id == "one"

    asyncio.run(scenario())


def _event(fact: event.AnswerReceived | event.CollaborationConcluded) -> event.Event:
    packed = any_pb2.Any()
    packed.Pack(fact)
    return event.Event(fact=packed)


def test_courses_that_ask_by_rules_are_played_where_there_are_some() -> None:
    assert all(desk.rules for desks in PLAYED_AT.values() for desk in desks)
    assert PLAYED_AT.keys() <= SHARES.keys()
    assert sum(SHARES.values()) == 32


async def test_a_case_has_its_place_in_time_by_the_clock_that_faults_go_by() -> None:
    nobody: Any = None
    load, ends = Load(nobody, Random(1), nobody, nobody), asyncio.Event()

    def case(case_id: str) -> Any:
        until_then = {"submit": ends.wait, "ended": ends.wait, "ended_at": inf}
        return SimpleNamespace(number=len(case_id), case_id=case_id, **until_then)

    async def course(_: object) -> None:
        pass

    before = time.time()
    playing = [load.begin(case(case_id), course) for case_id in ("a case", "")]  # of the second nothing is known yet
    await asyncio.sleep(0)
    ((case_id, (began, ended)),) = load.windows.items()
    assert case_id == "a case"
    assert before <= began < time.time() < ended
    ends.set()
    await asyncio.gather(*playing)
    assert began < load.windows["a case"][1] <= time.time()


class Listener:
    """Listens until it is told to stop, or fails."""

    def __init__(self, party: str, fails: Exception | None = None) -> None:
        self.party, self.subsystem, self.fails = party, "department", fails

    async def run(self) -> None:
        if self.fails:
            raise self.fails
        await asyncio.Event().wait()


async def test_a_receiver_that_ends_by_itself_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @asynccontextmanager
    async def nobody(*_: object) -> AsyncIterator[None]:
        yield None

    def receivers(*_: object) -> list[Any]:
        full = ExceptionGroup("of a session", [OSError("the disk is full")])
        return [Listener("organ/deaf", full), Listener("organ/well"), Listener("organ/cut")]

    monkeypatch.setattr(playing, "cast", nobody)
    monkeypatch.setattr(playing, "_receivers", receivers)
    async with playing.load({}, tmp_path, tmp_path, 1) as found:
        await asyncio.sleep(0)
        (cut,) = (task for task in asyncio.all_tasks() if "organ/cut" in task.get_name())
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)
    assert found.problems == {
        "organ/deaf at department listens no more: OSError: the disk is full": 1,
        "organ/cut at department listens no more: it was cancelled": 1,
    }

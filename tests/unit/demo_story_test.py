"""When a case of the demo has missed its plan, and that the demo says so, and by its exit status too."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.message import Message
from google.type.date_pb2 import Date

from clients.demo import director, main
from clients.demo.applications import Applicants
from clients.demo.director import Director
from clients.demo.plan import Desk, Ending
from clients.demo.stage import Stage
from clients.demo.story import PlanMissed, Story
from ronghe.case.v1 import case_pb2
from ronghe.department.v1.department_service_pb2 import RefuseAcceptanceRequest
from ronghe.document.v1.document_pb2 import Document
from ronghe.event.v1 import event_pb2
from ronghe.event.v1.event_pb2 import Event
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest, SubmitApplicationResponse
from servers.mesh.folder import endpoints_file, locked
from tests.unit.catalog_support import CATALOG
from tests.unit.cli_support import ronghe

ITEM = CATALOG.item("IT-001", Date(year=2026, month=11, day=23))
DESK = Desk(ITEM, "500103", CATALOG.organs["urban-mgmt-500103"])
CASE_ID = "0199f2a0-1c3d-7e4f-8a5b-6c7d8e9f0a1b"


def story(ending: Ending, number: int = 0) -> Story:
    return Story(number, DESK, ending, Applicants(uuid4().hex[:12].upper()).application(DESK))


def event(fact: Message) -> Event:
    made = Event(id=str(uuid4()), origin="department-01", case_id=CASE_ID)
    made.fact.Pack(fact)
    return made


def tell(told: Story, party: str, *names: str, **decided: Any) -> None:
    """Facts of these names; a decision with these fields."""
    for name in names:
        fact = event_pb2.Decided(**decided) if name == "Decided" else getattr(event_pb2, name)()
        told.ears[party].tell(event(fact))


def all_told(ending: Ending, **decided: Any) -> Story:
    """A story whose parties were told what is planned."""
    told = story(ending)
    decided.setdefault("outcome", ending.value.outcome)
    for party, facts in told.plan.items():
        tell(told, party, *facts, **decided)
    return told


@pytest.mark.parametrize("ending", Ending, ids=lambda ending: ending.name.lower())
def test_a_story_whose_parties_were_told_what_is_planned_has_gone_as_planned(ending: Ending) -> None:
    all_told(ending).check()


@pytest.mark.parametrize("party", ["intake", "organ/urban-mgmt-500103"])
def test_a_fact_more_than_planned_misses_the_plan(party: str) -> None:
    told = all_told(Ending.REFUSED)
    tell(told, party, "Withdrawn")
    with pytest.raises(PlanMissed, match=f"^{party.partition('/')[0]} was told .*, Withdrawn$"):
        told.check()


def test_a_fact_less_than_planned_misses_the_plan() -> None:
    told = story(Ending.WITHDRAWN)
    tell(told, "intake", "Accepted")
    with pytest.raises(PlanMissed, match=r"^intake was told Accepted$"):
        told.check()


def test_facts_in_another_order_miss_the_plan() -> None:
    told = story(Ending.WITHDRAWN)
    tell(told, "intake", "Withdrawn", "Accepted")
    with pytest.raises(PlanMissed, match=r"^intake was told Withdrawn, Accepted$"):
        told.check()


def test_a_party_that_the_plan_does_not_name_is_told_nothing() -> None:
    told = all_told(Ending.GRANTED)
    tell(told, "organ/fire-500103", "TaskAssigned")
    with pytest.raises(PlanMissed, match=r"^organ was told TaskAssigned$"):
        told.check()


@pytest.mark.parametrize("ending", [Ending.GRANTED, Ending.DENIED], ids=["granted", "denied"])
def test_another_decision_than_planned_misses_the_plan(ending: Ending) -> None:
    other = case_pb2.OUTCOME_DENIED if ending is Ending.GRANTED else case_pb2.OUTCOME_GRANTED
    with pytest.raises(PlanMissed, match="decided otherwise than planned"):
        all_told(ending, outcome=other).check()


def test_a_decision_that_does_not_say_what_others_said_misses_the_plan() -> None:
    told = all_told(Ending.GRANTED, decision=Document(conditions=["消防：夜间施工"], opinions=["住建：无异议"]))
    told.carried = ["夜间施工", "无异议"]
    told.check()
    told.carried.append("保留应急通道")
    with pytest.raises(PlanMissed, match=r"^the decision does not say 保留应急通道$"):
        told.check()


# --- a story that the director runs ---


@dataclass(frozen=True, slots=True)
class ToyItem:
    event: Event

    async def ack(self) -> None:
        pass


class ToyParty:
    """The client of somebody who is told what lies in his inbox."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[Event] = asyncio.Queue()

    async def inbox(self) -> AsyncIterator[ToyItem]:
        while True:
            yield ToyItem(await self.told.get())


class ToyTerminal(ToyParty):
    """Hands applications to the organ."""

    def __init__(self, organ: ToyParty) -> None:
        super().__init__()
        self._organ = organ

    async def submit_application(self, request: SubmitApplicationRequest) -> SubmitApplicationResponse:
        application = case_pb2.Application(external_no=request.external_no)
        self._organ.told.put_nowait(event(event_pb2.Submitted(application=application)))
        return SubmitApplicationResponse(case_id=CASE_ID)


class ToyOrgan(ToyParty):
    """Refuses, and intake is told these facts of it."""

    def __init__(self, receiver: ToyParty, facts: Sequence[str]) -> None:
        super().__init__()
        self._receiver = receiver
        self._facts = facts

    async def refuse_acceptance(self, request: RefuseAcceptanceRequest) -> None:
        for name in self._facts:
            self._receiver.told.put_nowait(event(getattr(event_pb2, name)()))


async def played(*facts: str, progress: Callable[[Story], None] = lambda story: None) -> Story:
    """A story that is to be refused, and of which intake is told these facts."""
    receiver: Any = ToyParty()
    organ: Any = ToyOrgan(receiver, facts)
    terminal: Any = ToyTerminal(organ)
    (told,) = await Director(terminal, receiver, {DESK.organ.id: organ}).play([story(Ending.REFUSED)], progress)
    return told


async def test_a_story_that_goes_as_planned_has_no_problem() -> None:
    assert (await played("AcceptanceRefused")).problem == ""


async def test_a_story_that_misses_its_plan_says_how() -> None:
    told = await played("AcceptanceRefused", "Closed")
    assert told.problem == "intake was told AcceptanceRefused, Closed"


async def test_a_story_of_which_too_little_is_heard_ends_with_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(director, "PATIENCE", 0.2)
    assert (await played()).problem.startswith("nothing came for ")


async def test_what_is_told_after_the_end_misses_the_plan_too() -> None:
    told = await played("AcceptanceRefused", progress=lambda ended: tell(ended, "intake", "Closed"))
    assert told.problem == "intake was told AcceptanceRefused, Closed"


# --- the exit status ---


@pytest.mark.parametrize(("missed", "status"), [([], 0), ([0], 1), ([1], 1), ([2], 1), ([0, 1, 2], 1)])
def test_the_exit_status_tells_whether_every_case_has_ended_as_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missed: Sequence[int], status: int
) -> None:
    stories = [story(Ending.GRANTED, number) for number in range(3)]

    async def play(stage: Stage, count: int, progress: Callable[[Story], None]) -> Sequence[Story]:
        for number in missed:
            stories[number].problem = "intake was told Withdrawn"
        return stories

    monkeypatch.setattr(main, "play", play)
    with locked(tmp_path):
        endpoints_file(tmp_path).parent.mkdir()
        endpoints_file(tmp_path).write_text(json.dumps({"intake": {"address": "127.0.0.1:1"}}))
        result = ronghe(tmp_path, "demo", "--cases", "3")
    assert result.exit_code == status
    assert (f"{len(missed)} x intake was told Withdrawn" in result.stdout) == bool(missed)

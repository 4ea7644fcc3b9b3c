"""What the demo plans, made from the real catalog: how many cases, where, and how they end."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from clients.demo import main
from clients.demo.courses import Shared
from clients.demo.plan import Ending
from clients.demo.run import EVERY, write_stories
from clients.demo.shared import SharedStory
from clients.demo.story import Story
from clients.identity import Identity
from clients.intake import IntakeClient
from ronghe.case.v1 import case_pb2
from servers.catalog.service import CatalogServicer
from servers.kernel.times import SystemClock
from servers.rpc.paging import Pages
from tests.unit.catalog_support import CATALOG
from tests.unit.cli_support import ronghe, toy_mesh

COUNT = 300


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Story]:
    """Those of `make demo`: a server with the real catalog is all that the plan is made from."""
    catalog = CatalogServicer(CATALOG, Pages(b"a key of the deployment, 32 bytes"), SystemClock())
    with toy_mesh(tmp_path_factory.mktemp("data"), catalog) as mesh:
        return asyncio.run(written(mesh.data))


async def written(data: Path) -> Sequence[Story]:
    address = json.loads((data / "run" / "endpoints.json").read_text())["intake"]["address"]
    async with IntakeClient(address, data / "pki", Identity("terminal", "yukuaiban")) as terminal:
        return await write_stories(terminal, COUNT)


def test_the_demo_plays_three_hundred_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def run(data: Path, count: int, port_base: int | None) -> int:
        counts.append(count)
        return 0

    monkeypatch.setattr(main, "run", run)
    assert ronghe(tmp_path, "demo").exit_code == 0
    assert counts == [COUNT]


def test_every_case_has_an_application_of_its_own(stories: Sequence[Story]) -> None:
    assert len({story.request.external_no for story in stories}) == len(stories) == COUNT


def test_applications_come_from_the_pc_the_app_and_the_kiosk(stories: Sequence[Story]) -> None:
    wanted = {case_pb2.CHANNEL_PC, case_pb2.CHANNEL_APP, case_pb2.CHANNEL_KIOSK}
    assert {story.request.channel for story in stories} == wanted


def test_cases_are_led_by_many_organs_in_many_divisions(stories: Sequence[Story]) -> None:
    assert len({story.desk.organ.id for story in stories}) >= 12
    assert len({story.request.division for story in stories}) >= 6


def test_one_case_in_four_asks_others_in_several_divisions(stories: Sequence[Story]) -> None:
    asking = [story for story in stories if isinstance(story, SharedStory)]
    assert len(asking) == COUNT / EVERY
    assert all(set(story.scene.organs) - {story.desk.organ.id} for story in asking)
    assert len({story.scene.center for story in asking}) >= 6


def test_every_ending_there_is_is_played_more_than_once(stories: Sequence[Story]) -> None:
    ended = [story.ending for story in stories]
    assert [ending.name for ending in (*Ending, *Shared) if ended.count(ending) < 2] == []


GRANTED, DENIED = case_pb2.OUTCOME_GRANTED, case_pb2.OUTCOME_DENIED
REFUSED, WITHDRAWN = case_pb2.OUTCOME_ACCEPTANCE_REFUSED, case_pb2.OUTCOME_WITHDRAWN


@pytest.mark.parametrize(
    ("outcome", "facts"),
    [
        pytest.param(GRANTED, ["Accepted", "Decided", "Closed"], id="granted"),
        pytest.param(DENIED, ["Accepted", "Decided", "Closed"], id="denied"),
        pytest.param(REFUSED, ["AcceptanceRefused"], id="acceptance refused"),
        pytest.param(GRANTED, ["CorrectionRequested", "SupplementReceived", "Accepted", "Decided"], id="corrected"),
        pytest.param(GRANTED, ["Accepted", "CorrectionRequested", "SupplementReceived", "Decided"], id="paused"),
        pytest.param(WITHDRAWN, ["Accepted", "Withdrawn"], id="withdrawn"),
        pytest.param(GRANTED, ["Decided", "WithdrawalDeclined"], id="withdrawal declined: already decided"),
    ],
)
def test_cases_that_nobody_else_is_asked_about_end_in_every_way(
    stories: Sequence[Story], outcome: "case_pb2.Outcome.ValueType", facts: Sequence[str]
) -> None:
    """Their intake is told these facts, in this order, among others."""
    planned = [story for story in stories if not isinstance(story, SharedStory) and told_in_order(story, facts)]
    assert any(story.ending.value.outcome == outcome for story in planned)


@pytest.mark.parametrize("outcome", [GRANTED, DENIED, WITHDRAWN], ids=["granted", "denied", "withdrawn"])
def test_cases_that_others_are_asked_about_end_in_every_way(
    stories: Sequence[Story], outcome: "case_pb2.Outcome.ValueType"
) -> None:
    assert any(story.ending.value.outcome == outcome for story in stories if isinstance(story, SharedStory))


def told_in_order(story: Story, facts: Sequence[str]) -> bool:
    told = iter(story.plan["intake"])
    return all(fact in told for fact in facts)

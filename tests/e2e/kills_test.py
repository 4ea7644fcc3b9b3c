import signal
from collections.abc import Sequence
from itertools import cycle, islice

import pytest

from clients.demo.plan import Desk, Ending
from clients.demo.story import Story
from tests.e2e.drive import (
    INTAKE,
    Mesh,
    assert_journals_are_whole,
    assert_nothing_doubled,
    case_at,
    play,
    replay,
    short_name,
    stories,
    until,
)

# A withdrawal is declined only where it loses a race of milliseconds, which a restart of seconds would decide.
ENDINGS = [ending for ending in Ending if ending is not Ending.WITHDRAWAL_DECLINED]
CASES = 30


@pytest.mark.parametrize("name", ["intake", "governance", "department", "kafka"])
async def test_a_process_that_is_killed_under_load_loses_and_doubles_nothing(
    mesh: Mesh, desks: Sequence[Desk], name: str
) -> None:
    told = stories(desks, islice(cycle(ENDINGS), CASES))
    ended: list[Story] = []
    killed: list[int] = []

    def kill_once(story: Story) -> None:
        ended.append(story)
        if not killed:
            killed.append(mesh.signal(name, signal.SIGKILL))
            assert len(ended) < CASES / 2

    await play(mesh, told, kill_once)

    await until(lambda: mesh.pid(name) not in (0, *killed), f"{name} runs again")
    assert_nothing_doubled(mesh, told)
    events = await replay(mesh, "intake", INTAKE)
    for story in told:
        case = await case_at(mesh, "governance", story.case_id)
        assert case.outcome == story.ending.value.outcome
        assert [short_name(event) for event in events if event.case_id == story.case_id] == list(
            story.ending.value.facts
        )
    await assert_journals_are_whole(mesh)

"""What a soak of the fault campaign calls growth."""

from types import SimpleNamespace
from typing import Any

import pytest

from faults.injections.soak import FILLING_MIB, LEAST_GROWTH, Sample, _judge
from faults.injections.stage import NotInjected
from faults.mesh import PROCESSES

FILLING = {**LEAST_GROWTH, "MiB": FILLING_MIB}
BEFORE = {"MiB": 200.0, "open files": 60.0, "threads": 20.0}


def samples(*, median: float = 5.0, **grown: float) -> list[Sample]:
    """Eight looks, of which the last four have so much more of something."""
    late = {what: BEFORE[what] + grown.get(what, 0.0) for what in BEFORE}
    return [
        Sample(10.0 * number, dict.fromkeys(PROCESSES, used), median if number >= 4 else 5.0, 9.0, 100)
        for number, used in enumerate([BEFORE] * 4 + [late] * 4)
    ]


def stage() -> Any:
    return SimpleNamespace(figures={})


def test_what_stays_as_it_is_is_written_down_with_its_figures() -> None:
    soaked = stage()
    _judge(soaked, samples(), LEAST_GROWTH)
    assert soaked.figures["intake MiB early"] == soaked.figures["intake MiB late"] == 200.0


@pytest.mark.parametrize(("what", "more"), [("MiB", 25.0), ("open files", 9.0), ("threads", 4.0)])
def test_what_grows_by_a_tenth_is_named(what: str, more: float) -> None:
    with pytest.raises(NotInjected, match=f"intake: {BEFORE[what]:g} {what} became {BEFORE[what] + more:g}"):
        _judge(stage(), samples(**{what: more}), LEAST_GROWTH)


def test_what_is_kept_in_memory_may_fill_while_there_is_time_for_nothing_else() -> None:
    _judge(stage(), samples(MiB=FILLING_MIB), FILLING)
    with pytest.raises(NotInjected, match="intake: 200 MiB became 281"):
        _judge(stage(), samples(MiB=FILLING_MIB + 1), FILLING)


def test_answers_that_take_more_than_twice_as_long_are_named() -> None:
    with pytest.raises(NotInjected, match="5 ms to an answer became 11"):
        _judge(stage(), samples(median=11.0), LEAST_GROWTH)

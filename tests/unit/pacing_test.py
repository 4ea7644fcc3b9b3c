from hypothesis import given
from hypothesis import strategies as st

from bridge.pacing import BUSY_ITEMS, FULL_ITEMS, LONGEST, Pacer

APART = 60.0


class Time:
    """Passes as it is told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def waits(*passes: int, each_takes: float = 0.0) -> list[float]:
    """Before each pass of so many items, and before the one that follows."""
    clock, found = Time(), []
    pacer = Pacer(seconds=APART, clock=clock)
    for items in passes:
        found.append(pacer.delay())
        clock.now += found[-1] + each_takes
        pacer.passed(items)
    return [*found, pacer.delay()]


def test_the_first_pass_begins_at_once() -> None:
    assert waits() == [0]


@given(st.lists(st.integers(0, int(BUSY_ITEMS) - 1), max_size=50))
def test_while_there_is_little_to_do_nothing_waits(passes: list[int]) -> None:
    assert not any(waits(*passes))


@given(st.integers(int(BUSY_ITEMS) + 1, int(FULL_ITEMS)))
def test_once_batches_are_worth_it_the_next_pass_waits_its_time(items: int) -> None:
    assert waits(*[items] * 50)[-1] == APART


@given(st.integers(int(FULL_ITEMS) + 1, 1000))
def test_the_fuller_they_are_the_longer_it_waits_up_to_a_bound(items: int) -> None:
    assert APART < waits(*[items] * 50)[-1] <= APART * LONGEST
    assert waits(*[1000] * 50)[-1] == APART * LONGEST


def test_after_a_burst_it_works_at_once_again() -> None:
    assert waits(*[500] * 10, *[1] * 40)[-1] == 0


@given(st.integers(0, 2 * int(APART)))
def test_passes_begin_so_far_apart_however_long_they_take(each_takes: int) -> None:
    assert waits(*[int(FULL_ITEMS)] * 50, each_takes=each_takes)[-1] == max(0, APART - each_takes)

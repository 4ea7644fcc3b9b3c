import time

from hypothesis import given
from hypothesis import strategies as st

from bridge.pacing import BUSY_ITEMS, FULL_ITEMS, LONGEST, Pacer


def paced(*passes: int, seconds: float = 60.0) -> Pacer:
    pacer = Pacer(seconds=seconds)
    for items in passes:
        pacer.passed(items)
    return pacer


def test_the_first_pass_begins_at_once() -> None:
    assert Pacer().delay() == 0


@given(st.lists(st.integers(0, int(BUSY_ITEMS) - 1), max_size=50))
def test_while_there_is_little_to_do_nothing_waits(passes: list[int]) -> None:
    assert paced(*passes).delay() == 0


@given(st.integers(int(BUSY_ITEMS) + 1, int(FULL_ITEMS)))
def test_once_batches_are_worth_it_the_next_pass_waits_its_time(items: int) -> None:
    assert 59 < paced(*[items] * 50).delay() <= 60


@given(st.integers(int(FULL_ITEMS) + 1, 1000))
def test_the_fuller_they_are_the_longer_it_waits_up_to_a_bound(items: int) -> None:
    assert 60 < paced(*[items] * 50).delay() <= 60 * LONGEST
    assert paced(*[1000] * 50).delay() > 60 * LONGEST - 1


def test_after_a_burst_it_works_at_once_again() -> None:
    assert paced(*[500] * 10, *[1] * 40).delay() == 0


def test_time_that_has_passed_already_is_not_waited_again() -> None:
    pacer = paced(500, 500, seconds=0.001)
    time.sleep(0.005)
    assert pacer.delay() == 0

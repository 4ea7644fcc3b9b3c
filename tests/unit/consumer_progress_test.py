"""When a consumer says of a partition that it stands still."""

from bridge.consumer import STANDS_CHECKS, Progress


def test_a_partition_that_does_not_move_though_there_is_more_stands_still() -> None:
    progress = Progress()
    found = [progress.standing({0: 5, 1: number}, {0: 9, 1: 99}) for number in range(STANDS_CHECKS + 1)]
    assert [list(each) for each in found] == [[]] * STANDS_CHECKS + [[0]]


def test_one_of_which_everything_was_read_or_nothing_is_known_does_not() -> None:
    progress = Progress()
    assert not any(progress.standing({0: 9, 1: 9}, {0: 9}) for _ in range(3 * STANDS_CHECKS))


def test_one_that_changed_hands_is_looked_at_anew() -> None:
    progress = Progress()
    for _ in range(STANDS_CHECKS):
        progress.standing({0: 5}, {0: 9})
    progress.begin(0)
    assert not progress.standing({0: 5}, {0: 9})

from datetime import UTC, datetime
from uuid import uuid4

from bridge.record import Record
from servers.kernel.recent import MOST, MOST_BYTES, Recent


def rows(first: int, last: int) -> list[Record]:
    return [
        Record(str(uuid4()), "intake-01", "c", "case/c", 1, (), datetime.now(UTC), "t", b"", None, position=position)
        for position in range(first, last + 1)
    ]


def positions(recent: Recent, after: int, limit: int = 100) -> list[int]:
    return [row.position for row in recent.behind(after, limit)]


def test_rows_behind_a_position_are_given_in_order_up_to_the_limit() -> None:
    recent = Recent()
    recent.add(rows(5, 7))
    recent.add(rows(8, 9))
    assert positions(recent, 4) == [5, 6, 7, 8, 9]
    assert positions(recent, 6, limit=2) == [7, 8]


def test_nothing_is_given_of_what_may_have_a_gap() -> None:
    recent = Recent()
    assert positions(recent, 0) == []
    recent.add(rows(5, 7))
    assert positions(recent, 3) == []


def test_rows_behind_those_of_another_replica_begin_anew() -> None:
    recent = Recent()
    recent.add(rows(5, 7))
    recent.add(rows(10, 11))
    assert positions(recent, 6) == []
    assert positions(recent, 9) == [10, 11]


def test_a_commit_without_rows_changes_nothing() -> None:
    recent = Recent()
    recent.add(rows(5, 5))
    recent.add([])
    recent.add(rows(6, 6))
    assert positions(recent, 4) == [5, 6]


def test_only_the_newest_are_kept() -> None:
    recent = Recent()
    recent.add(rows(1, MOST + 10))
    assert positions(recent, 9) == []
    assert positions(recent, 10, limit=1) == [11]


def test_large_ones_leave_sooner() -> None:
    recent = Recent()
    recent.add([row._replace(body=bytes(MOST_BYTES // 4)) for row in rows(1, 6)])
    assert positions(recent, 1) == []
    assert positions(recent, 2) == [3, 4, 5, 6]


def test_who_is_up_to_date_gets_nothing() -> None:
    recent = Recent()
    recent.add(rows(5, 7))
    assert positions(recent, 7) == []
    assert positions(recent, 8) == []

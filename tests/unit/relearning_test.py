"""What a restored subsystem takes in again of the topic, in which order, and what it waits for."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid5

import pytest

from bridge import relearning
from bridge.cloudevents import headers_of
from bridge.kafka import Incoming, KafkaAccess
from bridge.ports import Arrived, StoreUnavailable, Undecodable
from bridge.record import Record
from bridge.relearning import Lesson, Order
from bridge.settings import BridgeSettings

ROOT = UUID(int=1)


def record(name: str, *causes: str, case: str = "a") -> Record:
    """Own where its name begins with "own"."""
    origin = "here-01" if name.startswith("own") else "there-01"
    ids = tuple(str(uuid5(ROOT, cause)) for cause in causes)
    return Record(str(uuid5(ROOT, name)), origin, case, f"s/{name}", 1, ids, datetime.now(UTC), "t", b"", None)


def taken_in(records: Sequence[Record], own: Sequence[Record] | None = None) -> list[str]:
    """Names, in their order."""
    order = Order([each for each in records if each.origin == "here-01"] if own is None else own)
    items = [item for each in records for item in order.then(Arrived(each, "topic"))]
    return [item.record.stream[2:] for item in [*items, *order.rest()] if isinstance(item, Arrived)]


def test_what_no_own_event_names_comes_after_all_own_events_of_its_case() -> None:
    assert taken_in([record("opened"), record("late"), record("own-1", "opened"), record("own-2", "own-1")]) == [
        "opened", "own-1", "own-2", "late",
    ]  # fmt: skip


def test_a_cause_comes_before_its_effect_and_behind_all_that_its_origin_said_before() -> None:
    topic = [record("one"), record("two"), record("three"), record("own-1"), record("own-2", "own-1", "two")]
    assert taken_in(topic) == ["own-1", "one", "two", "own-2", "three"]


def test_cases_do_not_wait_for_each_other() -> None:
    topic = [record("theirs", case="b"), record("mine"), record("own-1")]
    assert taken_in(topic) == ["theirs", "own-1", "mine"]


def test_repeats_on_the_topic_and_what_is_known_already_change_nothing() -> None:
    own, known = record("own-1", "one"), record("own-0")
    topic = [known, record("one"), own, own, record("two"), record("one")]
    assert taken_in(topic, own=[own]) == ["own-0", "one", "own-1", "own-1", "two", "one"]


def test_nothing_waits_for_ever_where_the_topic_has_forgotten_an_own_event() -> None:
    gone = record("own-2")
    assert taken_in([record("one"), record("own-1")], own=[record("own-1"), gone]) == ["own-1", "one"]


def test_what_cannot_be_read_keeps_its_place_in_its_case() -> None:
    broken, of_no_case = (Undecodable("topic", case, {}, b"", "broken") for case in ("a", ""))
    order = Order([record("own-1")])
    assert order.then(of_no_case) == [of_no_case]
    assert order.then(broken) == []
    last = Arrived(record("own-1"), "topic")
    assert order.then(last) == [last, broken]
    assert order.then(broken) == [broken]


class Weary:
    """A journal whose database answers every other time only, but does what it was told."""

    def __init__(self) -> None:
        self.asked = 0
        self.learned: list[str] = []

    def _tire(self) -> None:
        self.asked += 1
        if self.asked % 2:
            raise StoreUnavailable("the database does not answer in time")

    async def lacking(self, records: Sequence[Record]) -> Sequence[Record]:
        self._tire()
        return records

    async def relearn(
        self, items: Sequence[Arrived | Undecodable], originals: Mapping[str, Record], left_behind: set[str]
    ) -> None:
        self.learned += [item.record.stream for item in items if isinstance(item, Arrived)]
        self._tire()


async def test_a_database_that_does_not_answer_is_waited_for_and_the_topic_is_not_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = str(uuid5(ROOT, "case"))
    records = [record(name, case=case) for name in ("own-1", "own-2")]
    read: list[Any] = []

    def everything(*_: object) -> Iterator[Sequence[Incoming]]:
        read.append(records)
        for offset, each in enumerate(records):
            yield [Incoming(0, offset, case.encode(), each.body, headers_of(each))]

    monkeypatch.setattr(relearning, "everything", everything)
    monkeypatch.setattr(relearning, "Admin", lambda access: SimpleNamespace(topic_id=lambda topic: "id"))
    settings = BridgeSettings(retry_first_seconds=0.001, retry_longest_seconds=0.001)
    student = Weary()
    learned = await Lesson(student, KafkaAccess("nowhere"), settings, "here-01", lambda name: True).learn()
    assert set(learned.own) == {each.event_id for each in records}
    assert len(read) == 2  # once for its own events, once for all
    assert list(dict.fromkeys(student.learned)) == ["s/own-1", "s/own-2"]

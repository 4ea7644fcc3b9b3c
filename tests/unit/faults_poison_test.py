"""What a campaign's poison is: what can be read stands where somebody must judge it."""

from random import Random
from uuid import UUID

import pytest

from faults.checker.history import Event, Problem, TopicRecord
from faults.checker.poison import check
from faults.injections.poison import (
    WANTED,
    Facts,
    Poison,
    Rows,
    _brew,
    _spoiled,
    behind_poison,
    changed,
    lacking,
    taken_in,
)
from faults.load.cast import SIGNS
from ronghe.event.v1.event_pb2 import Submitted
from ronghe.operations.v1.operations_service_pb2 import DeadLetter
from tests.unit.faults_history import CASE, true_history

TOLD = {(f"organ/{SIGNS.lead}", "Submitted", "")}


def test_a_case_is_opened_once_more_at_the_lead_that_has_it() -> None:
    (poison,) = spoiled("impossible", TOLD)
    application = Submitted.FromString(poison.value).application
    assert (application.lead.id, application.lead.deployment) == (SIGNS.lead, "department-01")
    assert (application.case_id, poison.key.decode()) == (CASE, CASE)
    assert passed_over(poison)


def test_a_case_that_its_lead_does_not_have_yet_is_not_opened_by_poison() -> None:
    assert not spoiled("impossible", {("intake/yukuaiban", "Accepted", "")})


def test_an_opening_by_the_wrong_party_is_right_but_for_that() -> None:
    (poison,) = (each for each in _brew(Random(1)) if each.what == "said by the wrong party")
    application = Submitted.FromString(poison.value).application
    assert application.case_id == poison.key.decode()
    assert application.lead.deployment == "department-01"
    assert passed_over(poison)


def spoiled(what: str, facts: Facts) -> list[Poison]:
    """The first of the kind, if there is any."""
    return [each for seed in range(100) if (each := _spoiled(Random(seed), CASE, facts)).what == what][:1]


def passed_over(poison: Poison) -> list[Problem]:
    """What the checker says where nobody has set it aside."""
    headers = poison.headers
    event = Event(
        id=poison.event_id,
        origin=headers["ce_source"],
        case_id=str(UUID(poison.key.decode())),
        stream=headers["ce_subject"],
        version=1,
        causes=(),
        type=headers["ce_type"],
        recorded_at=1,
        body=poison.value,
    )
    topic = [TopicRecord(0, 0, event)]
    history = true_history()
    return list(check(type(history)([], history.journals, topic, [], poison=frozenset({poison.event_id}))))


# --- what an operator meets ---

BEFORE = [("intake-01", "1", b"a"), ("department-01", "2", b"b")]
LETTERS = [DeadLetter(origin="x-9", event_id="9"), *(DeadLetter(origin="intake-01", event_id=each) for each in "34")]


def test_only_what_comes_after_poison_of_its_case_waits_behind_it() -> None:
    letters = [("one", "1"), ("one", "poison"), ("one", "2"), ("other", "3"), ("one", "4")]
    assert behind_poison(letters, {"poison"}) == ["2", "4"]
    assert behind_poison(letters, set()) == []


@pytest.mark.parametrize(
    "after",
    [BEFORE[:1], [("intake-01", "1", b"other"), BEFORE[1]], BEFORE[::-1], [*BEFORE, ("intake-01", "3", b"c")]],
    ids=["a row is gone", "a row is another", "two rows have changed places", "what waited was taken in"],
)
def test_a_redrive_that_failed_must_have_changed_nothing(after: Rows) -> None:
    assert changed(BEFORE, after, LETTERS)


def test_what_others_say_while_a_redrive_fails_is_no_change_of_its() -> None:
    assert not changed(BEFORE, BEFORE, LETTERS)
    assert not changed(BEFORE, [*BEFORE, ("department-01", "3", b"c")], LETTERS)


def test_what_a_redrive_has_taken_in_is_what_waited() -> None:
    after = [*BEFORE, ("intake-01", "4", b"c"), ("department-01", "5", b"d"), ("intake-01", "3", b"e")]
    assert taken_in(BEFORE, after, LETTERS) == [("intake-01", "4"), ("intake-01", "3")]


@pytest.mark.parametrize("figure", WANTED)
def test_poison_without_anything_behind_it_or_without_both_ends_of_a_redrive_does_not_count(figure: str) -> None:
    met = dict.fromkeys(WANTED, 1)
    assert lacking(met) == ""
    assert figure in lacking({**met, figure: 0})

"""What a campaign's poison is: what can be read stands where somebody must judge it."""

from random import Random
from uuid import UUID

from faults.checker.history import Event, Problem, TopicRecord
from faults.checker.poison import check
from faults.injections.poison import Facts, Poison, _brew, _spoiled
from faults.load.cast import SIGNS
from ronghe.event.v1.event_pb2 import Submitted
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

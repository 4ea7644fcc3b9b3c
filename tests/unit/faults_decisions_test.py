"""What a decision must say of those who were asked, by the checker's own reading."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.message import Message

from faults.checker import decisions
from faults.checker.history import Event, History, Journal, Kind, Row
from ronghe.case.v1.case_pb2 import OUTCOME_DENIED, OUTCOME_GRANTED
from ronghe.catalog.v1.catalog_pb2 import Organ
from ronghe.collaboration.v1.collaboration_pb2 import Answer, Brief, CoApproval, Collaboration
from ronghe.document.v1.document_pb2 import Document
from ronghe.event.v1 import event_pb2 as event

POLICE = Organ(id="police", name="交警支队")
DISAGREES = Answer(opinion=Answer.OPINION_DISAGREE, reasons=["影响通行"])
AGREES = Answer(opinion=Answer.OPINION_AGREE)
ON_CONDITIONS = Answer(opinion=Answer.OPINION_AGREE_WITH_CONDITIONS, conditions=["夜间施工"])


BY_RULE = Brief(rule="traffic-police")


def asked(collaboration_id: str, answer: Answer, *, late: bool = False, brief: Brief = BY_RULE) -> Sequence[Message]:
    """A collaboration, its only task, and what the police says."""
    of: dict[str, Any] = {"collaboration_id": collaboration_id, "task_id": f"{collaboration_id} task"}
    return [
        event.CollaborationRequested(collaboration=Collaboration(collaboration_id=collaboration_id)),
        event.TaskAssigned(**of, organ=POLICE, brief=brief),
        event.AnswerReceived(**of, organ=POLICE, answer=answer, late=late),
    ]


def granted(*cited: str, opinions: Sequence[str] = (), conditions: Sequence[str] = (), override: str = "") -> Message:
    """The decision; `override` is the task whose disagreement it explains."""
    overridden = [event.Decided.Overridden(task_id=override, explanation="已疏导")] if override else []
    decision = Document(opinions=opinions, conditions=conditions)
    return event.Decided(outcome=OUTCOME_GRANTED, collaborations=cited, decision=decision, overridden=overridden)


def found(*facts: Message) -> Sequence[Kind]:
    """What the checker says of a case with these facts."""
    rows = [Row(number, _event(number, fact), 1, 1, 1, None, b"", b"") for number, fact in enumerate(facts, 1)]
    journals = {
        name: Journal(name, [row for row in rows if row.event.origin == f"{name}-01"], (0, b""))
        for name in ("governance", "department")
    }
    return [problem.kind for problem in decisions.check(History([], journals, [], []))]


def _event(number: int, fact: Message) -> Event:
    name = fact.DESCRIPTOR.name
    origin = "department-01" if name in ("CollaborationRequested", "Decided") else "governance-01"
    body = fact.SerializeToString()
    return Event(str(UUID(int=number)), origin, "a case", "a stream", number, (), fact.DESCRIPTOR.full_name, 1, body)


def test_a_decision_says_what_was_answered_and_carries_its_conditions() -> None:
    said = ["交警支队：附条件同意"]
    assert found(*asked("one", ON_CONDITIONS), granted("one", opinions=said, conditions=["夜间施工（交警支队）"])) == []
    assert found(*asked("one", ON_CONDITIONS), granted("one", opinions=said)) == [Kind.LOST]
    assert found(*asked("one", AGREES), granted("one")) == [Kind.LOST]
    assert found(*asked("one", DISAGREES), granted("one", opinions=["交警支队：同意"], override="one task")) == [
        Kind.LOST
    ]


def test_whoever_is_not_followed_is_told_why() -> None:
    explained = granted("one", opinions=["交警支队：不同意；未采纳理由：已疏导"], override="one task")
    assert found(*asked("one", DISAGREES), explained) == []
    assert found(*asked("one", DISAGREES), granted("one", opinions=["交警支队：不同意"])) == [Kind.LOST]
    unexplained = granted("one", opinions=["交警支队：不同意"], override="one task")
    assert found(*asked("one", DISAGREES), unexplained) == [Kind.LOST]
    denied = event.Decided(outcome=OUTCOME_DENIED, collaborations=["one"])
    denied.decision.opinions.append("交警支队：不同意")
    assert found(*asked("one", DISAGREES), denied) == []


def test_of_whoever_was_asked_again_the_last_word_counts() -> None:
    rounds = [*asked("one", DISAGREES), *asked("two", AGREES)]
    assert found(*rounds, granted("one", "two", opinions=["交警支队：同意"])) == []
    both = granted("two", "one", opinions=["交警支队：同意", "交警支队：不同意"])
    assert found(*rounds, both) == [Kind.INVENTED]


def test_the_last_word_on_another_question_takes_nothing_back() -> None:
    questions = [Brief(question="是否影响通行"), Brief(question="是否影响停车")]
    both = [*asked("one", DISAGREES, brief=questions[0]), *asked("two", AGREES, brief=questions[1])]
    said = ["交警支队：不同意；未采纳理由：已疏导", "交警支队：同意"]
    assert found(*both, granted("one", "two", opinions=said, override="one task")) == []
    assert found(*both, granted("one", "two", opinions=said[1:])) == [Kind.LOST, Kind.LOST]
    again = [*asked("one", DISAGREES, brief=questions[0]), *asked("two", AGREES, brief=questions[0])]
    assert found(*again, granted("one", "two", opinions=said[1:])) == []


def test_a_decision_does_not_say_what_came_late() -> None:
    assert found(*asked("one", DISAGREES, late=True), granted("one")) == []
    met_the_decision = event.AnswerLate(collaboration_id="one", task_id="one task")
    assert found(*asked("one", DISAGREES), granted("one"), met_the_decision) == []


def test_a_decision_relies_on_nothing_that_it_does_not_cite() -> None:
    assert found(*asked("one", AGREES), granted("one", opinions=["交警支队：同意"])) == []
    assert found(*asked("one", AGREES), granted(opinions=["交警支队：同意"])) == [Kind.INVENTED]


@pytest.mark.parametrize(("line", "kinds"), [("（甲一号）", []), ("", [Kind.LOST])], ids=["named", "left out"])
def test_a_co_approval_is_named_by_its_own_document(line: str, kinds: Sequence[Kind]) -> None:
    answer = Answer(opinion=Answer.OPINION_AGREE, co_approval=CoApproval(document_number="甲一号"))
    assert found(*asked("one", answer), granted("one", opinions=[f"交警支队：同意{line}"])) == kinds


def test_who_kept_silent_is_told_by_what_time_did() -> None:
    forged = Answer(opinion=Answer.OPINION_DISAGREE, reasons=["影响通行"], deemed=True)
    as_silence = granted("one", opinions=["交警支队：逾期未答复，视为同意；未采纳理由：已疏导"], override="one task")
    assert found(*asked("one", forged), as_silence) == [Kind.LOST]
    deemed = event.OpinionDeemed(collaboration_id="one", task_id="one task")
    silence = granted("one", opinions=["交警支队：逾期未答复，视为同意"])
    assert found(deemed, *asked("one", Answer(opinion=Answer.OPINION_AGREE, deemed=True)), silence) == []

"""A decision says what those who were asked said last, carries their conditions, and explains where it follows not."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from faults.checker.history import Event, History, Kind, Problem
from ronghe.case.v1.case_pb2 import OUTCOME_GRANTED
from ronghe.collaboration.v1.collaboration_pb2 import Answer, Brief

Question = tuple[str | int, ...]

OPINIONS = {
    Answer.OPINION_AGREE: "同意",
    Answer.OPINION_AGREE_WITH_CONDITIONS: "附条件同意",
    Answer.OPINION_DISAGREE: "不同意",
    Answer.OPINION_NEED_MORE_MATERIAL: "需补充材料",
}
DEEMED = "逾期未答复，视为同意"


def check(history: History) -> Iterator[Problem]:
    """Compare each decision with the answers in the collaborations that it cites: it relies on no others."""
    for case_id, events in history.by_case.items():
        asked = [event.fact.collaboration.collaboration_id for event in _named("CollaborationRequested", events)]
        for decided in (event.fact for event in _named("Decided", events)):
            cited = [each for each in asked if each in decided.collaborations]
            answers = _last_words(events, cited)
            silent = {(each.fact.task_id, each.fact.assignment) for each in _named("OpinionDeemed", events)}
            yield from (Problem(Kind.LOST, "decision", what, case_id) for what in _left_out(decided, answers, silent))
            if len(decided.decision.opinions) > len(answers):
                what = "says what nobody said last in what it cites"
                yield Problem(Kind.INVENTED, "decision", what, case_id)


def _named(name: str, events: Sequence[Event]) -> Sequence[Event]:
    return [event for event in events if event.name == name]


def _last_words(events: Sequence[Event], cited: Sequence[str]) -> Sequence[Any]:
    """The answers that found the case undecided; of an organ that was asked the same again, those of the last round."""
    too_late = {(each.fact.task_id, each.fact.assignment) for each in _named("AnswerLate", events)}
    questions = {event.fact.task_id: _question(event.fact.brief) for event in _named("TaskAssigned", events)}
    received = [event.fact for event in _named("AnswerReceived", events)]
    in_time = [each for each in received if not each.late and (each.task_id, each.assignment) not in too_late]
    answers = [each for each in in_time if each.collaboration_id in cited]
    last: dict[tuple[Question, str], str] = {}
    for each in sorted(answers, key=lambda each: cited.index(each.collaboration_id)):
        last[questions.get(each.task_id, ()), each.organ.id] = each.collaboration_id
    return [each for each in answers if last[questions.get(each.task_id, ()), each.organ.id] == each.collaboration_id]


def _question(brief: Brief) -> Question:
    """By a rule whatever its words are; beyond the rules, the words, the kind, and whom they are for."""
    return (brief.rule,) if brief.rule else (brief.question, brief.kind, brief.department, brief.tier)


def _left_out(decided: Any, answers: Sequence[Any], silent: Collection[tuple[str, int]]) -> Iterator[str]:
    """Who kept silent is told by what time did, never by what an answer says of itself."""
    overridden = {each.task_id: each.explanation for each in decided.overridden}
    for received in answers:
        answer, name = received.answer, received.organ.name
        said = DEEMED if (received.task_id, received.assignment) in silent else OPINIONS[answer.opinion]
        parts = [f"{name}：{said}", answer.co_approval.document_number, overridden.get(received.task_id, "")]
        if not any(all(part in opinion for part in parts) for opinion in decided.decision.opinions):
            yield f"does not say {' '.join(filter(None, parts))}"
        if decided.outcome != OUTCOME_GRANTED:
            continue
        if answer.opinion == Answer.OPINION_DISAGREE and received.task_id not in overridden:
            yield f"grants, and does not say why {name} is not followed"
        for condition in answer.conditions:
            if not any(condition in each and name in each for each in decided.decision.conditions):
                yield f"grants without the condition of {name}"

"""What a case keeps of its collaborations: who was asked, who said what, which are open."""

import hashlib
from collections.abc import Iterator, MutableSequence, Sequence
from typing import assert_never

from ronghe.catalog.v1.catalog_pb2 import Tier
from ronghe.collaboration.v1.collaboration_pb2 import Ask, Brief, Collaboration, Standing, Task, TaskStanding
from ronghe.event.v1 import event_pb2 as event
from servers.collaboration.facts import AskedByLead, FedBack

OPEN = (Collaboration.STATE_REQUESTED, Collaboration.STATE_OPENED)


def fold(standings: MutableSequence[Standing], fact: AskedByLead | FedBack) -> None:
    """Take a fact of the lead or the center in."""
    if isinstance(fact, event.CollaborationRequested):
        standings.append(_requested(fact.collaboration))
        return
    standing = standing_of(standings, fact.collaboration_id)
    match fact:
        case event.CollaborationRecallRequested():
            standing.recall_requested = True
        case event.CollaborationOpened():
            standing.state = Collaboration.STATE_OPENED
            standing.event_no = fact.event_no
            standing.tasks.extend(_opened(task) for task in fact.tasks)
        case event.AnswerReceived():
            _answer(_task(standing, fact.task_id), fact)
        case event.AnswerLate():
            _task(standing, fact.task_id).answer_late = True
        case event.CollaborationConcluded():
            standing.state = Collaboration.STATE_CONCLUDED
        case event.CollaborationRecalled():
            standing.state = Collaboration.STATE_RECALLED
        case event.RecallDeclined():
            standing.recall_requested = False
        case _:
            assert_never(fact)


def standing_of(standings: Sequence[Standing], collaboration_id: str) -> Standing:
    """One of a case's collaborations; an empty one where there is none."""
    return next((one for one in standings if one.collaboration_id == collaboration_id), Standing())


def open_ones(standings: Sequence[Standing]) -> Iterator[Standing]:
    """Those that still wait for something, and whose recall is not on its way."""
    return (one for one in standings if one.state in OPEN and not one.recall_requested)


def asked(ask: Ask) -> str:
    """Whom an ask means beyond the rules: an organ's id, or "FIRE@DISTRICT"."""
    return ask.organ_id or f"{ask.department}@{Tier.Name(ask.tier).removeprefix('TIER_')}"


def _requested(collaboration: Collaboration) -> Standing:
    return Standing(
        collaboration_id=collaboration.collaboration_id,
        round=collaboration.round,
        state=collaboration.state,
        completion=collaboration.completion,
        rules=[ask.rule for ask in collaboration.asks if ask.rule],
        required_rules=[ask.rule for ask in collaboration.asks if ask.required],
        others=[asked(ask) for ask in collaboration.asks if not ask.rule],
    )


def _opened(task: Task) -> TaskStanding:
    brief = task.brief
    return TaskStanding(task_id=task.task_id, rule=brief.rule, kind=brief.kind, question_digest=question_digest(brief))


def question_digest(brief: Brief) -> bytes:
    """By a rule: what the form said, whatever the words. Beyond the rules: the words, and whom they are for.

    An organ asked under its own id is asked what its type and tier is asked.
    """
    if brief.rule:
        values = sorted(brief.form, key=lambda value: value.name)
        asked_for = [value.SerializeToString(deterministic=True) for value in values]
    else:
        asked_beyond = (brief.department, str(brief.tier), str(brief.kind), brief.question)
        asked_for = [each.encode() for each in asked_beyond]
    return hashlib.sha256(b"\n".join(asked_for)).digest()


def _task(standing: Standing, task_id: str) -> TaskStanding:
    return next((task for task in standing.tasks if task.task_id == task_id), TaskStanding())


def _answer(task: TaskStanding, fact: event.AnswerReceived) -> None:
    if fact.assignment < task.assignment:
        return  # whoever had the task before is overtaken by who has answered for it since, late or not
    task.organ_id, task.organ_name, task.assignment = fact.organ.id, fact.organ.name, fact.assignment
    task.answer.CopyFrom(fact.answer)
    task.answer_late = fact.late

"""What a decision makes of the collaborators' answers."""

from collections import defaultdict

from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1.catalog_pb2 import COLLABORATION_KIND_CO_APPROVAL, Collaborator
from ronghe.collaboration.v1.collaboration_pb2 import (
    COMPLETION_ALL_MUST_ANSWER,
    Answer,
    Brief,
    Collaboration,
    Standing,
    TaskStanding,
)
from ronghe.department.v1.department_service_pb2 import DecideApplicationRequest
from ronghe.error.v1.reason_pb2 import Reason
from servers.case.form import as_it_stands
from servers.case.rules import invalid_fields
from servers.catalog.catalog import Catalog
from servers.catalog.disclosure import disclosed
from servers.catalog.rules import is_required
from servers.collaboration.standing import open_ones, question_digest
from servers.kernel.stream import FieldViolation, Refused

Question = tuple[str, bytes, str]
"""What was answered, by a rule or beyond the rules, and by which organ: an answer to another one takes nothing back."""

AGREEMENT = (Answer.OPINION_AGREE, Answer.OPINION_AGREE_WITH_CONDITIONS)
OPINIONS = {
    Answer.OPINION_AGREE: "同意",
    Answer.OPINION_AGREE_WITH_CONDITIONS: "附条件同意",
    Answer.OPINION_DISAGREE: "不同意",
    Answer.OPINION_NEED_MORE_MATERIAL: "需补充材料",
}


def check_decision(case: case_pb2.Case, command: DecideApplicationRequest, catalog: Catalog) -> None:
    """A decision waits for whom it must, cites what it rests on, and says why it follows somebody not.

    Raises Refused: COLLABORATION_OPEN, COLLABORATION_NOT_CITED, REQUIRED_COLLABORATION_MISSING,
    DISAGREEMENT_NOT_EXPLAINED, INVALID_FIELD.
    """
    _check_open(case)
    _check_citations(case, command)
    _check_overrides(case, command)
    if command.HasField("granted"):
        _check_required(case, catalog)
        _check_explained(case, command)


def _check_open(case: case_pb2.Case) -> None:
    waiting = [
        one.event_no or one.collaboration_id
        for one in open_ones(case.collaborations)
        if one.completion == COMPLETION_ALL_MUST_ANSWER
    ]
    if waiting:
        raise Refused(
            Reason.REASON_COLLABORATION_OPEN,
            f"{', '.join(waiting)} is open, and all asked there must answer: wait for it, or recall it",
            {"collaborations": ",".join(waiting)},
        )


def _check_citations(case: case_pb2.Case, command: DecideApplicationRequest) -> None:
    rounds = {one.collaboration_id: one.round for one in case.collaborations}
    wrong = [
        FieldViolation(f"citations[{index}]", "the case has no such collaboration, or not in this round")
        for index, citation in enumerate(command.citations)
        if rounds.get(citation.collaboration_id.lower()) != citation.round
    ]
    if wrong:
        raise invalid_fields(wrong)
    cited = {citation.collaboration_id.lower() for citation in command.citations}
    relied_on = {task.task_id for task in latest_answers(case)}
    missing = [
        one.event_no
        for one in case.collaborations
        if (one.state == Collaboration.STATE_CONCLUDED or any(task.task_id in relied_on for task in one.tasks))
        and one.collaboration_id not in cited
    ]
    if missing:
        raise Refused(
            Reason.REASON_COLLABORATION_NOT_CITED,
            f"{', '.join(missing)} has concluded, or was answered: read its answers, and cite it with its round",
            {"collaborations": ",".join(missing)},
        )


def _check_overrides(case: case_pb2.Case, command: DecideApplicationRequest) -> None:
    disagreeing = {task.task_id for task in latest_answers(case) if task.answer.opinion == Answer.OPINION_DISAGREE}
    wrong = [
        FieldViolation(f"overrides[{index}].task_id", "is no task whose latest answer disagrees")
        for index, override in enumerate(command.overrides)
        if override.task_id.lower() not in disagreeing
    ]
    if wrong:
        raise invalid_fields(wrong)


def _check_required(case: case_pb2.Case, catalog: Catalog) -> None:
    """A rule that the law requires needs an express agreement, from each organ that it asks."""
    missing = [rule.id for rule in _required(case, catalog) if not _has_agreed(case, rule)]
    if missing:
        raise Refused(
            Reason.REASON_REQUIRED_COLLABORATION_MISSING,
            f"the law requires the agreement of {', '.join(missing)}, which is not there, or not to what the form says "
            "now: ask for it, or deny",
            {"rules": ",".join(missing)},
        )


def _required(case: case_pb2.Case, catalog: Catalog) -> list[Collaborator]:
    """The rules by which the law wants an answer on the form as it stands, but for those left out and never asked."""
    if not any(map(is_required, case.application.item.collaborators)):
        return []
    judgement = case.judgement
    # A reason to leave a rule out that did not fire then says nothing about the form as it was corrected since.
    left_out = {one.rule for one in judgement.left_out} & {*judgement.proposed_by_rules}
    # Until the center has taken a question back, it may turn out that it had been answered.
    standing = (one for one in case.collaborations if one.state != Collaboration.STATE_RECALLED)
    asked = {rule for one in standing for rule in one.required_rules}
    firing = catalog.firing_rules(as_it_stands(case))
    return [rule for rule in firing if is_required(rule) and (rule.id in asked or rule.id not in left_out)]


def _has_agreed(case: case_pb2.Case, rule: Collaborator) -> bool:
    """To what the form says now: an agreement to what was corrected since is none."""
    tasks = [task for task in _latest_round(case, rule.id).tasks if task.rule == rule.id]
    form, _ = disclosed(as_it_stands(case), rule.discloses)
    now = question_digest(Brief(rule=rule.id, form=form))
    return bool(tasks) and all(
        _counts(task) and task.answer.opinion in AGREEMENT and task.question_digest == now for task in tasks
    )


def _latest_round(case: case_pb2.Case, rule: str) -> Standing:
    asked_in = [one for one in case.collaborations if rule in one.rules]
    return asked_in[-1] if asked_in else Standing()


def _check_explained(case: case_pb2.Case, command: DecideApplicationRequest) -> None:
    explained = {override.task_id.lower() for override in command.overrides}
    missing = [
        task.task_id
        for task in latest_answers(case)
        if task.answer.opinion == Answer.OPINION_DISAGREE and task.task_id not in explained
    ]
    if missing:
        raise Refused(
            Reason.REASON_DISAGREEMENT_NOT_EXPLAINED,
            f"the tasks {', '.join(missing)} disagree: explain under overrides why the decision does not follow",
            {"tasks": ",".join(missing)},
        )


def latest_answers(case: case_pb2.Case) -> list[TaskStanding]:
    """The answers that count: those in time, and of whom was asked the same again those of the last time."""
    answers: dict[Question, list[TaskStanding]] = {}
    for one in case.collaborations:
        answers |= _answers_in(one)
    return [task for tasks in answers.values() for task in tasks]


def _answers_in(collaboration: Standing) -> dict[Question, list[TaskStanding]]:
    """By question: an organ that got another one's task has two in one round, and both count."""
    found: dict[Question, list[TaskStanding]] = defaultdict(list)
    for task in collaboration.tasks:
        if _counts(task):
            question = (task.rule, b"") if task.rule else ("", task.question_digest)
            found[*question, task.organ_id].append(task)
    return found


def _counts(task: TaskStanding) -> bool:
    return task.HasField("answer") and not task.answer_late


def conditions(case: case_pb2.Case) -> list[str]:
    """What those who agreed with conditions demand; a decision that grants carries it."""
    return [
        f"{condition}（{task.organ_name}）" for task in latest_answers(case) for condition in task.answer.conditions
    ]


def opinions(case: case_pb2.Case, command: DecideApplicationRequest) -> list[str]:
    """One line for each answer that counts, as the decision cites it."""
    explained = {override.task_id.lower(): override.explanation for override in command.overrides}
    return [_opinion(task, explained.get(task.task_id, "")) for task in latest_answers(case)]


def _opinion(task: TaskStanding, explanation: str) -> str:
    said = f"逾期未答复，视为同意（{task.answer.text}）" if task.answer.deemed else OPINIONS[task.answer.opinion]
    line = f"{task.organ_name}：{said}"
    if task.kind == COLLABORATION_KIND_CO_APPROVAL and task.answer.HasField("co_approval"):
        line += f"（{task.answer.co_approval.document_number}）"
    return f"{line}；未采纳理由：{explanation}" if explanation else line

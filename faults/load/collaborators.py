"""Those who are asked: they sign, answer or return; officers of the centers route what no rule routes."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from clients.errors import Refused
from clients.identity import Identity
from faults.load.cast import DISTRICT, Cast
from faults.load.questions import BEYOND, NOBODYS_DUTY, UNANSWERED, opinion_on
from ronghe.catalog.v1.catalog_pb2 import COLLABORATION_KIND_CO_APPROVAL
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import Answer, CoApproval
from ronghe.event.v1 import event_pb2 as event
from ronghe.governance.v1.governance_service_pb2 import RouteCollaborationRequest
from ronghe.party.v1.party_pb2 import Officer

RETURNS, SUGGESTED = f"fire-{DISTRICT}", f"emergency-{DISTRICT}"
"""It is never its duty; it suggests the other."""
RETURNED: Mapping[str, Mapping[str, str]] = {
    BEYOND: {RETURNS: SUGGESTED},
    NOBODYS_DUTY: {
        RETURNS: f"planning-{DISTRICT}",
        f"planning-{DISTRICT}": f"housing-{DISTRICT}",
        f"housing-{DISTRICT}": RETURNS,
    },
}
"""Question -> whose duty it is not -> whose, as they believe: after the third return an officer decides."""
LATE, LATE_SECONDS = (f"market-reg-{DISTRICT}",), 3.0
"""Signs late, so that time may sign for it."""
OFFICER = Officer(name="协办经办人")


async def collaborate(cast: Cast, organ: str, fact: event.TaskAssigned) -> None:
    """Sign for the task and answer it, or return it. A recall may come first, then there is nothing to do."""
    if fact.brief.question == UNANSWERED:
        return
    party, client = Identity("organ", organ), cast.organs[organ].collaborations
    perform = cast.caller.perform
    suggested = RETURNED.get(fact.brief.question, {}).get(organ)
    if suggested:
        request = pb.ReturnTaskRequest(task_id=fact.task_id, actor=OFFICER, reason="不属于本单位职责")
        request.suggested_organ_id = suggested
        with suppress(Refused):
            await perform(party, client.return_task, request)
        return
    if organ in LATE:
        await asyncio.sleep(LATE_SECONDS)
    with suppress(Refused):  # signed for already, where time did so
        await perform(party, client.sign_for_task, pb.SignForTaskRequest(task_id=fact.task_id, actor=OFFICER))
    with suppress(Refused):
        answer = pb.AnswerTaskRequest(task_id=fact.task_id, actor=OFFICER, answer=answer_to(fact))
        await perform(party, client.answer_task, answer)


async def answer_at_last(cast: Cast, organ: str, fact: event.TaskOverdue) -> None:
    """The center presses: whoever has not answered yet does."""
    party, client = Identity("organ", organ), cast.organs[organ].collaborations
    found = await cast.caller.repeated(client.get_task, pb.GetTaskRequest(task_id=fact.task_id))
    answer = answer_to(event.TaskAssigned(task_id=fact.task_id, brief=found.task.brief))
    with suppress(Refused):
        request = pb.AnswerTaskRequest(task_id=fact.task_id, actor=OFFICER, answer=answer)
        await cast.caller.perform(party, client.answer_task, request)


def answer_to(fact: event.TaskAssigned) -> Answer:
    """What the question wants, with all that this opinion and this kind of collaboration ask for."""
    answer = Answer(opinion=opinion_on(fact.brief), text="经研究答复如下")
    match answer.opinion:
        case Answer.OPINION_AGREE_WITH_CONDITIONS:
            answer.conditions.append(f"按{fact.task_id}号意见整改")
        case Answer.OPINION_DISAGREE:
            answer.reasons.append("影响公共利益")
        case Answer.OPINION_NEED_MORE_MATERIAL:
            answer.needs.append("现状照片")
            return answer
    if fact.brief.kind == COLLABORATION_KIND_CO_APPROVAL:
        disagrees = answer.opinion == Answer.OPINION_DISAGREE
        answer.co_approval.document_number = fact.task_id[:18]
        answer.co_approval.result = CoApproval.RESULT_DENIED if disagrees else CoApproval.RESULT_GRANTED
        day = answer.co_approval.issued_on
        day.year, day.month, day.day = 2026, 11, 20
    return answer


async def route(cast: Cast, center: str, fact: event.TaskHeld) -> None:
    """An officer gives a task that waits to the one whose duty it is."""
    request = RouteCollaborationRequest(
        collaboration_id=fact.collaboration_id, task_id=fact.task_id, actor=OFFICER, organ_id=SUGGESTED, reason="指定"
    )
    with suppress(Refused):
        await cast.caller.perform(Identity("center", center), cast.centers[center].route_collaboration, request)

"""How a case can go: one short script for each course, as its lead and its applicant live it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from faults.load.applications import Desk
from faults.load.case import Case
from faults.load.cast import DESKS, ROADS
from faults.load.collaborators import RETURNS
from faults.load.questions import NOBODYS_DUTY, UNANSWERED
from ronghe.collaboration.v1.collaboration_pb2 import COMPLETION_ALL_MUST_ANSWER, COMPLETION_LEAD_DECIDES, Answer

Course = Callable[[Case], Awaitable[None]]


async def granted(case: Case) -> None:
    """Accepted, examined, granted."""
    await case.accept()
    await case.step()
    await case.grant()


async def denied(case: Case) -> None:
    """Accepted, examined, denied."""
    await case.accept()
    await case.step()
    await case.deny()


async def refused(case: Case) -> None:
    """Not accepted at all."""
    await case.refuse()


async def corrected(case: Case) -> None:
    """Something is missing before the acceptance."""
    await case.correct()
    await case.accept()
    await case.grant()


async def paused(case: Case) -> None:
    """Something is missing after the acceptance."""
    await case.accept()
    await case.correct()
    await case.grant()


async def withdrawn(case: Case) -> None:
    """The applicant changes his mind."""
    await case.accept()
    await case.withdraw()
    await case.lead_is_told("Withdrawn")


async def crossed(case: Case) -> None:
    """A withdrawal and a decision cross on their way: whichever the lead meets first."""
    await case.accept()
    is_requested, _ = await asyncio.gather(case.withdraw_if_open(), case.deny_if_open())
    if is_requested:
        await case.withdrawal_is_answered()
    await case.close_if_decided()


async def asked(case: Case) -> None:
    """Others are asked by the item's rules, all agree, and the decision rests on it."""
    await case.accept_as_proposed()
    await case.consult(case.desk.rules)
    await case.grant()


async def agreed_on_conditions(case: Case) -> None:
    """One agrees on conditions, which the decision carries."""
    await case.accept_as_proposed()
    await case.consult(case.desk.rules, Answer.OPINION_AGREE_WITH_CONDITIONS)
    await case.grant()


async def overridden(case: Case) -> None:
    """One disagrees; the lead grants all the same, and says why."""
    await case.accept_as_proposed()
    await case.consult(case.desk.rules, Answer.OPINION_DISAGREE)
    await case.grant()


async def approval_denied(case: Case) -> None:
    """One whose own approval the law requires denies it, and so does the lead."""
    await case.accept_as_proposed()
    await case.consult(case.desk.rules, Answer.OPINION_DISAGREE)
    await case.deny()


async def asked_again(case: Case) -> None:
    """One disagrees in the first round, and agrees in the second: that is what counts."""
    await case.accept_as_proposed()
    await case.consult(case.desk.rules, Answer.OPINION_DISAGREE)
    await case.consult(case.desk.rules)
    await case.grant()


async def supplied(case: Case) -> None:
    """One needs more material: the applicant supplies it, and that one is asked again."""
    await case.accept_as_proposed()
    await case.consult(case.desk.rules, Answer.OPINION_NEED_MORE_MATERIAL)
    await case.pass_on_needs()
    await case.consult(case.desk.rules[:1])
    await case.grant()


async def unanswered(case: Case) -> None:
    """Nobody says anything: silence is agreement where a document says so, the others answer when they are pressed."""
    await case.accept_as_proposed()
    await case.ask(case.desk.rules, COMPLETION_ALL_MUST_ANSWER, UNANSWERED)
    await case.lead_is_fed_back("CollaborationConcluded")
    await case.grant()


async def asked_beyond(case: Case) -> None:
    """The lead asks whom no rule names; that one returns the task, another answers."""
    await case.accept()
    await case.ask_organ(RETURNS)
    await case.lead_is_fed_back("CollaborationConcluded")
    await case.deny()


async def bounced(case: Case) -> None:
    """Everybody returns the task: after the third time an officer of the center routes it."""
    await case.accept()
    await case.ask_organ(RETURNS, NOBODYS_DUTY)
    await case.lead_is_fed_back("CollaborationConcluded")
    await case.deny()


async def held(case: Case) -> None:
    """No rule finds the organ: an officer of the center routes the task."""
    await case.accept()
    await case.ask_where_there_is_none()
    await case.lead_is_fed_back("CollaborationConcluded")
    await case.deny()


async def recalled(case: Case) -> None:
    """The lead takes the question back while the answers are on their way."""
    await case.accept_as_proposed()
    await case.ask(case.desk.rules, COMPLETION_LEAD_DECIDES)
    await case.recall()
    await case.lead_is_fed_back("CollaborationRecalled", "RecallDeclined")
    await case.deny()


async def decided_meanwhile(case: Case) -> None:
    """The lead has enough and decides; what is open then is recalled."""
    await case.accept_as_proposed()
    await case.ask(case.desk.rules, COMPLETION_LEAD_DECIDES)
    await case.lead_is_fed_back("AnswerReceived")
    await case.deny()


async def withdrawn_while_asked(case: Case) -> None:
    """The case ends while others work on their tasks."""
    await case.accept_as_proposed()
    await case.ask(case.desk.rules, COMPLETION_ALL_MUST_ANSWER)
    await case.withdraw()
    await case.lead_is_told("Withdrawn")


SHARES: Mapping[Course, int] = {
    granted: 6,
    denied: 3,
    refused: 2,
    corrected: 2,
    paused: 1,
    withdrawn: 2,
    crossed: 2,
    asked: 3,
    agreed_on_conditions: 1,
    overridden: 1,
    approval_denied: 1,
    asked_again: 1,
    supplied: 1,
    asked_beyond: 1,
    bounced: 1,
    held: 1,
    recalled: 1,
    decided_meanwhile: 1,
    withdrawn_while_asked: 1,
}
"""How many of 32."""

ASKING = tuple(desk for desk in DESKS if desk.rules)
PLAYED_AT: Mapping[Course, Sequence[Desk]] = {
    **dict.fromkeys(
        (asked, agreed_on_conditions, asked_again, supplied, recalled, decided_meanwhile, withdrawn_while_asked),
        (*ASKING, ROADS),
    ),
    overridden: ASKING,
    approval_denied: (ROADS,),
}
"""Desks of the courses that ask by rules; the others are played at all of DESKS."""

"""How a case can go: one short script for each course, as its lead and its applicant live it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from faults.load.case import Case
from faults.load.collaborators import RETURNS
from ronghe.collaboration.v1.collaboration_pb2 import COMPLETION_ALL_MUST_ANSWER, COMPLETION_LEAD_DECIDES

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
        await case.lead_is_told("Withdrawn", "WithdrawalDeclined")
    await case.close_if_decided()


async def asked(case: Case) -> None:
    """Others are asked by the item's rules, all agree, and the decision rests on it."""
    await case.accept_as_proposed()
    await case.ask(case.desk.rules, COMPLETION_ALL_MUST_ANSWER)
    await case.lead_is_told("CollaborationConcluded")
    await case.grant()


async def asked_beyond(case: Case) -> None:
    """The lead asks whom no rule names; that one returns the task, another answers."""
    await case.accept()
    await case.ask_organ(RETURNS)
    await case.lead_is_told("CollaborationConcluded")
    await case.deny()


async def held(case: Case) -> None:
    """No rule finds the organ: an officer of the center routes the task."""
    await case.accept()
    await case.ask_where_there_is_none()
    await case.lead_is_told("CollaborationConcluded")
    await case.deny()


async def recalled(case: Case) -> None:
    """The lead takes the question back while the answers are on their way."""
    await case.accept_as_proposed()
    await case.ask(case.desk.rules, COMPLETION_LEAD_DECIDES)
    await case.recall()
    await case.lead_is_told("CollaborationRecalled", "RecallDeclined")
    await case.deny()


async def decided_meanwhile(case: Case) -> None:
    """The lead has enough and decides; what is open then is recalled."""
    await case.accept_as_proposed()
    await case.ask(case.desk.rules, COMPLETION_LEAD_DECIDES)
    await case.lead_is_told("AnswerReceived")
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
    asked_beyond: 1,
    held: 1,
    recalled: 1,
    decided_meanwhile: 1,
    withdrawn_while_asked: 1,
}
"""How many of 26."""

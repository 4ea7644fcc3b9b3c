"""A case that the lead decides alone."""

import asyncio

from clients.demo.applicant import Applicant
from clients.demo.lead import Lead
from clients.demo.plan import Ending
from clients.demo.story import Cast, NotCrossed, Story
from clients.errors import CaseChanged, Refused
from ronghe.event.v1 import event_pb2 as event


class PlainPlay:
    """Plays one story from its submission on; the parties act on what their inboxes have."""

    def __init__(self, story: Story, cast: Cast) -> None:
        self._story = story
        self._applicant = Applicant(story, cast)
        self._lead = Lead(story, cast.organs[story.desk.organ.id])

    async def run(self) -> None:
        """Raises RongheError."""
        await self._applicant.submit()
        await self._story.lead.hear(event.Submitted)
        match self._story.ending:
            case Ending.GRANTED | Ending.DENIED:
                await self._lead.accept()
                await self._decide()
            case Ending.REFUSED:
                await self._lead.refuse()
            case Ending.CORRECTED:
                await self._correct()
                await self._lead.accept()
                await self._decide()
            case Ending.PAUSED:
                await self._lead.accept()
                await self._correct()
                await self._decide()
            case Ending.WITHDRAWN:
                await self._lead.accept()
                await self._story.intake.hear(event.Accepted)
                await self._applicant.withdraw()
            case Ending.WITHDRAWAL_DECLINED:
                await self._lead.accept()
                await self._withdraw_too_late()

    async def _decide(self) -> None:
        await self._lead.decide(await self._lead.step())
        await self._lead.close()

    async def _correct(self) -> None:
        notice = await self._lead.correct()
        await self._story.intake.hear(event.CorrectionRequested)
        await self._applicant.supplement(notice)
        await self._story.lead.hear(event.SupplementReceived)

    async def _withdraw_too_late(self) -> None:
        """Raises NotCrossed where the decision or the withdrawal was there before the other was done."""
        version = await self._lead.step()
        await self._story.intake.hear(event.StepRecorded)
        # Each is one hop from where it counts and three from where it would hinder the other.
        decided, asked = await asyncio.gather(
            self._lead.decide(version), self._applicant.withdraw(), return_exceptions=True
        )
        if decided is None and asked is None:
            await self._story.lead.hear(event.WithdrawalDeclined)
        if decided is None:
            await self._lead.close()
        for result in (decided, asked):
            if isinstance(result, Refused | CaseChanged):
                raise NotCrossed from result
            if result is not None:
                raise result

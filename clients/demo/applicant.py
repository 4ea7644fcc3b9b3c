"""What the applicant does, at the terminal."""

import time
from dataclasses import dataclass

from clients.demo.story import Cast, Story
from ronghe.case.v1.case_pb2 import LineAnswer
from ronghe.document.v1.document_pb2 import Document
from ronghe.intake.v1 import intake_service_pb2 as pb


@dataclass(frozen=True, slots=True)
class Applicant:
    """Whoever applies."""

    story: Story
    cast: Cast

    async def submit(self) -> None:
        """The case has its id and its number from here on."""
        self.story.submitted_at = time.monotonic()
        voucher = await self.cast.terminal.submit_application(self.story.request)
        self.story.voucher_at = time.monotonic()
        self.story.case_id, self.story.case_no = voucher.case_id, voucher.case_no
        self.cast.known(self.story)

    async def supplement(self, notice: Document) -> None:
        """Answer every line of the notice."""
        request = pb.SupplementApplicationRequest(
            case_id=self.story.case_id,
            notice_number=notice.number,
            actor=self.story.request.actor,
            answers=[LineAnswer(line=line.line, text="已补正") for line in notice.lines],
        )
        await self.cast.terminal.supplement_application(request)

    async def withdraw(self) -> None:
        """Ask the lead to end the case."""
        request = pb.RequestWithdrawalRequest(
            case_id=self.story.case_id, actor=self.story.request.actor, reason="演示：不再需要"
        )
        await self.cast.terminal.request_withdrawal(request)

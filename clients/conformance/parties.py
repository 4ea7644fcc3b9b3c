"""Everybody but the program under test: the applicants, and the organ that asks the organ under test."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

from clients.conformance.desk import Desk, short_name
from clients.conformance.places import Places
from clients.conformance.scenes import Scene
from clients.conformance.waiting import until
from clients.demo.applications import Applicants
from clients.demo.story import OFFICER
from clients.department import DepartmentClient
from clients.errors import NotFound, Refused
from clients.intake import IntakeClient
from ronghe.case.v1 import case_pb2
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.catalog.v1.catalog_pb2 import COLLABORATION_KIND_CONSULTATION
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.collaboration.v1.collaboration_pb2 import COMPLETION_ALL_MUST_ANSWER
from ronghe.department.v1.department_service_pb2 import AcceptApplicationRequest
from ronghe.document.v1.document_service_pb2 import GetDocumentRequest
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.party.v1.party_pb2 import Actor, ApplicantActor

LOOK_EVERY = 0.5
# Seconds that the program gets to sign for a task which it has acknowledged, and then to answer it.
TO_SIGN, TO_ANSWER = 2.0, 15.0
APPLICANT = Actor(applicant=ApplicantActor(method="face", level=3))


class Parties:
    """Plays the scenes' cases."""

    def __init__(self, desk: Desk, places: Places, terminal: IntakeClient, asking: DepartmentClient) -> None:
        self._desk = desk
        self._places = places
        self._terminal = terminal
        self._asking = asking
        self._applicants = Applicants(uuid4().hex[:12].upper())
        self._supplemented: set[str] = set()

    async def play(self, scenes: Sequence[Scene]) -> None:
        """Submit them all, and end the question of the scene ASKED; raises RongheError."""
        await asyncio.gather(*(self._play(scene) for scene in scenes))

    async def _play(self, scene: Scene) -> None:
        match scene:
            case Scene.ASKED:
                await self._ask()
            case Scene.WITHDRAWN:
                await self._withdraw()
            case _:
                await self._submit(scene)

    async def answer_notices(self) -> None:
        """Supplement whatever the program wants corrected, until cancelled."""
        while True:
            for case_id, scene in list(self._desk.seen.cases.items()):
                if scene is not Scene.ASKED:
                    await self._supplement(case_id)
            await asyncio.sleep(LOOK_EVERY)

    async def _submit(self, scene: Scene) -> str:
        request = self._applicants.application(self._places.own)
        self._desk.script.cast(request.external_no, scene)
        case_id = (await self._terminal.submit_application(request)).case_id
        self._desk.script.cast(case_id, scene)
        self._desk.seen.cases[case_id] = scene
        return case_id

    async def _withdraw(self) -> None:
        case_id = await self._submit(Scene.WITHDRAWN)
        await self._request_withdrawal(case_id)
        await until(lambda: self._is_withdrawn(case_id))
        self._desk.withdrawn.set()

    async def _is_withdrawn(self, case_id: str) -> bool:
        return (await self._case(case_id)).outcome == case_pb2.OUTCOME_WITHDRAWN

    async def _request_withdrawal(self, case_id: str) -> None:
        request = intake.RequestWithdrawalRequest(case_id=case_id, reason="不再需要")
        request.actor.CopyFrom(APPLICANT)
        await self._terminal.request_withdrawal(request)

    async def _supplement(self, case_id: str) -> None:
        case = await self._case(case_id)
        if not case.open_notice or case.open_notice in self._supplemented:
            return
        self._supplemented.add(case.open_notice)
        wanted = GetDocumentRequest(case_id=case_id, number=case.open_notice)
        notice = (await self._terminal.documents.get_document(wanted)).document
        answers = [case_pb2.LineAnswer(line=line.line, text="已补正") for line in notice.lines]
        request = intake.SupplementApplicationRequest(case_id=case_id, notice_number=notice.number, answers=answers)
        request.actor.CopyFrom(APPLICANT)
        with suppress(Refused):  # the case has ended otherwise
            await self._terminal.supplement_application(request)

    async def _case(self, case_id: str) -> case_pb2.Case:
        return (await self._terminal.get_application(intake.GetApplicationRequest(case_id=case_id))).case

    # --- the organ that asks ---

    async def _ask(self) -> None:
        """A question of another organ, which ends with its case: the applicant withdraws."""
        if self._places.other is None:
            return
        request = self._applicants.application(self._places.other)
        case_id = (await self._terminal.submit_application(request)).case_id
        self._desk.script.cast(case_id, Scene.ASKED)
        self._desk.seen.cases[case_id] = Scene.ASKED
        await until(lambda: self._is_at_the_lead(case_id))
        await self._ask_about(case_id)
        await self._is_answered(case_id)
        await self._request_withdrawal(case_id)
        await self._empty_the_inbox(case_id)

    async def _ask_about(self, case_id: str) -> None:
        none = AcceptApplicationRequest.NoCollaboration(reason="无需其他部门协同")
        await self._asking.accept_application(AcceptApplicationRequest(case_id=case_id, actor=OFFICER, none=none))
        other = collaboration.RequestCollaborationRequest.Other(
            organ_id=self._places.own.organ.id,
            kind=COLLABORATION_KIND_CONSULTATION,
            question="请提出意见",
            reply_days=3,
        )
        await self._asking.collaborations.request_collaboration(
            collaboration.RequestCollaborationRequest(
                case_id=case_id, actor=OFFICER, others=[other], completion=COMPLETION_ALL_MUST_ANSWER
            )
        )

    async def _is_at_the_lead(self, case_id: str) -> bool:
        try:
            await self._asking.cases.get_case(cases.GetCaseRequest(case_id=case_id))
        except NotFound:
            return False
        return True

    async def _is_answered(self, case_id: str) -> None:
        """Or it is plain that the program does not answer it."""
        await until(lambda: self._ends() or self._is_acknowledged(case_id))
        since = time.monotonic()
        await until(lambda: self._ends() or time.monotonic() - since > self._patience())

    def _is_acknowledged(self, case_id: str) -> bool:
        seen = self._desk.seen
        return bool(seen.givings(case_id, "TaskAssigned")) and not seen.unacknowledged()

    def _patience(self) -> float:
        return TO_ANSWER if self._acts("SignForTask") else TO_SIGN

    def _ends(self) -> bool:
        return self._acts("AnswerTask") or self._acts("ReturnTask")

    def _acts(self, method: str) -> bool:
        return any(call.method == method and call.took_effect for call in self._desk.seen.calls)

    async def _empty_the_inbox(self, case_id: str) -> None:
        """Of what the lead was told of this case, up to its end."""
        await until(lambda: self._took_the_end(case_id))

    async def _took_the_end(self, case_id: str) -> bool:
        items = (await self._asking.fetch_inbox(inbox.FetchInboxRequest(limit=1000))).items
        own = [item for item in items if item.event.case_id == case_id]
        await self._asking.ack_inbox(inbox.AckInboxRequest(sequences=[item.sequence for item in own]))
        return any(short_name(item.event) == "Withdrawn" for item in own)

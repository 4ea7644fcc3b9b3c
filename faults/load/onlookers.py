"""Onlookers: organs, centers and terminals look at cases, theirs and others'; what they are shown is written down."""

import base64
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from google.protobuf.message import Message

from clients.department import DepartmentClient
from clients.errors import NotFound
from clients.identity import Identity
from clients.intake import IntakeClient
from clients.subsystem import SubsystemClient
from faults.load.case import Case
from faults.load.cast import NEIGHBOR, TERMINAL, Cast
from faults.load.durable import DurableLog
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.document.v1.document_service_pb2 import GetDocumentRequest
from ronghe.intake.v1 import intake_service_pb2 as intake

PAGE = 10

Read = tuple[Callable[[Any], Awaitable[Any]], Any]
"""A call and its request."""
Reads = Callable[[Any, Case], Sequence[Read]]
"""What can be asked of a client about a case."""


@dataclass(frozen=True)
class Onlookers:
    """Whoever is curious."""

    cast: Cast
    log: DurableLog
    chance: Random
    """Of their own: how often they choose, and from what, goes by what has happened."""

    async def look(self, case: Case) -> None:
        """One party, whoever it is, asks for something of one case, whosever it is."""
        party, client, reads = self.chance.choice(_parties(self.cast))
        call, request = self.chance.choice(reads(client, case))
        with suppress(NotFound):  # as it should be of what is none of the party's business
            await self.note(party, request, await self.cast.caller.repeated(call, request))

    async def note(self, party: Identity, request: Message, answer: Message) -> None:
        """Write down what a party was shown, for the checker to judge."""
        await self.log.write(
            {
                "kind": "shown",
                "party": str(party),
                "case_id": getattr(request, "case_id", "").lower(),
                "answer_type": answer.DESCRIPTOR.full_name,
                "answer": base64.b64encode(answer.SerializeToString()).decode(),
            }
        )


def _parties(cast: Cast) -> Sequence[tuple[Identity, Any, Reads]]:
    organs = [(Identity("organ", name), client, _of_organ) for name, client in cast.organs.items()]
    centers = [(Identity("center", name), client, _of_collaborations) for name, client in cast.centers.items()]
    terminals = [(TERMINAL, cast.terminal, _of_terminal), (NEIGHBOR, cast.neighbor, _of_terminal)]
    return [*organs, *centers, *terminals]


def _of_terminal(client: IntakeClient, case: Case) -> Sequence[Read]:
    return [
        *_of_case(client, case),
        (client.get_application, intake.GetApplicationRequest(case_id=case.case_id)),
        (client.list_applications, intake.ListApplicationsRequest(page_size=PAGE)),
    ]


def _of_organ(client: DepartmentClient, case: Case) -> Sequence[Read]:
    tasks: list[Read] = [
        (client.collaborations.get_task, collaboration.GetTaskRequest(task_id=task_id))
        for task_id in case.cast.told[case.case_id].answers
    ]
    tasks.append((client.collaborations.list_tasks, collaboration.ListTasksRequest(page_size=PAGE)))
    return [*_of_case(client, case), *tasks, *_of_collaborations(client, case)]


def _of_case(client: SubsystemClient, case: Case) -> Sequence[Read]:
    return [
        (client.cases.get_case, cases.GetCaseRequest(case_id=case.case_id)),
        (client.cases.get_case_timeline, cases.GetCaseTimelineRequest(case_id=case.case_id)),
        (client.cases.locate_case, cases.LocateCaseRequest(case_id=case.case_id)),
        (client.documents.get_document, GetDocumentRequest(case_id=case.case_id, number=case.voucher_number)),
        (client.cases.list_cases, cases.ListCasesRequest(page_size=PAGE)),
    ]


def _of_collaborations(client: SubsystemClient, case: Case) -> Sequence[Read]:
    reads: list[Read] = [
        (client.collaborations.list_collaborations, collaboration.ListCollaborationsRequest(case_id=case.case_id)),
    ]
    if case.collaboration_id:
        request = collaboration.GetCollaborationRequest(collaboration_id=case.collaboration_id)
        reads.append((client.collaborations.get_collaboration, request))
    return reads

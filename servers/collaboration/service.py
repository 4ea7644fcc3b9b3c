"""CollaborationService: what both subsystems that serve it show of collaborations."""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import ColumnElement

from clients.redaction import redact
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration
from ronghe.error.v1.reason_pb2 import Reason
from servers.audit.accesses import Accesses
from servers.collaboration.views import COLLABORATIONS, CollaborationView
from servers.kernel.kernel import Kernel
from servers.kernel.stream import Refused
from servers.rpc.call import Call
from servers.rpc.paging import Pages, page_of

SEES_PERSONAL_DATA = frozenset({"organ", "auditor"})
# What a list leaves out of each task.
DETAILS: Sequence[Literal["brief", "answer", "hops", "assignments"]] = ("brief", "answer", "hops", "assignments")


class CollaborationServicer:
    """Shows collaborations. Who decides commands inherits from it; elsewhere they are not offered."""

    service = pb.DESCRIPTOR.services_by_name["CollaborationService"]

    def __init__(self, kernel: Kernel, pages: Pages) -> None:
        self._kernel = kernel
        self._pages = pages
        self._view = CollaborationView()
        self._accesses = Accesses(kernel)

    async def GetCollaboration(  # noqa: N802 - the contract's names, here and below
        self, request: pb.GetCollaborationRequest, call: Call
    ) -> pb.GetCollaborationResponse:
        """One collaboration."""
        found = await self._kernel.read(
            lambda connection: self._view.find(
                connection, call.caller, call.scope,
                collaboration_id=request.collaboration_id, event_no=request.event_no,
            )
        )  # fmt: skip
        if call.caller.kind not in SEES_PERSONAL_DATA:
            redact(found)
        shown = pb.GetCollaborationResponse(collaboration=found)
        return await self._accesses.recorded(shown, found.case_id, call)

    async def ListCollaborations(  # noqa: N802
        self, request: pb.ListCollaborationsRequest, call: Call
    ) -> pb.ListCollaborationsResponse:
        """Collaborations, newest first."""
        bounds = [*_filters(request), *self._view.own(call.caller, call.scope)]

        async def rows_after(key: str, limit: int) -> Sequence[Collaboration]:
            micros, _, name = key.partition("/")
            after = (int(micros), name) if key else None
            return await self._kernel.read(lambda connection: self._view.page(connection, bounds, after, limit))

        page = await page_of(self._pages, request, rows_after, _key, _line)
        return pb.ListCollaborationsResponse(collaborations=page.rows, next_page_token=page.next_token)

    async def RequestCollaboration(  # noqa: N802
        self, request: pb.RequestCollaborationRequest, call: Call
    ) -> pb.RequestCollaborationResponse:
        """Ask others."""
        raise _not_offered(call)

    async def RecallCollaboration(  # noqa: N802
        self, request: pb.RecallCollaborationRequest, call: Call
    ) -> pb.RecallCollaborationResponse:
        """Take a collaboration back."""
        raise _not_offered(call)

    async def GetTask(self, request: pb.GetTaskRequest, call: Call) -> pb.GetTaskResponse:  # noqa: N802
        """One task."""
        raise _not_offered(call)

    async def ListTasks(self, request: pb.ListTasksRequest, call: Call) -> pb.ListTasksResponse:  # noqa: N802
        """The organ's tasks."""
        raise _not_offered(call)

    async def SignForTask(self, request: pb.SignForTaskRequest, call: Call) -> pb.SignForTaskResponse:  # noqa: N802
        """Sign for a task."""
        raise _not_offered(call)

    async def AnswerTask(self, request: pb.AnswerTaskRequest, call: Call) -> pb.AnswerTaskResponse:  # noqa: N802
        """Answer."""
        raise _not_offered(call)

    async def ReturnTask(self, request: pb.ReturnTaskRequest, call: Call) -> pb.ReturnTaskResponse:  # noqa: N802
        """Return a task."""
        raise _not_offered(call)


def _not_offered(call: Call) -> Refused:
    return Refused(
        Reason.REASON_METHOD_NOT_OFFERED, f"{call.method} is offered by the department server, not by this one"
    )


def _filters(request: pb.ListCollaborationsRequest) -> list[ColumnElement[bool]]:
    columns = COLLABORATIONS.c
    equal = {"state": int(request.state), "case_id": request.case_id.lower(), "lead_id": request.lead_id}
    filters = [columns[name] == value for name, value in equal.items() if value]
    if request.waiting_at:
        filters += [columns.waiting_at != "", columns.waiting_at.contains(f",{request.waiting_at},")]
    return filters


def _key(collaboration: Collaboration) -> str:
    return f"{collaboration.requested_at.ToMicroseconds()}/{collaboration.collaboration_id}"


def _line(collaboration: Collaboration) -> Collaboration:
    """A collaboration as a list shows it."""
    collaboration.ClearField("receipt")
    collaboration.ClearField("asks")
    for task in collaboration.tasks:
        for name in DETAILS:
            task.ClearField(name)
    return collaboration

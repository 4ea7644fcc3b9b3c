"""CollaborationService for organs: those that ask, and those that are asked."""

from collections.abc import Sequence

from clients.redaction import redacted
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import Task
from servers.collaboration.service import CollaborationServicer
from servers.department.tasks import not_found
from servers.department.views import TASKS, find_task, page_of_tasks
from servers.rpc.call import Call
from servers.rpc.paging import page_of


class OrganCollaborationServicer(CollaborationServicer):
    """Each command is one sentence: the kernel decides it."""

    async def RequestCollaboration(  # noqa: N802 - the contract's names, here and below
        self, request: pb.RequestCollaborationRequest, call: Call
    ) -> pb.RequestCollaborationResponse:
        """Ask others."""
        return await self._kernel.execute(request, call, pb.RequestCollaborationResponse)

    async def RecallCollaboration(  # noqa: N802
        self, request: pb.RecallCollaborationRequest, call: Call
    ) -> pb.RecallCollaborationResponse:
        """Take a collaboration back."""
        return await self._kernel.execute(request, call, pb.RecallCollaborationResponse)

    async def SignForTask(self, request: pb.SignForTaskRequest, call: Call) -> pb.SignForTaskResponse:  # noqa: N802
        """Sign for a task."""
        return await self._kernel.execute(request, call, pb.SignForTaskResponse)

    async def AnswerTask(self, request: pb.AnswerTaskRequest, call: Call) -> pb.AnswerTaskResponse:  # noqa: N802
        """Answer."""
        return await self._kernel.execute(request, call, pb.AnswerTaskResponse)

    async def ReturnTask(self, request: pb.ReturnTaskRequest, call: Call) -> pb.ReturnTaskResponse:  # noqa: N802
        """Return a task."""
        return await self._kernel.execute(request, call, pb.ReturnTaskResponse)

    async def GetTask(self, request: pb.GetTaskRequest, call: Call) -> pb.GetTaskResponse:  # noqa: N802
        """One task of the caller's."""
        found = await self._kernel.read(lambda connection: find_task(connection, call.caller, request.task_id))
        if found is None:
            raise not_found()
        task, case_id = found
        return await self._accesses.recorded(pb.GetTaskResponse(task=task), case_id, call)

    async def ListTasks(self, request: pb.ListTasksRequest, call: Call) -> pb.ListTasksResponse:  # noqa: N802
        """The caller's tasks, newest first."""
        columns = TASKS.c
        filters = [columns.organ_id == call.caller.id]
        if request.state:
            filters.append(columns.state == int(request.state))

        async def rows_after(key: str, limit: int) -> Sequence[Task]:
            micros, _, name = key.partition("/")
            after = (int(micros), name) if key else None
            return await self._kernel.read(lambda connection: page_of_tasks(connection, filters, after, limit))

        page = await page_of(self._pages, request, rows_after, _key, redacted)
        return pb.ListTasksResponse(tasks=page.rows, next_page_token=page.next_token)


def _key(task: Task) -> str:
    return f"{task.assigned_at.ToMicroseconds()}/{task.organ.id}/{task.task_id}"

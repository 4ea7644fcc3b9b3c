"""GovernanceService: what centers do by hand, and watch."""

from collections.abc import Sequence

from ronghe.collaboration.v1.collaboration_pb2 import Collaboration
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.governance.v1 import governance_service_pb2 as pb
from servers.catalog.catalog import Catalog
from servers.collaboration.views import CollaborationView
from servers.governance.routing import Router
from servers.governance.summary import summary
from servers.kernel.kernel import Kernel
from servers.kernel.stream import Refused
from servers.rpc.call import Call
from servers.rpc.paging import Pages, page_of


class GovernanceServicer:
    """Routes by hand, lists hops, counts."""

    service = pb.DESCRIPTOR.services_by_name["GovernanceService"]

    def __init__(self, kernel: Kernel, catalog: Catalog, pages: Pages) -> None:
        self._kernel = kernel
        self._catalog = catalog
        self._pages = pages
        self._view = CollaborationView()

    async def RouteCollaboration(  # noqa: N802 - the contract's names, here and below
        self, request: pb.RouteCollaborationRequest, call: Call
    ) -> pb.RouteCollaborationResponse:
        """Route a task by hand."""
        return await self._kernel.execute(request, call, pb.RouteCollaborationResponse)

    async def ListHops(self, request: pb.ListHopsRequest, call: Call) -> pb.ListHopsResponse:  # noqa: N802
        """The hops of a collaboration's tasks, in the order in which they were made."""
        found = await self._kernel.read(
            lambda connection: self._view.find(
                connection, call.caller, call.scope, collaboration_id=request.collaboration_id
            )
        )
        keyed = _keyed(found)

        async def rows_after(key: str, limit: int) -> Sequence[tuple[str, pb.TaskHop]]:
            return [row for row in keyed if row[0] > key][:limit]

        page = await page_of(self._pages, request, rows_after, lambda row: row[0], lambda row: row[1])
        return pb.ListHopsResponse(hops=page.rows, next_page_token=page.next_token)

    async def GetSummary(self, request: pb.GetSummaryRequest, call: Call) -> pb.GetSummaryResponse:  # noqa: N802
        """Counts, for a center its own."""
        center = self._catalog.center(self._summed(request, call))
        return await self._kernel.read(lambda connection: summary(connection, center.id))

    def _summed(self, request: pb.GetSummaryRequest, call: Call) -> str:
        """A center's own, or one below it; of others it learns nothing. Everybody else's is the city's."""
        if call.caller.kind != "center":
            return request.center_id or next(one.id for one in self._catalog.centers.values() if not one.parent)
        asked = request.center_id or call.caller.id
        if not Router(self._catalog).is_above(call.caller.id, self._catalog.center(asked).id):
            raise Refused(Reason.REASON_CENTER_NOT_FOUND, f"there is no center {asked} below {call.caller.id}")
        return asked


def _keyed(collaboration: Collaboration) -> list[tuple[str, pb.TaskHop]]:
    """Hops by the time at which they were made, those of one moment by task and number."""
    hops = [
        (
            f"{hop.at.ToMicroseconds():020}/{index:03}/{hop.number:04}",
            pb.TaskHop(task_id=task.task_id, hop=hop),
        )
        for index, task in enumerate(collaboration.tasks)
        for hop in task.hops
    ]
    return sorted(hops, key=lambda row: row[0])

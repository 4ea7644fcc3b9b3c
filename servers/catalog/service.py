"""CatalogService, the same on every subsystem."""

from collections.abc import Sequence
from operator import itemgetter
from typing import TypeVar

from google.protobuf.message import Message
from google.type.date_pb2 import Date

from ronghe.catalog.v1 import catalog_service_pb2 as pb
from ronghe.catalog.v1.catalog_pb2 import Center, Division, Organ, ServiceItem
from servers.catalog.catalog import Catalog
from servers.catalog.preview import preview
from servers.kernel.times import Clock
from servers.law.days import legal_day
from servers.rpc.call import Call
from servers.rpc.paging import Page, Pages, page_of

T = TypeVar("T", ServiceItem, Division, Organ, Center)


class CatalogServicer:
    """Answers from the catalog that was loaded at the start."""

    service = pb.DESCRIPTOR.services_by_name["CatalogService"]

    def __init__(self, catalog: Catalog, pages: Pages, clock: Clock) -> None:
        self._catalog = catalog
        self._pages = pages
        self._clock = clock

    async def ListServiceItems(self, request: pb.ListServiceItemsRequest, call: Call) -> pb.ListServiceItemsResponse:  # noqa: N802 - the contract's names
        """Items in force."""
        items = self._catalog.items_in_force(request.on if request.HasField("on") else self._today())
        page = await self._page(request, [(item.code, item) for item in items])
        return pb.ListServiceItemsResponse(items=page.rows, next_page_token=page.next_token)

    async def GetServiceItem(self, request: pb.GetServiceItemRequest, call: Call) -> pb.GetServiceItemResponse:  # noqa: N802
        """One item."""
        if request.version:
            return pb.GetServiceItemResponse(item=self._catalog.item_version(request.code, request.version))
        return pb.GetServiceItemResponse(item=self._catalog.item(request.code, self._today()))

    async def ListDivisions(self, request: pb.ListDivisionsRequest, call: Call) -> pb.ListDivisionsResponse:  # noqa: N802
        """Divisions."""
        if request.parent:
            self._catalog.division(request.parent)
        found = [
            (division.code, division)
            for division in self._catalog.divisions.values()
            if not request.parent or division.parent == request.parent
        ]
        page = await self._page(request, sorted(found, key=itemgetter(0)))
        return pb.ListDivisionsResponse(divisions=page.rows, next_page_token=page.next_token)

    async def ListOrgans(self, request: pb.ListOrgansRequest, call: Call) -> pb.ListOrgansResponse:  # noqa: N802
        """Organs."""
        found = [
            (organ.id, organ)
            for organ in self._catalog.organs.values()
            if request.department in ("", organ.department) and request.division in ("", organ.division)
        ]
        page = await self._page(request, sorted(found, key=itemgetter(0)))
        return pb.ListOrgansResponse(organs=page.rows, next_page_token=page.next_token)

    async def ListCenters(self, request: pb.ListCentersRequest, call: Call) -> pb.ListCentersResponse:  # noqa: N802
        """Governance centers."""
        if request.parent:
            self._catalog.center(request.parent)
        found = [
            (center.id, center)
            for center in self._catalog.centers.values()
            if not request.parent or center.parent == request.parent
        ]
        page = await self._page(request, sorted(found, key=itemgetter(0)))
        return pb.ListCentersResponse(centers=page.rows, next_page_token=page.next_token)

    async def PreviewCollaborators(  # noqa: N802
        self, request: pb.PreviewCollaboratorsRequest, call: Call
    ) -> pb.PreviewCollaboratorsResponse:
        """Who would be asked."""
        return preview(self._catalog, request, self._today())

    async def _page(self, request: Message, keyed: Sequence[tuple[str, T]]) -> Page[T]:
        async def rows_after(key: str, limit: int) -> Sequence[tuple[str, T]]:
            return [row for row in keyed if row[0] > key][:limit]

        return await page_of(self._pages, request, rows_after, itemgetter(0), itemgetter(1))

    def _today(self) -> Date:
        return legal_day(self._clock.now())

"""Service items, divisions, organs and centers, and who would be asked about an application."""

import grpc

from clients.base import TIMEOUT, ServiceClient
from ronghe.catalog.v1 import catalog_service_pb2 as pb
from ronghe.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub


class CatalogClient(ServiceClient):
    """CatalogService."""

    def __init__(self, channel: grpc.aio.Channel, timeout: float = TIMEOUT) -> None:
        super().__init__(channel, timeout)
        self._stub = CatalogServiceStub(channel)

    async def list_service_items(self, request: pb.ListServiceItemsRequest) -> pb.ListServiceItemsResponse:
        """A page of the items in force on a day."""
        return await self._call(self._stub.ListServiceItems, request)

    async def get_service_item(self, request: pb.GetServiceItemRequest) -> pb.GetServiceItemResponse:
        """One item version."""
        return await self._call(self._stub.GetServiceItem, request)

    async def list_divisions(self, request: pb.ListDivisionsRequest) -> pb.ListDivisionsResponse:
        """A page of divisions."""
        return await self._call(self._stub.ListDivisions, request)

    async def list_organs(self, request: pb.ListOrgansRequest) -> pb.ListOrgansResponse:
        """A page of organs."""
        return await self._call(self._stub.ListOrgans, request)

    async def list_centers(self, request: pb.ListCentersRequest) -> pb.ListCentersResponse:
        """A page of governance centers."""
        return await self._call(self._stub.ListCenters, request)

    async def preview_collaborators(self, request: pb.PreviewCollaboratorsRequest) -> pb.PreviewCollaboratorsResponse:
        """Who would be asked about an application before its decision, and by which rule."""
        return await self._call(self._stub.PreviewCollaborators, request)

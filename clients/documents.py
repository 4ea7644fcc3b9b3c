"""The papers of a case."""

import grpc

from clients.base import TIMEOUT, ServiceClient
from ronghe.document.v1 import document_service_pb2 as pb
from ronghe.document.v1.document_service_pb2_grpc import DocumentServiceStub


class DocumentClient(ServiceClient):
    """DocumentService."""

    def __init__(self, channel: grpc.aio.Channel, timeout: float = TIMEOUT) -> None:
        super().__init__(channel, timeout)
        self._stub = DocumentServiceStub(channel)

    async def get_document(self, request: pb.GetDocumentRequest) -> pb.GetDocumentResponse:
        """A document and its text."""
        return await self._call(self._stub.GetDocument, request)

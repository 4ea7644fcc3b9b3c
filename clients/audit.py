"""Who read whose personal data, as an auditor asks."""

from clients.base import ServiceClient
from ronghe.audit.v1 import audit_service_pb2 as pb
from ronghe.audit.v1.audit_service_pb2_grpc import AuditServiceStub


class AuditClient(ServiceClient):
    """AuditService."""

    async def list_accesses(self, request: pb.ListAccessesRequest) -> pb.ListAccessesResponse:
        """Reads of personal data, newest first."""
        return await self._call(AuditServiceStub(self._channel).ListAccesses, request)

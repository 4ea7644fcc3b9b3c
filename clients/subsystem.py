"""A client of one subsystem: what all or several of them serve; those of one subsystem add what is theirs."""

from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import WeakSet

from clients.audit import AuditClient
from clients.base import TIMEOUT, ServiceClient
from clients.cases import CaseClient
from clients.catalog import CatalogClient
from clients.collaboration import CollaborationClient
from clients.credentials import Credentials
from clients.documents import DocumentClient
from clients.identity import Identity
from clients.inbox import CREDIT, Inbox, InboxClient
from clients.operations import OperationsClient
from clients.renewal import RenewingChannel
from ronghe.inbox.v1 import inbox_service_pb2

# Seconds that open calls get when the client is left.
CLOSING = 3.0


class SubsystemClient(ServiceClient):
    """Use it with `async with`. Raises CredentialsError when the identity's certificate will not do.

    `target` is "host:port", or the IPv4 addresses and ports of all replicas with commas between; `pki` the folder with
    `ca.pem` and the identity's certificate; `timeout` is in seconds, for each attempt of a call.
    """

    def __init__(self, target: str, pki: Path, identity: Identity, *, timeout: float = TIMEOUT) -> None:
        channel = RenewingChannel(target, Credentials.load(pki, identity))
        super().__init__(channel, timeout)
        self._inbox = InboxClient(channel, timeout)
        self._inboxes: WeakSet[Inbox] = WeakSet()
        self.audit = AuditClient(channel, timeout)
        self.cases = CaseClient(channel, timeout)
        self.catalog = CatalogClient(channel, timeout)
        self.collaborations = CollaborationClient(channel, timeout)
        self.documents = DocumentClient(channel, timeout)
        self.operations = OperationsClient(channel, timeout)

    def inbox(self, credit: int = CREDIT, from_sequence: int = 0, receiver_epoch: int = 0) -> Inbox:
        """The caller's inbox here: `async for item in client.inbox(): ...; await item.ack()`.

        `receiver_epoch`: of the caller's own record; to be raised when that was restored from a backup: everything
        that it acknowledged before comes again then. (`Item.epoch` is the server's.)
        """
        inbox = self._inbox.open(credit, from_sequence, receiver_epoch)
        self._inboxes.add(inbox)
        return inbox

    async def fetch_inbox(self, request: inbox_service_pb2.FetchInboxRequest) -> inbox_service_pb2.FetchInboxResponse:
        """What waits in the caller's inbox, for callers that cannot hold a stream."""
        return await self._inbox.fetch(request)

    async def ack_inbox(self, request: inbox_service_pb2.AckInboxRequest) -> inbox_service_pb2.AckInboxResponse:
        """Acknowledge what was fetched."""
        return await self._inbox.ack(request)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for inbox in self._inboxes:
            inbox.finish()
        await self._channel.close(CLOSING)

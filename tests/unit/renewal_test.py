"""Certificates are renewed while servers and clients run."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from cryptography import x509

from clients import renewal
from clients.errors import RongheError
from clients.subsystem import SubsystemClient
from ronghe.inbox.v1 import inbox_service_pb2
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest
from servers.rpc.call import Call
from tests.unit.rpc_support import ORGAN, SERVER, TERMINAL, ToyCatalog, ToyInbox, ToyIntake, application
from tests.unit.rpc_wrapper_test import Mesh, authority, get_item, mesh, spans  # noqa: F401 - fixtures

SHORT = timedelta(seconds=2)


def served_certificate(mesh: Mesh) -> x509.Certificate:  # noqa: F811 - no fixture here
    """The certificate that the server shows in a handshake now."""
    folder = mesh.authority.pki
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    own = folder / ORGAN.kind / f"{ORGAN.id}.pem"
    context.load_cert_chain(own, own.with_suffix(".key"))
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", mesh.port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        found = connection.getpeercert(binary_form=True)
    assert found is not None
    return x509.load_der_x509_certificate(found)


async def test_a_server_shows_its_new_certificate_without_a_restart(mesh: Mesh) -> None:  # noqa: F811 - the fixture
    async with mesh.serve(ToyCatalog()):
        first = await asyncio.to_thread(served_certificate, mesh)
        mesh.authority.issue(SERVER)
        second = await asyncio.to_thread(served_certificate, mesh)
    assert first.serial_number != second.serial_number


async def test_a_client_goes_on_with_its_new_certificate_after_the_old_one_has_expired(
    mesh: Mesh,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renewal, "LOOK_SECONDS", 0.0)
    mesh.authority.issue(ORGAN, lifetime=SHORT)
    expires = datetime.now(UTC) + SHORT
    async with mesh.serve(ToyCatalog()), mesh.client() as kept, mesh.client(timeout=3.0) as stale:
        assert (await get_item(kept, "IT-001")).item.code
        # One client looks at the file again, the other one never does.
        monkeypatch.setattr(stale._channel, "_look_at", float("inf"))
        mesh.authority.issue(ORGAN)
        await asyncio.sleep((expires - datetime.now(UTC)).total_seconds() + 1.1)
        assert (await get_item(kept, "IT-001")).item.code
        with pytest.raises(RongheError):
            await get_item(stale, "IT-001")


async def renewed(client: SubsystemClient) -> None:
    """Return when the client has its new certificate, and has closed the connection of before."""
    channel = client._channel
    assert isinstance(channel, renewal.RenewingChannel)
    before = channel._channel
    assert (await get_item(client, "IT-001")).item.code
    assert channel._channel is not before
    await asyncio.gather(*channel._closing)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates are looked at with every call, and what is open by an old one is ended soon."""
    monkeypatch.setattr(renewal, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(renewal, "GRACE_SECONDS", 0.1)


@pytest.mark.usefixtures("at_once")
async def test_an_open_inbox_goes_on_when_the_certificate_is_renewed(mesh: Mesh) -> None:  # noqa: F811 - the fixture
    toy, given = ToyInbox(items=3), []
    async with mesh.serve(toy, ToyCatalog()), mesh.client() as organ:
        async for item in organ.inbox(credit=1):
            given.append(item.sequence)
            if item.sequence == 1:
                mesh.authority.issue(ORGAN)
                await renewed(organ)
            await item.ack()
            if item.sequence == 3:
                break
    assert given == [1, 2, 3]
    assert len(toy.openings) == 2


@pytest.mark.usefixtures("at_once")
async def test_a_bulk_run_goes_on_when_the_certificate_is_renewed(mesh: Mesh) -> None:  # noqa: F811 - the fixture
    answered = asyncio.Event()
    async with mesh.serve(ToyIntake(), ToyCatalog()), mesh.intake() as terminal:

        async def source() -> AsyncIterator[SubmitApplicationRequest]:
            yield application()
            await answered.wait()
            mesh.authority.issue(TERMINAL)
            await renewed(terminal)
            yield application()

        count = 0
        async for answer in terminal.submit_many(source()):
            assert answer.result().case_id
            count += 1
            answered.set()
    assert count == 2


@pytest.mark.usefixtures("at_once")
async def test_a_call_that_waits_is_made_again_when_the_certificate_is_renewed(
    mesh: Mesh,  # noqa: F811 - the fixture
) -> None:
    class Slow(ToyInbox):
        """Answers the second fetch only."""

        fetching, fetches = asyncio.Event(), 0

        async def FetchInbox(  # noqa: N802 - the contract's name
            self, request: inbox_service_pb2.FetchInboxRequest, call: Call
        ) -> inbox_service_pb2.FetchInboxResponse:
            self.fetches += 1
            self.fetching.set()
            if self.fetches == 1:
                await asyncio.Event().wait()
            return await super().FetchInbox(request, call)

    toy = Slow(items=1)
    async with mesh.serve(toy, ToyCatalog()), mesh.client() as organ:
        fetching = asyncio.create_task(organ.fetch_inbox(inbox_service_pb2.FetchInboxRequest()))
        await toy.fetching.wait()
        mesh.authority.issue(ORGAN)
        await renewed(organ)
        assert [item.sequence for item in (await fetching).items] == [1]


async def test_a_client_that_was_left_says_so(mesh: Mesh) -> None:  # noqa: F811 - the fixture
    """The transport library ends the process, where a method is called for the first time."""
    async with mesh.serve(ToyCatalog()):
        async with mesh.client() as left:
            assert (await get_item(left, "IT-001")).item.code
        async with mesh.client() as never_used:
            pass
        for client in (left, never_used):
            with pytest.raises(grpc.aio.UsageError, match="async with"):
                await get_item(client, "IT-001")

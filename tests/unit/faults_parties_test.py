"""Receivers: whatever comes is written down, also what a client library would pass over."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from clients.identity import Identity
from clients.inbox import InboxClient
from clients.subsystem import SubsystemClient
from faults.checker import logs
from faults.load.cast import ASKED, CENTERS, DESKS
from faults.load.durable import DurableLog
from faults.load.parties import WAYS, Receiver
from ronghe.event.v1.event_pb2 import Event
from ronghe.inbox.v1 import inbox_service_pb2 as pb
from ronghe.inbox.v1.inbox_service_pb2_grpc import InboxServiceServicer, add_InboxServiceServicer_to_server

BY_THE_LIBRARY = "organ/market-reg-500106"


class Forgetful(InboxServiceServicer):
    """Forgets that its item was acknowledged, and gives it once more with other contents."""

    def __init__(self) -> None:
        self.given = 0
        self.acknowledged: asyncio.Queue[list[int]] = asyncio.Queue()

    def _item(self) -> pb.InboxItem:
        self.given += 1
        return pb.InboxItem(sequence=1, event=Event(id="1", case_id="c", version=self.given))

    async def OpenInbox(self, requests: Any, context: Any) -> AsyncIterator[pb.OpenInboxResponse]:  # noqa: N802
        await anext(requests)
        yield pb.OpenInboxResponse(epoch=1)
        yield pb.OpenInboxResponse(epoch=1, items=[self._item()])
        async for request in requests:
            self.acknowledged.put_nowait(list(request.acknowledge.sequences))
            if self.given == 1:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "away")

    async def FetchInbox(self, request: Any, context: Any) -> pb.FetchInboxResponse:  # noqa: N802
        return pb.FetchInboxResponse(epoch=1, items=[self._item()])

    async def AckInbox(self, request: Any, context: Any) -> pb.AckInboxResponse:  # noqa: N802
        self.acknowledged.put_nowait(list(request.sequences))
        if self.given > 1:
            await asyncio.Event().wait()
        return pb.AckInboxResponse()


@pytest.mark.parametrize(
    ("party", "versions"),
    [("organ/urban-mgmt-500103", [1, 2]), ("organ/market-reg-500103003", [1, 2]), (BY_THE_LIBRARY, [1])],
    ids=["by the contract", "by fetching", "by the library"],
)
async def test_what_is_given_again_is_written_down_as_it_comes(party: str, versions: list[int], tmp_path: Path) -> None:
    inbox, server = Forgetful(), grpc.aio.server()
    add_InboxServiceServicer_to_server(inbox, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    told: list[Event] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with DurableLog(tmp_path / "deliveries.jsonl") as log:
            receiver = Receiver(
                "department", Identity.parse(party), _client(channel), log, lambda _, event: told.append(event)
            )
            running = asyncio.create_task(receiver.run())
            async with asyncio.timeout(30):
                for _ in range(2):
                    await inbox.acknowledged.get()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    await server.stop(0)
    given = logs.deliveries([tmp_path / "deliveries.jsonl"])

    assert [delivery.event.version for delivery in given] == versions
    assert [event.version for event in told] == versions
    assert {(delivery.receiver, delivery.epoch, delivery.sequence) for delivery in given} == {(party, 1, 1)}


def _client(channel: grpc.aio.Channel) -> SubsystemClient:
    client = InboxClient(channel)
    found: Any = SimpleNamespace(
        _channel=channel, fetch_inbox=client.fetch, ack_inbox=client.ack, inbox=lambda **named: client.open(**named)
    )
    return found  # type: ignore[no-any-return]


async def test_a_connection_that_is_closed_for_another_is_not_the_end(tmp_path: Path) -> None:
    inbox, server = Forgetful(), grpc.aio.server()
    add_InboxServiceServicer_to_server(inbox, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    first, second = (grpc.aio.insecure_channel(f"127.0.0.1:{port}") for _ in range(2))
    client: Any = SimpleNamespace(_channel=first)
    with DurableLog(tmp_path / "deliveries.jsonl") as log:
        receiver = Receiver("governance", Identity("center", "500103"), client, log, lambda *_: None)
        running = asyncio.create_task(receiver.run())
        async with asyncio.timeout(30):
            await inbox.acknowledged.get()  # and the stream is lost
            await inbox.acknowledged.get()  # by the second one, which stays open
            client._channel = second
            await first.close()
            await inbox.acknowledged.get()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await second.close()
    await server.stop(0)


def test_those_who_go_by_the_contract_have_a_part_in_the_load() -> None:
    organs = {f"organ/{name}" for name in (*ASKED, *(desk.lead for desk in DESKS))}
    assert WAYS.keys() <= organs | {f"center/{name}" for name in CENTERS}
    assert BY_THE_LIBRARY in organs - WAYS.keys()

"""The bridges of a process, and what operators order them: to stand still, to go on, to publish again."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select

from bridge.ports import Checkpoint, Cursor, StoreUnavailable
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.operations.v1 import operations_service_pb2 as pb
from ronghe.party.v1.party_pb2 import Officer
from servers.kernel import outbox, tables
from servers.kernel.batch import Batch
from servers.kernel.kernel import Kernel
from servers.kernel.leases import Lease, Work
from servers.kernel.signals import LOOK_SECONDS, wait
from servers.kernel.statements import Statements
from servers.kernel.stream import Refused
from servers.kernel.times import to_micros, to_timestamp
from servers.kernel.units import MoveCursors

# Orders stand among the cursors: {} where there is none.
PAUSED = "paused/"
REPUBLISH = "republish/"
# A second one beside them would publish everything twice, or take the other's inbox away. Consumers share a group.
ALONE = (pb.BRIDGE_RELAY, pb.BRIDGE_INBOX_SOURCE)


@dataclass(frozen=True, slots=True)
class Orders:
    """What a bridge has been told."""

    is_paused: bool
    is_set_back: bool
    """The relay is to publish again."""


class Bridges:
    """Runs each bridge unless it is paused. Orders are rows, so that they outlast a restart and reach every replica."""

    def __init__(self, kernel: Kernel, works: Mapping["pb.Bridge.ValueType", Work]) -> None:
        self._kernel = kernel
        self._works = works
        self._ordered = asyncio.Event()
        # Nobody shares an SQLite database.
        alone = () if kernel.database.is_sqlite else ALONE
        self._leases = {bridge: Lease(kernel, name_of(bridge)) for bridge in works if bridge in alone}

    def running(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What runs for as long as the process does."""
        return [self._keep(bridge, work) for bridge, work in self._works.items()]

    @property
    def standing_by(self) -> Sequence["pb.Bridge.ValueType"]:
        """Those that another replica runs, or nobody."""
        return [bridge for bridge, lease in self._leases.items() if not lease.is_held]

    def look(self) -> None:
        """There is a new order."""
        self._ordered.set()
        self._ordered = asyncio.Event()

    async def _keep(self, bridge: "pb.Bridge.ValueType", work: Work) -> None:
        """Ends only where the work ends by itself."""
        while True:
            await self._may_run(bridge)
            if await self._ended(work, bridge):
                return

    async def _may_run(self, bridge: "pb.Bridge.ValueType") -> None:
        """Return when it is not paused; a relay that was told to publish again has been set back then."""
        while (await self._until(bridge, lambda orders: not orders.is_paused)).is_set_back:
            with suppress(StoreUnavailable):
                await self._kernel.write(lambda connection: _set_back(connection, self._kernel.writer.statements))

    async def _ended(self, work: Work, bridge: "pb.Bridge.ValueType") -> bool:
        """Whether the work ended by itself, rather than by an order."""
        lease = self._leases.get(bridge)
        running = asyncio.create_task(lease.run(work) if lease else work())
        ordered = asyncio.create_task(self._until(bridge, lambda orders: orders.is_paused or orders.is_set_back))
        try:
            await asyncio.wait({running, ordered}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = running.done()
            for task in (running, ordered):
                task.cancel()
            await asyncio.gather(running, ordered, return_exceptions=True)
        if ended:
            running.result()
        else:
            ordered.result()
        return ended

    async def _until(self, bridge: "pb.Bridge.ValueType", holds: Callable[[Orders], bool]) -> Orders:
        while True:
            ordered = self._ordered
            with suppress(StoreUnavailable):  # what a bridge does then is its own affair
                orders = await self._kernel.read(lambda connection: _orders(connection, bridge))
                if holds(orders):
                    return orders
            await wait(ordered, LOOK_SECONDS)

    # --- what operators do ---

    def pause(self, batch: Batch, request: pb.PauseBridgeRequest) -> pb.PauseBridgeResponse:
        """Let it stand still."""
        name = self._named(request.bridge)
        if not _order(batch.connection, PAUSED + name):
            since, officer = to_micros(batch.now), request.actor
            order = {"since": since, "reason": request.reason, "id": officer.id, "name": officer.name}
            _give(batch, PAUSED + name, order)
        return pb.PauseBridgeResponse()

    def resume(self, batch: Batch, request: pb.ResumeBridgeRequest) -> pb.ResumeBridgeResponse:
        """Let it go on."""
        _give(batch, PAUSED + self._named(request.bridge), {})
        return pb.ResumeBridgeResponse()

    def republish(self, batch: Batch, request: pb.RepublishSinceRequest) -> pb.RepublishSinceResponse:
        """Set the relay back, to where the earliest order says."""
        name = REPUBLISH + self._named(pb.BRIDGE_RELAY)
        position = request.position or _position_at(batch, request.time.ToMicroseconds())
        position = min(position, int(_order(batch.connection, name).get("position", position)))
        _give(batch, name, {"position": position})
        start = _checkpoint_before(batch.connection, position)
        return pb.RepublishSinceResponse(after_position=start.position if start else 0, to_position=batch.position)

    def _named(self, bridge: "pb.Bridge.ValueType") -> str:
        if bridge in self._works:
            return name_of(bridge)
        names = ", ".join(map(name_of, self._works))
        raise Refused(
            Reason.REASON_BRIDGE_NOT_FOUND,
            f"{self._kernel.subsystem.origin} has no bridge {name_of(bridge)}: it has {names}",
            {"bridges": names},
        )


def name_of(bridge: "pb.Bridge.ValueType") -> str:
    """For example "inbox-source"."""
    return pb.Bridge.Name(bridge).removeprefix("BRIDGE_").lower().replace("_", "-")


def paused(connection: Connection) -> Sequence[pb.PausedBridge]:
    """The bridges that stand still."""
    orders = ((bridge, _order(connection, PAUSED + name_of(bridge))) for bridge in pb.Bridge.values())
    return [
        pb.PausedBridge(
            bridge=bridge,
            since=to_timestamp(order["since"]),
            officer=Officer(id=order["id"], name=order["name"]),
            reason=order["reason"],
        )
        for bridge, order in orders
        if order
    ]


def _orders(connection: Connection, bridge: "pb.Bridge.ValueType") -> Orders:
    name = name_of(bridge)
    return Orders(bool(_order(connection, PAUSED + name)), bool(_order(connection, REPUBLISH + name)))


def _order(connection: Connection, name: str) -> dict[str, Any]:
    value = connection.scalar(select(tables.cursor.c.value).where(tables.cursor.c.name == name))
    return json.loads(value) if value else {}


def _give(batch: Batch, name: str, order: Mapping[str, Any]) -> None:
    MoveCursors([Cursor(name, order)]).apply(batch)


def _set_back(connection: Connection, statements: Statements) -> None:
    """The relay stands still: let it begin where it was ordered to."""
    name = REPUBLISH + name_of(pb.BRIDGE_RELAY)
    order = _order(connection, name)
    if not order:
        return
    start = _checkpoint_before(connection, order["position"])
    published = outbox.published(connection)
    outbox.rewind(connection, statements, replace(published, position=start.position if start else 0))
    MoveCursors([Cursor(name, {})]).store(connection, statements)


def _checkpoint_before(connection: Connection, position: int) -> Checkpoint | None:
    kept = tables.relay_checkpoint
    statement = select(kept).where(kept.c.position < position).order_by(kept.c.position.desc()).limit(1)
    row = connection.execute(statement).mappings().one_or_none()
    return Checkpoint(**row) if row else None


def _position_at(batch: Batch, time: int) -> int:
    """The first position that the journal took in at this time (microseconds since 1970) or later, by halving."""
    columns = tables.journal.c
    low, high = 1, batch.position + 1
    while low < high:
        middle = (low + high) // 2
        taken_at = batch.connection.scalar(select(columns.taken_at).where(columns.position == middle))
        low, high = (middle + 1, high) if taken_at is not None and taken_at < time else (low, middle)
    return low

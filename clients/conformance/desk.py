"""What happens to the items that the program is given, and to what it says of them."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from typing import Any

from clients.conformance.scenes import HELD, Scene, Script
from clients.conformance.seen import UNKNOWN, Acknowledged, End, Ended, Given, Opening, PutOff, Seen
from clients.conformance.wire import Context, lose
from ronghe.event.v1.event_pb2 import Event
from ronghe.inbox.v1 import inbox_service_pb2 as pb

UNKNOWN_FACT = f"type.googleapis.com/ronghe.event.v1.{UNKNOWN}"


class Fate(Enum):
    """What becomes of an acknowledgement."""

    PASSED = "passed on"
    HELD = "passed on later"
    LOST = "lost, with the connection"
    CUT = "passed on, then the connection is lost"
    REPEATED = "passed on, and the item comes again"
    KILLED = "passed on, and the program is killed"


_FATES = {
    Scene.ACK_HELD: Fate.HELD,
    Scene.ACK_LOST: Fate.LOST,
    Scene.CUT_AFTER_ACK: Fate.CUT,
    Scene.GIVEN_AGAIN: Fate.REPEATED,
    Scene.KILLED_ACKNOWLEDGING: Fate.KILLED,
}


class Desk:
    """What happens to items and acknowledgements, for streams and fetches alike."""

    def __init__(self, script: Script, seen: Seen, kill: Callable[[], None]) -> None:
        self.script = script
        self.seen = seen
        self.kill = kill
        self.withdrawn = asyncio.Event()
        """Set when the applicant of the scene WITHDRAWN has withdrawn."""
        self._items: dict[int, pb.InboxItem] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """What goes on when the call has ended for the program."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Return when all of that has ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def admit(self, context: Context) -> None:
        """Refuse where the inbox is closed."""
        now = time.monotonic()
        if span := self.script.meet_attempt(now):
            self.seen.closed.append(span)
        closed = self.script.is_closed
        self.seen.openings.append(Opening(now, refused=closed))
        if closed:
            await lose(context)

    async def prepare(self, items: Sequence[pb.InboxItem]) -> bool:
        """Make the items what the program shall see; whether the connection shall be lost with them."""
        cut = False
        for item in items:
            scene = self.script.meet(item)
            if scene is Scene.WITHDRAWN and short_name(item.event) == "Submitted":
                await self._withdrawn()
            if scene is Scene.WITHDRAWN and short_name(item.event) == "WithdrawalRequested":
                item.event.fact.type_url = UNKNOWN_FACT
            cut = self.script.do(item.event.case_id, Scene.CUT_WHEN_GIVEN) or cut
        return cut

    def give(self, items: Sequence[pb.InboxItem]) -> None:
        """The program has them."""
        for item in items:
            self._items[item.sequence] = item
            event = item.event
            self.seen.given.append(Given(time.monotonic(), item.sequence, event.case_id, short_name(event)))

    def item(self, sequence: int) -> pb.InboxItem:
        """One that was given."""
        return self._items[sequence]

    def twice(self, items: Sequence[pb.InboxItem]) -> Sequence[pb.InboxItem]:
        """Those that come twice."""
        return [item for item in items if self.script.do(item.event.case_id, Scene.GIVEN_TWICE)]

    def acknowledge(self, sequence: int) -> Fate:
        """The program has said so."""
        self.seen.acknowledged.append(Acknowledged(time.monotonic(), sequence))
        item = self._items.get(sequence)
        for scene, fate in _FATES.items():
            if item is not None and self.script.do(item.event.case_id, scene):
                return fate
        return Fate.PASSED

    def put_off(self, nacks: Sequence[pb.Nack]) -> None:
        """The program has said so."""
        for nack in nacks:
            seconds = nack.delay.ToTimedelta().total_seconds()
            self.seen.put_off.append(PutOff(time.monotonic(), nack.sequence, seconds))

    def end(self, why: End) -> None:
        """A stream has ended, or an answer was lost."""
        self.seen.ends.append(Ended(time.monotonic(), why))

    async def _withdrawn(self) -> None:
        try:
            async with asyncio.timeout(10 * HELD):
                await self.withdrawn.wait()
        except TimeoutError:
            return  # the program meets the withdrawal while it acts


def short_name(event: Event) -> str:
    """Of the fact's type."""
    return event.fact.type_url.rpartition(".")[2]

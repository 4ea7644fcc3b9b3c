"""Who takes part: the desks, everybody's clients, and what each case's parties were told."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from clients.department import DepartmentClient
from clients.governance import GovernanceClient
from clients.identity import Identity
from clients.intake import IntakeClient
from faults.load.applications import Desk
from faults.load.caller import Caller
from ronghe.catalog.v1 import catalog_service_pb2 as catalog
from ronghe.catalog.v1.catalog_pb2 import ServiceItem
from ronghe.event.v1 import event_pb2 as event
from ronghe.event.v1.event_pb2 import Event

TERMINAL, INTAKE = Identity("terminal", "yukuaiban"), Identity("intake", "yukuaiban")
NEIGHBOR = Identity("terminal", "binjiang")
"""Of another intake system, which has no case here."""
INTAKES = {TERMINAL.id: "渝快办", NEIGHBOR.id: "滨江办"}
CITY, DISTRICT, TOWN = "500000", "500103", "500103003"

SIGNS = Desk("IT-003", DISTRICT, "urban-mgmt-500103", {"area_m2": 12}, ("planning", "market-reg"))
SIGNS_ELSEWHERE = Desk("IT-003", "500106", "urban-mgmt-500106", {"area_m2": 12}, ("planning", "market-reg"))
SHOPS = Desk("IT-027", TOWN, f"market-reg-{TOWN}")
LOW_INCOME = Desk("IT-028", TOWN, f"civil-affairs-{TOWN}", {}, ("hrss", "housing", "public-security", "medical-ins"))
"""The one item whose rules disclose who the applicant is."""
DESKS = (SIGNS, SIGNS_ELSEWHERE, SHOPS, LOW_INCOME)
ROADS = Desk("IT-001", DISTRICT, SIGNS.lead, {}, ("traffic-police",))
"""Nothing is granted here without the approval of whom the law requires to be asked."""
ASKED = [f"{name}-{place}" for place in (DISTRICT, "500106") for name in ("planning", "market-reg")]
ASKED += [f"{name}-{DISTRICT}" for name in ("hrss", "housing", "public-security", "medical-ins", "fire", "emergency")]
ASKED.append(f"traffic-police-{DISTRICT}")
CENTERS = (CITY, DISTRICT, "500106", TOWN)
TIMEOUT = 5.0
FED_BACK = {
    kind.DESCRIPTOR.name: kind
    for kind in (
        event.AnswerReceived,
        event.CollaborationConcluded,
        event.CollaborationRecalled,
        event.RecallDeclined,
    )
}
"""What a lead is told of a collaboration."""


class Told:
    """What the parties of one case were told so far."""

    def __init__(self) -> None:
        self.facts: set[tuple[str, str, str]] = set()
        """Receiver, name of the fact, and the collaboration that it feeds back, if it does."""
        self.answers: dict[str, event.AnswerReceived] = {}
        """By task."""
        self._more = asyncio.Event()

    def add(self, receiver: str, told: Event) -> None:
        """A delivery, perhaps a repeated one."""
        name = told.fact.type_url.rpartition(".")[2]
        if name not in FED_BACK:
            self.say(receiver, name)
            return
        fact = FED_BACK[name].FromString(told.fact.value)
        if isinstance(fact, event.AnswerReceived):
            self.answers[fact.task_id] = fact
        self.say(receiver, name, fact.collaboration_id)

    def say(self, receiver: str, name: str, collaboration_id: str = "") -> None:
        """The receiver knows of this fact."""
        self.facts.add((receiver, name, collaboration_id))
        self._more.set()
        self._more = asyncio.Event()

    async def until(self, receiver: str, *names: str, collaboration_id: str = "") -> None:
        """Return when the receiver was told one of these facts."""
        while not any((receiver, name, collaboration_id) in self.facts for name in names):
            await self._more.wait()


@dataclass(frozen=True)
class Cast:
    """Everybody, connected."""

    terminal: IntakeClient
    neighbor: IntakeClient
    intake: IntakeClient
    organs: Mapping[str, DepartmentClient]
    centers: Mapping[str, GovernanceClient]
    items: Mapping[str, ServiceItem]
    caller: Caller
    told: defaultdict[str, Told] = field(default_factory=lambda: defaultdict(Told))


@asynccontextmanager
async def cast(addresses: Mapping[str, str], pki: Path, caller: Caller) -> AsyncIterator[Cast]:
    """Connect all parties; `addresses` by subsystem."""
    async with AsyncExitStack() as stack:

        async def organ(name: str) -> DepartmentClient:
            client = DepartmentClient(addresses["department"], pki, Identity("organ", name), timeout=TIMEOUT)
            return await stack.enter_async_context(client)

        async def center(name: str) -> GovernanceClient:
            client = GovernanceClient(addresses["governance"], pki, Identity("center", name), timeout=TIMEOUT)
            return await stack.enter_async_context(client)

        async def intake(party: Identity) -> IntakeClient:
            return await stack.enter_async_context(IntakeClient(addresses["intake"], pki, party, timeout=TIMEOUT))

        terminal = await intake(TERMINAL)
        yield Cast(
            terminal=terminal,
            neighbor=await intake(NEIGHBOR),
            intake=await intake(INTAKE),
            organs={name: await organ(name) for name in dict.fromkeys([*(desk.lead for desk in DESKS), *ASKED])},
            centers={name: await center(name) for name in CENTERS},
            items=await _items(terminal, caller),
            caller=caller,
        )


async def _items(client: IntakeClient, caller: Caller) -> Mapping[str, ServiceItem]:
    request = catalog.ListServiceItemsRequest(page_size=500)
    found = await caller.repeated(client.catalog.list_service_items, request)
    return {item.code: item for item in found.items}

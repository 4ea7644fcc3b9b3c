"""What can be applied for at the organ under test, and which other organ could ask it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from clients.conformance.errors import CannotPlay
from clients.demo.desks import list_divisions, list_items
from clients.demo.plan import Desk
from clients.errors import RongheError
from clients.subsystem import SubsystemClient
from ronghe.catalog.v1 import catalog_service_pb2 as catalog
from ronghe.catalog.v1.catalog_pb2 import Division, Organ, ServiceItem


@dataclass(frozen=True, slots=True)
class Places:
    """Where the cases are applied for."""

    own: Desk
    """Led by the organ under test."""
    other: Desk | None
    """The same item elsewhere, led by another organ; None where there is none."""


async def find_places(client: SubsystemClient, organ_id: str) -> Places:
    """From the catalog; raises CannotPlay."""
    organ = await _organ(client, organ_id)
    divisions = [division async for division in list_divisions(client) if not division.HasField("valid_to")]
    items = [item async for item in list_items(client) if item.lead_department == organ.department]
    # Best an item about which nobody else is ever asked: every program can handle that.
    for item in sorted(items, key=lambda item: len(item.collaborators)):
        lead = await _lead(client, item, organ.division)
        if lead is not None and lead.id == organ_id:
            return Places(Desk(item, organ.division, lead), await _elsewhere(client, item, organ, divisions))
    raise CannotPlay(f"no item of the catalog is led by {organ_id} alone: choose another organ")


async def _elsewhere(
    client: SubsystemClient, item: ServiceItem, organ: Organ, divisions: list[Division]
) -> Desk | None:
    for division in divisions:
        if division.tier == organ.tier and division.code != organ.division:
            lead = await _lead(client, item, division.code)
            if lead is not None and lead.id != organ.id:
                return Desk(item, division.code, lead)
    return None


async def _lead(client: SubsystemClient, item: ServiceItem, division: str) -> Organ | None:
    """The lead, where there is one here and the law makes it ask nobody."""
    request = catalog.PreviewCollaboratorsRequest(item_code=item.code, division=division)
    try:
        preview = await client.catalog.preview_collaborators(request)
    except RongheError as error:
        if error.reason != "ORGAN_NOT_RESOLVED":
            raise
        return None
    return None if any(proposed.required for proposed in preview.collaborators) else preview.lead


async def _organ(client: SubsystemClient, organ_id: str) -> Organ:
    async for organ in _organs(client):
        if organ.id == organ_id:
            return organ
    raise CannotPlay(f"the catalog has no organ {organ_id}: `ronghe organs` lists them")


async def _organs(client: SubsystemClient) -> AsyncIterator[Organ]:
    request = catalog.ListOrgansRequest(page_size=500)
    while True:
        page = await client.catalog.list_organs(request)
        for organ in page.organs:
            yield organ
        request.page_token = page.next_page_token
        if not request.page_token:
            return

"""Where applications are handled: items, divisions, and the organs that lead."""

from collections.abc import AsyncIterator, Sequence

from clients.demo.plan import Desk
from clients.errors import RongheError
from clients.subsystem import SubsystemClient
from ronghe.catalog.v1 import catalog_service_pb2 as catalog
from ronghe.catalog.v1.catalog_pb2 import Division, Organ, ServiceItem

DESKS = 24


async def find_desks(client: SubsystemClient) -> Sequence[Desk]:
    """Different organs in different divisions, each with an item that it leads there and may decide alone."""
    items = [item async for item in list_items(client)]
    divisions = [division async for division in list_divisions(client)]
    desks: dict[str, Desk] = {}
    # Each item at another division than the item before it, so that few desks cover many of both.
    for number in range(len(items) * len(divisions)):
        item, division = items[number % len(items)], divisions[(number * 7 + number // len(items)) % len(divisions)]
        if division.tier == item.default_tier:
            organ = await _lead_alone(client, item, division)
            if organ is not None:
                desks.setdefault(organ.id, Desk(item, division.code, organ))
        if len(desks) >= DESKS:
            break
    return list(desks.values())


async def _lead_alone(client: SubsystemClient, item: ServiceItem, division: Division) -> Organ | None:
    """The lead, where there is one here and the law makes it ask nobody."""
    request = catalog.PreviewCollaboratorsRequest(item_code=item.code, division=division.code)
    try:
        preview = await client.catalog.preview_collaborators(request)
    except RongheError as error:
        if error.reason != "ORGAN_NOT_RESOLVED":
            raise
        return None
    return None if any(proposed.required for proposed in preview.collaborators) else preview.lead


async def list_items(client: SubsystemClient) -> AsyncIterator[ServiceItem]:
    """All that can be applied for today."""
    request = catalog.ListServiceItemsRequest()
    while True:
        response = await client.catalog.list_service_items(request)
        for item in response.items:
            yield item
        request.page_token = response.next_page_token
        if not request.page_token:
            return


async def list_divisions(client: SubsystemClient) -> AsyncIterator[Division]:
    """All divisions."""
    request = catalog.ListDivisionsRequest()
    while True:
        response = await client.catalog.list_divisions(request)
        for division in response.divisions:
            yield division
        request.page_token = response.next_page_token
        if not request.page_token:
            return

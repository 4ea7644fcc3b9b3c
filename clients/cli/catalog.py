"""`ronghe catalog list`, `show`; `ronghe divisions`, `organs`, `centers`.

What can be applied for, where, who is responsible, and who routes between them. `catalog preview` is in `preview`.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from clients.cli.acting import Acting
from clients.cli.briefs import limit
from clients.cli.command import command
from clients.cli.language import say
from clients.cli.output import Shown, day, facts, rows, table, word
from ronghe.catalog.v1 import catalog_pb2
from ronghe.catalog.v1 import catalog_service_pb2 as pb
from ronghe.party.v1.party_pb2 import ApplicantType

app = typer.Typer()
catalog_app = typer.Typer()

R = TypeVar("R", pb.ListServiceItemsResponse, pb.ListDivisionsResponse, pb.ListOrgansResponse, pb.ListCentersResponse)
PAGE = 500


@command(catalog_app, "list")
async def list_items(acting: Acting) -> None:
    """List the service items (事项) in force."""
    async with acting.subsystem(None, acting.reader) as client:
        found = await _all(client.catalog.list_service_items, pb.ListServiceItemsRequest(page_size=PAGE))
    acting.show(found, lambda: _items(found))


@command(catalog_app, "show")
async def show_item(
    acting: Acting, code: Annotated[str, typer.Argument(metavar="ITEM", help="The service item, for example IT-001.")]
) -> None:
    """Show an item: its form, materials and limits, and whom its rules ask."""
    async with acting.subsystem(None, acting.reader) as client:
        found = await client.catalog.get_service_item(pb.GetServiceItemRequest(code=code))
    acting.show(found, lambda: _item(found.item))


@command(app, "divisions")
async def divisions(
    acting: Acting,
    parent: Annotated[str, typer.Option(metavar="CODE", help="Only those directly below this one.")] = "",
) -> None:
    """List the divisions (行政区划)."""
    async with acting.subsystem(None, acting.reader) as client:
        found = await _all(client.catalog.list_divisions, pb.ListDivisionsRequest(parent=parent, page_size=PAGE))
    lines = [(each.code, each.name, each.name_en, _tier(each.tier), each.parent) for each in found.divisions]
    acting.show(found, lambda: [rows(table("code", "name", "in English", "tier", "below"), lines)])


@command(app, "organs")
async def organs(
    acting: Acting,
    department: Annotated[str, typer.Option(metavar="TYPE", help="Only this type, for example FIRE.")] = "",
    division: Annotated[str, typer.Option(metavar="CODE", help="Only those of this division.")] = "",
) -> None:
    """List the organs (部门): concrete departments of concrete divisions; --as organ/<id> acts as one."""
    request = pb.ListOrgansRequest(department=department, division=division, page_size=PAGE)
    async with acting.subsystem(None, acting.reader) as client:
        found = await _all(client.catalog.list_organs, request)
    lines = [(each.id, each.name, each.department, _tier(each.tier), each.division) for each in found.organs]
    acting.show(found, lambda: [rows(table("id", "name", "type", "tier", "division"), lines)])


@command(app, "centers")
async def centers(
    acting: Acting,
    parent: Annotated[str, typer.Option(metavar="CODE", help="Only those directly below this one.")] = "",
) -> None:
    """List the governance centers (治理中心), one for each division; --as center/<id> acts as one."""
    async with acting.subsystem(None, acting.reader) as client:
        found = await _all(client.catalog.list_centers, pb.ListCentersRequest(parent=parent, page_size=PAGE))
    lines = [(each.id, each.name, _tier(each.tier), each.parent, day(each.valid_to)) for each in found.centers]
    acting.show(found, lambda: [rows(table("id", "name", "tier", "below", "until"), lines)])


async def _all(call: Callable[[Any], Awaitable[R]], request: Any) -> R:
    """All pages in one answer."""
    found = await call(request)
    while found.next_page_token:
        request.page_token = found.next_page_token
        found.next_page_token = ""
        found.MergeFrom(await call(request))
    return found


def _items(found: pb.ListServiceItemsResponse) -> Shown:
    lines = [
        (item.code, item.version, item.name, item.lead_department, _tier(item.default_tier), limit(item.legal_limit))
        for item in found.items
    ]
    return [rows(table("code", "version#", "name", "lead", "tier", "legal limit"), lines)]


def _item(item: catalog_pb2.ServiceItem) -> Shown:
    return [_summary(item), _form(item), _materials(item), *([_collaborators(item)] if item.collaborators else [])]


def _summary(item: catalog_pb2.ServiceItem) -> Table:
    return facts(
        [
            ("item", f"{item.code} {item.name}"),
            ("in English", item.name_en),
            ("version", say("{version}, in force from {day}", version=item.version, day=day(item.effective_from))),
            ("kind of case", word(catalog_pb2.CaseType, item.case_type)),
            ("lead", f"{item.lead_department}, {_tier(item.default_tier)}"),
            ("legal limit", limit(item.legal_limit)),
            ("promised limit", limit(item.promised_limit)),
            ("for", ", ".join(word(ApplicantType, each) for each in item.applicant_types)),
            ("result", item.result_document),
        ]
    )


def _form(item: catalog_pb2.ServiceItem) -> Table:
    lines = [
        (field.name, field.label, _type(field), _mark(field.required), _mark(field.personal)) for field in item.form
    ]
    return rows(table("form field", "label", "type", "required", "personal"), lines)


def _materials(item: catalog_pb2.ServiceItem) -> Table:
    lines = [(rule.code, rule.name, _mark(rule.required), _mark(rule.deferrable)) for rule in item.materials]
    return rows(table("material", "name", "required", "may follow"), lines)


def _collaborators(item: catalog_pb2.ServiceItem) -> Table:
    lines = [
        (rule.id, rule.department, word(catalog_pb2.CollaborationKind, rule.kind), rule.when.text, rule.reason)
        for rule in item.collaborators
    ]
    return rows(table("collaborator", "department", "kind", "when", "why"), lines)


def _type(field: catalog_pb2.FormField) -> str:
    kind = word(catalog_pb2.FormField.Type, field.type)
    return f"{kind}, {field.unit}" if field.unit else kind


def _tier(tier: int) -> str:
    return word(catalog_pb2.Tier, tier)


def _mark(is_so: bool) -> str:
    return say("yes") if is_so else ""

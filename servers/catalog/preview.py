"""Who would be asked about an application before its decision, and by which rule."""

from collections.abc import Iterable

from google.type.date_pb2 import Date

from ronghe.case.v1.case_pb2 import Application
from ronghe.catalog.v1.catalog_pb2 import Collaborator, Organ, ServiceItem
from ronghe.catalog.v1.catalog_service_pb2 import (
    PreviewCollaboratorsRequest,
    PreviewCollaboratorsResponse,
    ProposedCollaborator,
)
from ronghe.error.v1.reason_pb2 import Reason
from servers.catalog.catalog import Catalog
from servers.catalog.rules import is_required
from servers.kernel.stream import Refused


def preview(catalog: Catalog, request: PreviewCollaboratorsRequest, today: Date) -> PreviewCollaboratorsResponse:
    """Raises Refused: ITEM_NOT_FOUND, ITEM_NOT_IN_FORCE, DIVISION_NOT_FOUND, INVALID_FORM, ORGAN_NOT_RESOLVED."""
    item = _item(catalog, request, today)
    catalog.check_values(item, request.form)
    lead = catalog.lead(item, request.division, request.form, today)
    # Each division once, in the order of the places.
    divisions = dict.fromkeys(place.division for place in request.places) or [request.division]
    for division in divisions:
        catalog.division(division)
    application = Application(item=catalog.carried(item), lead=lead, division=request.division, form=request.form)
    return PreviewCollaboratorsResponse(
        lead=lead,
        collaborators=[_proposed(catalog, rule, lead, divisions, today) for rule in catalog.firing_rules(application)],
    )


def _item(catalog: Catalog, request: PreviewCollaboratorsRequest, today: Date) -> ServiceItem:
    if request.item_version:
        return catalog.item_version(request.item_code, request.item_version)
    return catalog.item(request.item_code, today)


def _proposed(
    catalog: Catalog, rule: Collaborator, lead: Organ, divisions: Iterable[str], today: Date
) -> ProposedCollaborator:
    organs: dict[str, Organ] = {}
    unresolved = []
    for division in divisions:
        try:
            organ = catalog.resolve(rule.department, division, rule.tier or lead.tier, today)
        except Refused as refused:
            if refused.reason != Reason.REASON_ORGAN_NOT_RESOLVED:
                raise
            unresolved.append(division)
        else:
            organs[organ.id] = organ
    return ProposedCollaborator(
        rule=rule, required=is_required(rule), organs=organs.values(), unresolved_divisions=unresolved
    )

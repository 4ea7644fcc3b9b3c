"""Who would be asked about an application before its decision, and by which rule."""

from collections.abc import Sequence

from google.type.date_pb2 import Date

from ronghe.case.v1.case_pb2 import Application
from ronghe.catalog.v1.catalog_pb2 import Collaborator, Organ, Place
from ronghe.catalog.v1.catalog_service_pb2 import (
    PreviewCollaboratorsRequest,
    PreviewCollaboratorsResponse,
    ProposedCollaborator,
)
from servers.catalog.catalog import Catalog
from servers.catalog.rules import is_required
from servers.kernel.stream import Refused


def preview(catalog: Catalog, request: PreviewCollaboratorsRequest, today: Date) -> PreviewCollaboratorsResponse:
    """Raises Refused: ITEM_NOT_FOUND, ITEM_NOT_IN_FORCE, DIVISION_NOT_FOUND, INVALID_FORM, ORGAN_NOT_RESOLVED."""
    if request.item_version:
        item = catalog.item_version(request.item_code, request.item_version)
    else:
        item = catalog.item(request.item_code, today)
    catalog.check_values(item, request.form)
    lead = catalog.lead(item, request.division, request.form, today)
    application = Application(item=item, lead=lead, division=request.division, form=request.form)
    places = list(request.places) or [Place(division=request.division)]
    return PreviewCollaboratorsResponse(
        lead=lead,
        collaborators=[_proposed(catalog, rule, lead, places, today) for rule in catalog.firing_rules(application)],
    )


def _proposed(
    catalog: Catalog, rule: Collaborator, lead: Organ, places: Sequence[Place], today: Date
) -> ProposedCollaborator:
    proposed = ProposedCollaborator(rule=rule, required=is_required(rule))
    organs: dict[str, Organ] = {}
    for place in places:
        try:
            organ = catalog.resolve(rule.department, place.division, rule.tier or lead.tier, today)
        except Refused:
            proposed.unresolved_divisions.append(place.division)
        else:
            organs[organ.id] = organ
    proposed.organs.extend(organs.values())
    return proposed

"""Figures of collaborations by center: kept in the transactions that change them, read as they are."""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import Connection, select

from ronghe.catalog.v1.catalog_pb2 import Tier
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration, Task
from ronghe.governance.v1.governance_service_pb2 import GetSummaryResponse
from servers.catalog.catalog import Catalog
from servers.kernel import tables

IN_HAND = (Task.STATE_ASSIGNED, Task.STATE_SIGNED)


def figures(collaboration: Collaboration, catalog: Catalog) -> Mapping[str, int]:
    """What one collaboration adds, for each center above the lead: "summary/<center>/<of what>/<value>"."""
    if not collaboration.event_no:
        return {}
    counted = Counter({f"state/{int(collaboration.state)}": 1, f"tier/{int(collaboration.tier)}": 1})
    for task in collaboration.tasks:
        counted[f"task/{int(task.state)}"] += 1
        if task.state in IN_HAND:
            counted[f"organ/{task.organ.id}"] += 1
    return {
        f"summary/{center.code}/{name}": number
        for center in catalog.ancestors(collaboration.lead.division)
        for name, number in counted.items()
    }


def summary(connection: Connection, center_id: str) -> GetSummaryResponse:
    """What the collaborations of a center's division and those below it add up to."""
    prefix = f"summary/{center_id}/"
    columns = tables.counter.c
    # A range, not a pattern: it reads the primary key.
    statement = select(columns.name, columns.value).where(
        columns.name > prefix, columns.name < f"{prefix}~", columns.value != 0
    )
    response = GetSummaryResponse(center_id=center_id)
    for row in connection.execute(statement.order_by(columns.name)):
        name, _, value = row.name.removeprefix(prefix).partition("/")
        _add(response, name, value, row.value)
    return response


def _add(response: GetSummaryResponse, name: str, value: str, count: int) -> None:
    match name:
        case "state":
            response.collaborations_by_state.add(state=Collaboration.State.ValueType(int(value)), count=count)
        case "tier":
            response.collaborations_by_tier.add(tier=Tier.ValueType(int(value)), count=count)
        case "task":
            response.tasks_by_state.add(state=Task.State.ValueType(int(value)), count=count)
        case "organ":
            response.open_tasks_by_organ.add(organ_id=value, count=count)

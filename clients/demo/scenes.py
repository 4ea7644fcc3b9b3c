"""Scenes, found in the catalog before their cases begin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clients.demo.applications import Applicants
from clients.demo.courses import Reach, SharedCourse
from clients.demo.desks import list_divisions, list_items
from clients.demo.plan import Desk
from clients.demo.scene import Other, Scene
from clients.subsystem import SubsystemClient
from ronghe.catalog.v1 import catalog_service_pb2 as catalog
from ronghe.catalog.v1.catalog_pb2 import COLLABORATION_KIND_CONSULTATION, Division, Organ, Place, ServiceItem, Tier
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest

DISTRICTS = 5
ASKED_IN_THE_CITY = "EMERGENCY"
BEYOND_THE_DISTRICT = (Reach.TWO_DISTRICTS, Reach.CITY)


@dataclass(frozen=True, slots=True)
class District:
    """A district with one of its towns."""

    division: Division
    town: Division
    organs: Mapping[str, Organ]
    """By department; the town's where the district has none."""

    @property
    def place(self) -> Place:
        """Somewhere in the town; towns' codes and a number make a grid's."""
        return Place(
            division=self.town.code, grid_id=f"{self.town.code}000001", description=f"{self.town.name}（演示）"
        )


class SceneFinder:
    """Finds a scene for each course, at one district after another."""

    def __init__(
        self,
        client: SubsystemClient,
        applicants: Applicants,
        items: Mapping[str, ServiceItem],
        districts: Sequence[District],
        city: Mapping[str, Organ],
    ) -> None:
        self._client = client
        self._applicants = applicants
        self._items = items
        self._districts = districts
        self._city = city

    @classmethod
    async def load(cls, client: SubsystemClient, applicants: Applicants) -> "SceneFinder":
        """Read what it needs of the catalog, once."""
        divisions = [division async for division in list_divisions(client) if not division.HasField("valid_to")]
        items = {item.code: item async for item in list_items(client)}
        found = [division for division in divisions if division.tier == Tier.TIER_DISTRICT][:DISTRICTS]
        districts = []
        for division in found:
            town = next(below for below in divisions if below.parent == division.code)
            organs = await _organs(client, town.code) | await _organs(client, division.code)
            districts.append(District(division, town, organs))
        city = next(division for division in divisions if division.tier == Tier.TIER_MUNICIPAL)
        return cls(client, applicants, items, districts, await _organs(client, city.code))

    async def find(self, course: SharedCourse, number: int) -> Scene:
        """The scene of this course at the district of this number."""
        here, next_door = (self._districts[n % len(self._districts)] for n in (number, number + 1))
        item = self._items[course.item]
        desk = Desk(item, here.division.code, here.organs[item.lead_department])
        request = self._applicants.application(desk, _places(course, here, next_door), course.form)
        asked = await self._asked(course, request)
        beyond = [self._ask_the_city(item)] if course.reach is Reach.CITY else []
        first, others = _organs_asked(course, asked)
        return Scene(
            course,
            desk,
            request,
            rules=[proposed.rule.id for proposed in asked],
            beyond=beyond,
            chain=[*first, *(here.organs[department].id for department in course.passed_to)],
            others=[*others, *(other.organ_id for other in beyond)],
            center=here.division.parent if course.reach in BEYOND_THE_DISTRICT else here.division.code,
            discloses={proposed.rule.id: proposed.rule.discloses for proposed in asked}
            | {"": [name for other in beyond for name in other.discloses]},
        )

    async def _asked(
        self, course: SharedCourse, request: SubmitApplicationRequest
    ) -> Sequence[catalog.ProposedCollaborator]:
        """What the rules propose, as far as the course follows them, in its order."""
        preview = await self._client.catalog.preview_collaborators(
            catalog.PreviewCollaboratorsRequest(
                item_code=request.item_code, division=request.division, places=request.places, form=request.form
            )
        )
        proposed = {one.rule.id: one for one in preview.collaborators}
        return [proposed[name] for name in course.rules or proposed]

    def _ask_the_city(self, item: ServiceItem) -> Other:
        return Other(
            organ_id=self._city[ASKED_IN_THE_CITY].id,
            kind=COLLABORATION_KIND_CONSULTATION,
            question="演示：是否影响全市应急保障",
            reply_days=3,
            discloses=[field.name for field in item.form if field.required and not field.personal],
        )


def _places(course: SharedCourse, here: District, next_door: District) -> Sequence[Place]:
    """None is the district itself."""
    match course.reach:
        case Reach.DISTRICT:
            return []
        case Reach.TWO_DISTRICTS:
            return [here.place, next_door.place]
        case Reach.TOWN | Reach.CITY:
            return [here.place]


def _organs_asked(
    course: SharedCourse, asked: Sequence[catalog.ProposedCollaborator]
) -> tuple[Sequence[str], Sequence[str]]:
    """The first one, where a rule finds it, and the others."""
    organs = [organ.id for proposed in asked for organ in proposed.organs]
    found = 0 if course.by_hand == 0 else 1
    return organs[:found], organs[found:]


async def _organs(client: SubsystemClient, division: str) -> dict[str, Organ]:
    response = await client.catalog.list_organs(catalog.ListOrgansRequest(division=division))
    return {organ.department: organ for organ in response.organs}

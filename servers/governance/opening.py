"""Opening a collaboration (立案): its event, its tasks, and the way of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ronghe.catalog.v1.catalog_pb2 import Organ, Place, Tier
from ronghe.collaboration.v1.collaboration_pb2 import Ask, Brief, Collaboration, Hop, Task
from ronghe.document.v1.document_pb2 import DueDate
from ronghe.event.v1 import event_pb2 as event
from servers.catalog.catalog import Catalog
from servers.governance.routing import Cause, Router
from servers.governance.ways import Way
from servers.kernel.stream import Caused, Facts, Refused, Scope
from servers.law.calendar import Calendar
from servers.law.clock import due_date
from servers.law.days import legal_day, to_date


@dataclass(frozen=True, slots=True)
class Target:
    """One organ to be asked, with its places; no organ where no rule finds one, or the one named is no more."""

    ask: Ask
    organ: Organ | None
    places: Sequence[Place]

    @property
    def division(self) -> str:
        """Where the task has to go."""
        return self.organ.division if self.organ else self.places[0].division


def open_event(asked: Collaboration, scope: Scope, catalog: Catalog, calendar: Calendar, now: Timestamp) -> Facts:
    """The event with one task for each target, then the tasks' ways."""
    router = Router(catalog)
    targets = [target for ask in asked.asks for target in _targets(asked, ask, scope.now, catalog)]
    center = router.coordinating([asked.lead.division, *(target.division for target in targets)])
    event_no = _event_no(asked, scope)
    tasks = [_task(asked, target, scope.new_id(), event_no) for target in targets]
    opened = event.CollaborationOpened(
        occurred_at=now,
        collaboration_id=asked.collaboration_id,
        lead_id=asked.lead.id,
        event_no=event_no,
        center_id=center,
        tier=catalog.centers[center].tier,
        due=_due(asked, scope.now, calendar),
        tasks=tasks,
    )
    ways = [_way(asked, task, target, center, router, now) for task, target in zip(tasks, targets, strict=True)]
    return [opened, *(fact for way in ways for fact in _after_the_opening(*way))]


def _after_the_opening(first: Message, *others: Message) -> Facts:
    """Each task's way is caused by the opening, not by the way of the task before."""
    return [Caused(first, [0]), *others]


def resolve(
    asked: Collaboration, department: str, division: str, tier: "Tier.ValueType", catalog: Catalog, now: datetime
) -> Organ | None:
    """The one organ; None where there is none, several, or the lead itself."""
    try:
        organ = catalog.resolve(department, division, tier, legal_day(now))
    except Refused:
        return None
    return None if organ.id == asked.lead.id else organ


def _targets(asked: Collaboration, ask: Ask, now: datetime, catalog: Catalog) -> Iterator[Target]:
    """Each distinct organ once, with its places."""
    if ask.organ_id in catalog.organs:
        exists = catalog.is_organ(ask.organ_id, legal_day(now))
        yield Target(ask, catalog.organs[ask.organ_id] if exists else None, ask.places)
        return
    found: dict[str, tuple[Organ, list[Place]]] = {}
    for place in ask.places:
        organ = resolve(asked, ask.department, place.division, ask.tier, catalog, now)
        if organ is None:
            yield Target(ask, None, [place])
        else:
            found.setdefault(organ.id, (organ, []))[1].append(place)
    for organ, places in found.values():
        yield Target(ask, organ, places)


def _event_no(asked: Collaboration, scope: Scope) -> str:
    """The district's code, the day, and a number counted in the city, behind "XT" (协同)."""
    day = to_date(legal_day(scope.now))
    number = scope.next_number(f"event/{day:%Y%m%d}")
    return f"XT{asked.lead.division[:6]}{day:%Y%m%d}{number:06}"


def _due(asked: Collaboration, now: datetime, calendar: Calendar) -> DueDate:
    dues = [due_date(legal_day(now), ask.reply_limit, [], calendar) for ask in asked.asks]
    return max(dues, key=lambda due: to_date(due.date))


def _task(asked: Collaboration, target: Target, task_id: str, event_no: str) -> Task:
    ask = target.ask
    return Task(
        task_id=task_id,
        collaboration_id=asked.collaboration_id,
        state=Task.STATE_ROUTING,
        brief=Brief(
            event_no=event_no,
            round=asked.round,
            kind=ask.kind,
            lead=asked.lead,
            item_code=asked.item_code,
            item_name=asked.item_name,
            category=asked.category,
            places=target.places,
            question=ask.question,
            reply_limit=ask.reply_limit,
            silence_policy=ask.silence_policy,
            silence_basis=ask.silence_basis,
            basis=ask.basis,
            required=ask.required,
            form=ask.form,
            personal=ask.personal if ask.HasField("personal") else None,
            rule=ask.rule,
            department=ask.department,
            tier=ask.tier,
        ),
    )


def _way(
    asked: Collaboration, task: Task, target: Target, center: str, router: Router, now: Timestamp
) -> Sequence[Message]:
    end = target.organ.division if target.organ else center
    centers = router.between(asked.lead.division, end)
    way = Way(asked, task, f"organ/{asked.lead.id}", centers, Cause(Hop.REASON_REQUESTED, now))
    if target.organ:
        return way.to_organ(router, target.organ)
    return way.to_officer(router, _why_held(target))


def _why_held(target: Target) -> str:
    if target.ask.organ_id:
        return f"{target.ask.organ_id} does not exist any more"
    tier = Tier.Name(target.ask.tier).removeprefix("TIER_")
    return f"no rule finds one {target.ask.department} at the {tier} tier for {target.division}"

"""`ronghe case locate`: where is this case, and who is holding it? What all subsystems know, in one table."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from clients.cli import language
from clients.cli.acting import Acting
from clients.cli.asking import ask, case_id_of
from clients.cli.command import CaseArgument, command
from clients.cli.language import say
from clients.cli.output import Shown, instant, show, show_json, table
from clients.subsystem import SubsystemClient
from ronghe.case.v1.case_service_pb2 import Delivery, EventLocation, LocateCaseRequest, LocateCaseResponse

app = typer.Typer()

RELAYED = {EventLocation.RELAY_WAITING: "waits", EventLocation.RELAY_DONE: "yes"}


@command(app, "locate")
async def locate_case(acting: Acting, case: CaseArgument) -> None:
    """Show where each event of a case is: in which journals and inboxes since when, relayed to Kafka, acknowledged.

    Every subsystem is asked, and --json is an object by subsystem. One that does not know the case, or does not
    answer, is named on standard error.
    """

    async def locate(client: SubsystemClient) -> LocateCaseResponse:
        return await client.cases.locate_case(LocateCaseRequest(case_id=await case_id_of(client, case)))

    answers = await ask(acting, None, locate)
    if acting.json:
        show_json(answers)
    else:
        show(_shown(answers.values()))


@dataclass(frozen=True, slots=True)
class Place:
    """One place that an event has reached."""

    event_id: str
    event: str
    place: str
    """ "journal <deployment>" or "inbox <receiver>" """
    since: Timestamp
    relayed: str = ""
    acknowledged: str = ""
    held: bool = False
    """It waits here for somebody."""


def places(answers: Collection[LocateCaseResponse]) -> Sequence[Place]:
    """Every place of every event: events in the order in which they were first recorded, each with its way."""
    found = [place for answer in answers for event in answer.events for place in _places(answer.origin, event)]
    first: dict[str, int] = {}
    for place in sorted(found, key=_when):
        first.setdefault(place.event_id, _when(place))
    return sorted(found, key=lambda place: (first[place.event_id], place.event_id, _when(place)))


def _places(origin: str, event: EventLocation) -> Iterator[Place]:
    waits = event.relay == EventLocation.RELAY_WAITING
    relayed = say(RELAYED[event.relay]) if event.relay in RELAYED else ""
    name = say("journal {origin}", origin=origin)
    yield Place(event.event_id, event.type, name, event.recorded_at, relayed=relayed, held=waits)
    for delivery in event.deliveries:
        yield _delivered(event, delivery)


def _delivered(event: EventLocation, delivery: Delivery) -> Place:
    held = not delivery.HasField("acknowledged_at")
    acknowledged = say("no") if held else instant(delivery.acknowledged_at)
    name = say("inbox {receiver}", receiver=delivery.receiver)
    return Place(event.event_id, event.type, name, delivery.since, acknowledged=acknowledged, held=held)


def _when(place: Place) -> int:
    return place.since.ToNanoseconds()


def _shown(answers: Collection[LocateCaseResponse]) -> Shown:
    made, previous, found = table("event", "since", "relayed", "acknowledged"), "", places(answers)
    for place in found:
        if place.event_id != previous:
            made.add_row(language.event(place.event))
        made.add_row(f" {place.place}", instant(place.since), place.relayed, place.acknowledged)
        previous = place.event_id
    return [made, *_holders(found), *_parked(answers)]


def _holders(found: Sequence[Place]) -> Shown:
    held: dict[str, list[str]] = defaultdict(list)
    for place in found:
        if place.held:
            held[place.place].append(language.event(place.event))
    waiting = [say("waiting in {place}: {events}", place=name, events=", ".join(held[name])) for name in held]
    return waiting or [say("nothing of it waits")]


def _parked(answers: Collection[LocateCaseResponse]) -> Shown:
    return [
        say(
            "{origin} has set {count} records of the case aside: its later ones wait behind them",
            origin=answer.origin,
            count=answer.parked,
        )
        for answer in answers
        if answer.parked
    ]

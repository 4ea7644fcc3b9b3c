"""Forged events take no effect: they stand in no journal, and whom they concern sets them aside."""

from collections.abc import Iterator

from google.protobuf.message import DecodeError

from faults.checker.history import Event, History, Kind, Problem
from faults.checker.routes import ASKED, COLLABORATOR, LEAD, is_known


def check(history: History) -> Iterator[Problem]:
    """What was taken in, given out, or passed over without a trace.

    A type that nobody knows yet may be the next version's: it is kept, and nothing follows from it.
    """
    for journal in history.journals.values():
        for row in journal.rows:
            if _is_poison(history, row.event):
                yield _problem(Kind.INVENTED, journal.subsystem, "was taken in", row.event)
    for delivery in history.deliveries:
        if _is_poison(history, delivery.event):
            yield _problem(Kind.INVENTED, delivery.receiver, "was given", delivery.event)
    yield from _passed_over(history)


def _passed_over(history: History) -> Iterator[Problem]:
    """Poison that is on the topic, and of which nobody has a dead letter."""
    letters = {letter for journal in history.journals.values() for letter in journal.letters}
    for record in history.topic:
        event = record.event
        if event.id in history.poison and _concerns_somebody(event) and (event.id, event.case_id) not in letters:
            yield _problem(Kind.LOST, "dead letters", "was set aside nowhere", event)


def _concerns_somebody(event: Event) -> bool:
    """The center takes from the topic whatever leads and collaborators say, a department what is submitted to it.

    Nobody takes in what he seems to have said himself: he knows his own words.
    """
    speaker = event.origin.partition("-")[0]
    if event.name == "Submitted":
        return speaker != "department" and _is_for_a_department(event)
    return speaker != "governance" and event.name in LEAD | ASKED | COLLABORATOR


def _is_for_a_department(event: Event) -> bool:
    """Also what cannot be read: it might be."""
    try:
        return str(event.fact.application.lead.deployment).startswith("department-")
    except DecodeError:
        return True


def _is_poison(history: History, event: Event) -> bool:
    return event.id in history.poison and is_known(event.name)


def _problem(kind: Kind, where: str, what: str, event: Event) -> Problem:
    return Problem(kind, where, f"forged {event.name} {event.id} of {event.origin!r} {what}", event.case_id)

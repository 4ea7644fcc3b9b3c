"""Ids that derive from a request: whoever decides it again, whenever that is, makes the same ones.

So the events of a request are found by the request alone, also in a journal that was learned again from the topic: no
envelope has to carry it. The ids begin as the request's own id does. In a UUIDv7 that is its time, so that what is made
together lies together in an index.
"""

import hashlib

BEGINNING = 13
"""So many characters of a UUID's text are its first 48 bits."""
VERSION = 14
PLACE = slice(15, 18)
"""The 12 bits behind the version."""
VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


def derived(request_id: str, asked: str, version: int, place: str = "") -> str:
    """The UUID of this version whose other bits come from the request's id, and from the text of who asked for what."""
    digits = hashlib.sha256(asked.encode()).hexdigest()
    beginning = request_id[:BEGINNING].lower()
    return f"{beginning}-{version}{place or digits[:3]}-{VARIANTS[digits[3]]}{digits[4:7]}-{digits[7:19]}"


def first_event(caller: str, command: str, request_id: str) -> str:
    """Id of the first event that a command leads to, a UUIDv8 (RFC 9562, 5.8); it stands for the request as well."""
    return derived(request_id, f"{caller} {command} {request_id}", 8, "000")


def event_at(first: str, place: int) -> str:
    """Id of an event of a request: 0 is the first one's place."""
    return f"{first[: PLACE.start]}{place:03x}{first[PLACE.stop :]}"


def request_of(event_id: str) -> str | None:
    """The first event of the request that led to an event of this deployment; None where it was none of a request."""
    return event_at(event_id, 0) if event_id[VERSION] == "8" else None

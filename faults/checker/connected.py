"""Each case is one connected trace. A span that died with its process counts where the journal can fill it in.

An event's time is that of its subsystem's clock, which operators advance; a span's and a death's are the machine's.
When an event without a span was follows from the spans before and after it in the journal.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from math import inf
from uuid import UUID

from faults.checker.history import Event, History, Kind, Problem, Span

NEAR_SECONDS = 10.0
DEATH = b"supervisor.restarts"
"""What the mesh logs where a process has ended, before it starts it again."""
KILLED = "log/mesh.log.killed"
"""Where the campaign notes deaths that the mesh cannot: it died itself."""
HOPS = ("event", "send")
MOST_UNEXPLAINED = 0.05
"""Of a subsystem's events. On a full disk, where spans are lost with nobody's death, it was 0.004."""
MICROSECONDS = 1_000_000

Exported = tuple[float, float]
"""Of an event with a span: when it was recorded, by its subsystem's clock, and when that span ended."""


def check(history: History) -> Iterator[Problem]:
    """Every parent is there, exported or derived; the one root is the submission. Every subsystem exports its spans."""
    if history.whole:
        yield from _exported(history)
    exported: dict[str, list[Span]] = defaultdict(list)
    for span in history.spans:
        exported[span.trace].append(span)
    forged = {span_id(each, "send") for each in history.poison if _is_uuid(each)}  # whoever sent it exports nothing
    for case_id, events in history.by_case.items():
        yield from _case(case_id, events, exported[UUID(case_id).hex], forged)


def _case(case_id: str, events: Sequence[Event], spans: Sequence[Span], forged: Set[str]) -> Iterator[Problem]:
    ids = {event.id for event in events}
    for event in events:
        if not event.causes and event.name != "Submitted":
            yield Problem(Kind.DISCONNECTED, "trace", f"{event.name} has no cause", case_id)
        for cause in event.causes:
            if cause not in ids:
                yield Problem(Kind.DISCONNECTED, "trace", f"the cause {cause} of {event.name} is unknown", case_id)
    known = {span.id for span in spans} | {span_id(each, hop) for each in ids for hop in ("event", "send")} | forged
    for span in spans:
        if span.parent and span.parent not in known:
            yield Problem(Kind.DISCONNECTED, "trace", f"the parent of {span.name} is missing", case_id)
    # Where the submission's own span was lost, the journal fills it in.
    roots = {span.id for span in spans if not span.parent}
    roots |= {span_id(event.id, "event") for event in events if event.name == "Submitted"}
    if len(roots) != 1:
        yield Problem(Kind.DISCONNECTED, "trace", f"{len(roots)} roots", case_id)


def _exported(history: History) -> Iterator[Problem]:
    known, unexplained = {span.id for span in history.spans}, _unexplained(history)
    for name, events in _of_each(history).items():
        for hop in HOPS:
            if not any(span_id(event.id, hop) in known for event in events):
                yield Problem(Kind.DISCONNECTED, name, f"no {hop} span was exported")
        if unexplained[name] > MOST_UNEXPLAINED * len(events):
            what = f"{unexplained[name]} of {len(events)} events have no span, and no death of a process explains it"
            yield Problem(Kind.DISCONNECTED, name, what)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def filled(history: History) -> int:
    """How many events have no exported span, and are filled in from the journal; none is made of a head."""
    known = {span.id for span in history.spans}
    return sum(span_id(event.id, "event") not in known for events in history.by_case.values() for event in events)


def unexplained(history: History) -> int:
    """How many of them no death of their process explains: none was within NEAR_SECONDS.

    They were lost otherwise: a store was too small, a disk full.
    """
    return _unexplained(history).total()


def _unexplained(history: History) -> Counter[str]:
    """By subsystem."""
    ended, deaths = {span.id: span.ended_at for span in history.spans}, _deaths(history)
    return Counter(
        name
        for name, events in _of_each(history).items()
        for moments in _unseen(events, ended)
        if not any(abs(death - moment) <= NEAR_SECONDS for death in deaths[name] for moment in moments)
    )


def _of_each(history: History) -> Mapping[str, Sequence[Event]]:
    """The events of cases that each subsystem has recorded, in their order."""
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for event in history.own.values():
        if not event.is_head:
            found[_process(event.origin)].append(event)
    return found


def _unseen(events: Sequence[Event], ended: Mapping[str, float]) -> Iterator[Collection[float]]:
    """Of each event without a span: when it may have been, by the machine's clock, seconds since 1970."""
    spans = [ended.get(span_id(event.id, "event")) for event in events]
    exported = [
        None if at is None else (event.recorded_at / MICROSECONDS, at) for event, at in zip(events, spans, strict=True)
    ]
    earlier, later = _nearest(exported), reversed(list(_nearest(reversed(exported))))
    for event, span, before, after in zip(events, spans, earlier, later, strict=True):
        if span is None:
            yield _moments(event.recorded_at / MICROSECONDS, before, after)


def _nearest(exported: Iterable[Exported | None]) -> Iterator[Exported | None]:
    """At each place the last one that there was."""
    last = None
    for each in exported:
        last = each or last
        yield last


def _moments(recorded: float, before: Exported | None, after: Exported | None) -> Collection[float]:
    """By the clock of either neighbor, which may have been advanced between them; and between the two."""
    first, last = before[1] if before else -inf, after[1] if after else inf
    neighbors = [each for each in (before, after) if each]
    return [min(max(recorded + at - by, first), last) for by, at in neighbors] or [recorded]


def _deaths(history: History) -> defaultdict[str, list[float]]:
    """Subsystem -> when one of its processes ended by itself or was killed, seconds since 1970."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    logs = (content for name, content in history.files.items() if name.startswith("log/mesh.log"))
    for line in (line for content in logs for line in content.splitlines() if DEATH in line):
        try:
            entry = json.loads(line)
        except ValueError:  # torn by the death of the mesh
            continue
        found[_process(entry["child"])].append(datetime.fromisoformat(entry["timestamp"]).timestamp())
    return found


def _process(name: str) -> str:
    """The subsystem of a deployment, or of one of its replicas."""
    return name.partition("-")[0]


def span_id(event_id: str, hop: str) -> str:
    """The documented derivation: the first 8 bytes of SHA-256 over the hop's name and the event's id."""
    return hashlib.sha256(hop.encode() + UUID(event_id).bytes).digest()[:8].hex()

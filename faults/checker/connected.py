"""Each case is one connected trace. A span that died with its process counts where the journal can fill it in."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from datetime import datetime
from uuid import UUID

from faults.checker.history import Event, History, Kind, Problem, Span

NEAR_SECONDS = 10.0
DEATH = b"supervisor.restarts"
"""What the mesh logs where a process has ended, before it starts it again."""


def check(history: History) -> Iterator[Problem]:
    """Every parent is there, exported or derived; the one root is the submission. A mesh has exported something."""
    if history.whole and history.by_case and not history.spans:
        yield Problem(Kind.DISCONNECTED, "trace", "no span was exported")
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


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def filled(history: History) -> int:
    """How many events have no exported span, and are filled in from the journal; none is made of a head."""
    return len(_filled(history))


def unexplained(history: History) -> int:
    """How many of them no death of their process explains, by the mesh's log: none followed within NEAR_SECONDS.

    They were lost otherwise: a store was too small, a disk full. Where operators have let days pass an event's time is
    not the log's, and a mesh that was killed as a whole notes no death: so it is no rule.
    """
    deaths = _deaths(history)
    return sum(
        not any(0 <= death - event.recorded_at / 1_000_000 <= NEAR_SECONDS for death in deaths[_process(event.origin)])
        for event in _filled(history)
    )


def _filled(history: History) -> Sequence[Event]:
    known = {span.id for span in history.spans}
    return [event for events in history.by_case.values() for event in events if span_id(event.id, "event") not in known]


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

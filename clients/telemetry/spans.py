"""Finished spans as lean records, handed to one thread that exports them."""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from clients.telemetry.ids import SpanContext, SpanKind

log = structlog.get_logger()

MAX_QUEUED = 50_000
BATCH = 2_000
EXPORT_SECONDS = 0.5
FLUSH_SECONDS = 5.0
# The trace id of a case is a UUIDv7: its first bits are the time, its low 56 bits are chance.
CHANCE_BITS = 56


@dataclass(frozen=True, slots=True)
class Span:
    """One finished span; times in nanoseconds since 1970."""

    name: str
    context: SpanContext
    parent: int | None
    kind: SpanKind
    start_ns: int
    end_ns: int
    attributes: Mapping[str, str | int | float | bool]
    links: Sequence[SpanContext]
    error: str | None
    service: str = ""


class Exporter(Protocol):
    """Where spans go in the end."""

    def export(self, spans: Sequence[Span]) -> None:
        """Write them; raises OSError when that is not possible now, and they are lost."""

    def close(self) -> None:
        """Close; an export in progress, on another thread, fails soon."""


class Sampler:
    """Keeps a share of the traces: the same ones in every process."""

    def __init__(self, ratio: float) -> None:
        self._bound = round(ratio * (1 << CHANCE_BITS))

    def keeps(self, trace_id: int) -> bool:
        """Whether this trace is kept."""
        return trace_id & ((1 << CHANCE_BITS) - 1) < self._bound


class SpanQueue:
    """Takes spans from any thread without blocking; drops and counts them when it is full."""

    def __init__(self, service: str, sampler: Sampler, exporter: Exporter) -> None:
        self._service = service
        self._sampler = sampler
        self._exporter = exporter
        self._queue: deque[Span] = deque()
        self._counting = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self.dropped = 0

    def start(self) -> None:
        """Begin to export."""
        self._thread.start()

    def record(
        self,
        name: str,
        context: SpanContext,
        *,
        parent: int | None,
        kind: SpanKind,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, str | int | float | bool],
        links: Sequence[SpanContext] = (),
        error: str | None = None,
    ) -> None:
        """Hand a finished span over."""
        if not self._sampler.keeps(context.trace_id):
            return
        if len(self._queue) >= MAX_QUEUED:
            self._drop(1)
            return
        self._queue.append(Span(name, context, parent, kind, start_ns, end_ns, attributes, links, error, self._service))

    def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Export what waits, for so long at most; what is left then is dropped and counted."""
        self._stopping.set()
        self._thread.join(seconds)
        self._exporter.close()
        self._thread.join(1)

    def _run(self) -> None:
        while not self._stopping.wait(EXPORT_SECONDS):
            self._export()
        self._export()

    def _export(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            try:
                self._exporter.export(batch)
            except Exception as error:  # whatever is wrong with these, the next ones shall not be lost with them
                self._drop(len(batch))
                log.warning("spans.lost", count=len(batch), error=type(error).__name__)

    def _drop(self, count: int) -> None:
        with self._counting:
            self.dropped += count

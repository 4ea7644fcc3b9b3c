"""Finished spans as lean records, handed to one thread that exports them."""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from clients.telemetry.ids import SpanContext, SpanKind

log = structlog.get_logger()

MAX_QUEUED = 50_000
BATCH = 2_000
EXPORT_SECONDS = 0.5
FLUSH_SECONDS = 5.0
# The trace id of a case is a UUIDv7: its first bits are the time. Of its low 56 bits only the last 32 are chance alone:
# within a millisecond the ones before them count up, so cases of one commit would all be kept or all be left out.
# Multiplied by an odd number (2^56 over the golden ratio), the chance reaches the bits that decide.
SAMPLED_BITS = 56
SPREAD = 0x9E3779B97F4A7D
MASK = (1 << SAMPLED_BITS) - 1


class Span(NamedTuple):
    """One finished span; times in nanoseconds since 1970. A tuple: twice as fast to make as a frozen dataclass."""

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
    """Keeps a share of the traces, by the low 56 bits of their ids: the same ones in every process."""

    def __init__(self, ratio: float) -> None:
        self._bound = round(ratio * (1 << SAMPLED_BITS))

    def keeps(self, trace_id: int) -> bool:
        """Whether this trace is kept."""
        return trace_id * SPREAD & MASK < self._bound


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

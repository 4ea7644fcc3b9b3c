"""The telemetry of one process, from start to end."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from clients.telemetry.metrics import Metrics
from clients.telemetry.spans import Exporter, Sampler, SpanQueue
from clients.telemetry.store import STORE_BYTES, FileExporter


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where a process's spans and figures go."""

    spans: SpanQueue
    metrics: Metrics


@asynccontextmanager
async def telemetry(
    service: str, spans_folder: Path, sampling: float = 1.0, process: str = "", store_bytes: int = STORE_BYTES
) -> AsyncIterator[Telemetry]:
    """To the collector of the standard OTEL_EXPORTER_OTLP_ variables; without one, spans go to the folder.

    `process` tells a service's replicas apart there, and each keeps so many bytes at most.
    """
    exporter = _exporter(service, spans_folder, process or service, store_bytes)
    spans = SpanQueue(service, Sampler(sampling), exporter)
    metrics = Metrics(service, otlp=_has_collector("METRICS"))
    metrics.gauge("ronghe.spans.dropped", "{span}", "spans dropped since start", lambda: {"": spans.dropped})
    spans.start()
    try:
        yield Telemetry(spans, metrics)
    finally:
        await asyncio.gather(asyncio.to_thread(spans.close), asyncio.to_thread(metrics.close))


def _exporter(service: str, folder: Path, process: str, store_bytes: int) -> Exporter:
    if _has_collector("TRACES"):
        from clients.telemetry.otlp import OtlpExporter

        return OtlpExporter(service)
    return FileExporter(folder, process, store_bytes)


def _has_collector(signal: str) -> bool:
    """Whether one endpoint is set for all signals, or one for this signal alone."""
    return any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in ("ENDPOINT", f"{signal}_ENDPOINT"))

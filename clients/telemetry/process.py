"""The telemetry of one process, from start to end."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from clients.telemetry.metrics import Metrics
from clients.telemetry.spans import Exporter, Sampler, SpanQueue
from clients.telemetry.store import FileExporter

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where a process's spans and figures go."""

    spans: SpanQueue
    metrics: Metrics


@asynccontextmanager
async def telemetry(service: str, spans_folder: Path, sampling: float = 1.0) -> AsyncIterator[Telemetry]:
    """To the collector of the OTEL_EXPORTER_OTLP_ENDPOINT variable; without one, spans go to the folder."""
    otlp = any(os.environ.get(name) for name in ENDPOINTS)
    spans = SpanQueue(service, Sampler(sampling), _exporter(service, spans_folder, otlp=otlp))
    metrics = Metrics(service, otlp=otlp)
    metrics.gauge("ronghe.spans.dropped", "{span}", "spans dropped since start", lambda: {"": spans.dropped})
    spans.start()
    try:
        yield Telemetry(spans, metrics)
    finally:
        await asyncio.to_thread(spans.close)
        await asyncio.to_thread(metrics.close)


def _exporter(service: str, folder: Path, *, otlp: bool) -> Exporter:
    if otlp:
        from clients.telemetry.otlp import OtlpExporter

        return OtlpExporter(service)
    return FileExporter(folder, service)

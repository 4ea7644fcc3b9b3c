"""Metrics of a process: named once, sent by OTLP where that is configured, readable in the process always."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricReader, NumberDataPoint
from opentelemetry.sdk.resources import Resource

EXPORT_MS = 10_000
FLUSH_MS = 5_000
# The SDK's own buckets are meant for milliseconds; these are the ones the conventions give for seconds.
CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
COMMIT_UNITS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """What is counted. Attribute values are names of methods, codes, kinds and origins: never data of a case."""

    def __init__(self, service: str, *, otlp: bool) -> None:
        self._reader = InMemoryMetricReader()
        readers: list[MetricReader] = [self._reader, *([_otlp_reader()] if otlp else [])]
        resource = Resource.create({"service.name": service, "service.namespace": "ronghe"})
        self._provider = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._meter = self._provider.get_meter("ronghe")
        self._calls = self._meter.create_histogram(
            "rpc.server.call.duration",
            "s",
            "calls, by method, code and caller",
            explicit_bucket_boundaries_advisory=CALL_SECONDS,
        )
        self._events = self._meter.create_counter("ronghe.events", "{event}", "own events, by type and outcome")
        self._batches = self._meter.create_histogram(
            "ronghe.commit.units", "{unit}", "units of a commit", explicit_bucket_boundaries_advisory=COMMIT_UNITS
        )

    def call(self, method: str, kind: str, code: str, seconds: float) -> None:
        """A call has ended."""
        attributes = {
            "rpc.system.name": "grpc",
            "rpc.method": method,
            "rpc.response.status_code": code,
            "ronghe.caller.kind": kind,
        }
        self._calls.record(seconds, attributes)

    def committed(self, units: int, events: Iterable[tuple[str, str]]) -> None:
        """A transaction has committed own events: of each its type, and the outcome where it is a decision."""
        self._batches.record(units)
        for (name, outcome), count in Counter(events).items():
            attributes = {"ronghe.event.type": name, "ronghe.outcome": outcome}
            self._events.add(count, {key: value for key, value in attributes.items() if value})

    def gauge(self, name: str, unit: str, description: str, read: Callable[[], Mapping[str, float]]) -> None:
        """A figure that is looked up when metrics are collected, by label; "" for the only one."""

        def observe(options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, {"ronghe.of": label} if label else {}) for label, value in read().items()]

        self._meter.create_observable_gauge(name, [observe], unit, description)

    def snapshot(self) -> dict[str, float]:
        """The figures now, as `name{label=value}`; of histograms the count."""
        data = self._reader.get_metrics_data()
        figures: dict[str, float] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        labels = ",".join(f"{key}={value!s}" for key, value in sorted((point.attributes or {}).items()))
                        value = point.value if isinstance(point, NumberDataPoint) else point.count
                        figures[f"{metric.name}{{{labels}}}" if labels else metric.name] = float(value)
        return figures

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown(FLUSH_MS)


def _otlp_reader() -> MetricReader:
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    return PeriodicExportingMetricReader(OTLPMetricExporter(), EXPORT_MS)

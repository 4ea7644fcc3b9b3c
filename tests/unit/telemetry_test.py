import io
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
import uuid_utils
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2
from rich.console import Console

from clients.telemetry import (
    SpanContext,
    event_span_id,
    format_traceparent,
    hop_span_id,
    parse_traceparent,
    trace_id,
)
from clients.telemetry.metrics import CALL_SECONDS, Metrics
from clients.telemetry.otlp import OtlpExporter
from clients.telemetry.process import telemetry
from clients.telemetry.spans import MAX_QUEUED, Sampler, Span, SpanQueue
from clients.telemetry.store import LEAST_STORE_BYTES, FileExporter, read_trace
from clients.telemetry.tree import faults, print_tree
from servers.settings import SubsystemSettings
from tests.collector import Collector, collecting

TRACE = trace_id("019ab3f0-7c1e-7d2a-9b4c-0123456789ab")
OTHER_TRACE = TRACE + 1
IDS = 20_000
KIND = trace_pb2.Span.SpanKind
SERVICE = {"service.name": "intake-01", "service.namespace": "ronghe"}


def span(span_id: int, parent: int | None = None, *, trace: int = TRACE, **changes: Any) -> Span:
    values: dict[str, Any] = {
        "name": "ronghe.event.v1.Accepted",
        "kind": "internal",
        "start_ns": span_id * 10**6,
        "attributes": {},
        "links": [],
        "error": None,
        "service": "intake-01",
    } | changes
    values.setdefault("end_ns", values["start_ns"] + 10**6)
    return Span(context=SpanContext(trace, span_id), parent=parent, **values)


def record(queue: SpanQueue, found: Span) -> None:
    queue.record(
        found.name,
        found.context,
        parent=found.parent,
        kind=found.kind,
        start_ns=found.start_ns,
        end_ns=found.end_ns,
        attributes=found.attributes,
        links=found.links,
        error=found.error,
    )


@dataclass
class Kept:
    """An exporter that keeps the spans, but fails on the names it is told to."""

    bad: frozenset[str] = frozenset()
    spans: list[Span] = field(default_factory=list)

    def export(self, spans: Sequence[Span]) -> None:
        if any(span.name in self.bad for span in spans):
            raise TypeError("not a name")
        self.spans += spans

    def close(self) -> None:
        pass


# Ids


def test_the_trace_of_a_case_has_the_digits_of_the_case_id() -> None:
    assert f"{TRACE:032x}" == "019ab3f07c1e7d2a9b4c0123456789ab"


def test_span_ids_are_derived_from_the_event_and_the_hop() -> None:
    first, second = str(uuid4()), str(uuid4())
    ids = {event_span_id(first), event_span_id(second), hop_span_id(first, "send"), hop_span_id(second, "send")}
    assert len(ids) == 4
    assert all(0 < found < 1 << 64 for found in ids)
    assert event_span_id("00000000-0000-0000-0000-000000000001") == 0x8847EB8475FCEE86


def test_a_traceparent_carries_the_span() -> None:
    context = SpanContext(TRACE, 0xABC)
    assert format_traceparent(context) == "00-019ab3f07c1e7d2a9b4c0123456789ab-0000000000000abc-01"
    assert parse_traceparent(format_traceparent(context)) == context


@pytest.mark.parametrize("text", ["", "00-1-2-01", f"00-{'0' * 32}-{'1' * 16}-01", f"00-{'x' * 32}-{'1' * 16}-01"])
def test_what_is_no_traceparent_gives_none(text: str) -> None:
    assert parse_traceparent(text) is None


# Sampling


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5])
def test_the_share_of_cases_that_is_asked_for_is_kept_of_a_burst_too(ratio: float) -> None:
    sampler = Sampler(ratio)
    kept = sum(sampler.keeps(trace_id(str(uuid_utils.uuid7()))) for _ in range(IDS))
    five_deviations = 5 * (IDS * ratio * (1 - ratio)) ** 0.5
    assert abs(kept - IDS * ratio) < five_deviations


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5])
def test_what_is_kept_is_decided_by_the_low_56_bits(ratio: float) -> None:
    ids = [trace_id(str(uuid_utils.uuid7())) for _ in range(1_000)]
    assert all(Sampler(ratio).keeps(found) == Sampler(ratio).keeps(found % (1 << 56)) for found in ids)


def test_all_or_nothing_can_be_kept() -> None:
    ids = [trace_id(str(uuid_utils.uuid7())) for _ in range(100)] + [(1 << 128) - 1, 0]
    assert all(Sampler(1.0).keeps(found) for found in ids)
    assert not any(Sampler(0.0).keeps(found) for found in ids)


def test_a_process_that_keeps_more_keeps_what_the_others_keep() -> None:
    few, many = Sampler(0.1), Sampler(0.5)
    ids = [trace_id(str(uuid_utils.uuid7())) for _ in range(1_000)]
    assert all(many.keeps(found) for found in ids if few.keeps(found))


# Queue


async def test_what_was_recorded_before_the_end_is_stored(tmp_path: Path) -> None:
    async with telemetry("intake-01", tmp_path) as observed:
        record(observed.spans, span(1))
    assert read_trace(tmp_path, TRACE) == [span(1)]


async def test_traces_that_are_not_sampled_are_not_stored(tmp_path: Path) -> None:
    async with telemetry("intake-01", tmp_path, sampling=0.0) as observed:
        record(observed.spans, span(1))
    assert (read_trace(tmp_path, TRACE), observed.spans.dropped) == ([], 0)


def test_a_full_queue_drops_and_counts() -> None:
    kept = Kept()
    queue = SpanQueue("intake-01", Sampler(1.0), kept)
    for _ in range(MAX_QUEUED + 3):
        record(queue, span(1))
    queue.start()
    queue.close()
    assert (len(kept.spans), queue.dropped) == (MAX_QUEUED, 3)


def test_spans_that_cannot_be_exported_are_counted_and_later_ones_go_out() -> None:
    kept = Kept(bad=frozenset(["bad"]))
    queue = SpanQueue("intake-01", Sampler(1.0), kept)
    queue.start()
    record(queue, span(1, name="bad"))
    until(lambda: queue.dropped == 1)
    record(queue, span(2))
    queue.close()
    assert [found.context.span_id for found in kept.spans] == [2]


def test_the_end_does_not_wait_for_a_collector_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        queue = SpanQueue("intake-01", Sampler(1.0), OtlpExporter("intake-01"))
        queue.start()
        record(queue, span(1))
        began = time.monotonic()
        queue.close(0.5)
    assert time.monotonic() - began < 3
    assert queue.dropped == 1


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


# Local store


@contextmanager
def store(folder: Path, service: str = "intake-01", store_bytes: int = 1 << 20) -> Iterator[FileExporter]:
    exporter = FileExporter(folder, service, store_bytes)
    try:
        yield exporter
    finally:
        exporter.close()


def test_a_trace_is_read_from_the_files_of_all_services(tmp_path: Path) -> None:
    sent = span(
        2,
        1,
        name="send ronghe.cases.v1",
        kind="producer",
        attributes={"messaging.kafka.offset": 7, "messaging.system": "kafka"},
        links=[SpanContext(OTHER_TRACE, 9)],
        error="TIMEOUT",
    )
    taken = span(3, 2, service="governance-01")
    with store(tmp_path) as intake, store(tmp_path, "governance-01") as governance:
        governance.export([taken])
        intake.export([sent, span(4, trace=OTHER_TRACE, links=[SpanContext(TRACE, 2)])])
    assert read_trace(tmp_path, TRACE) == [sent, taken]


def test_a_line_of_the_store_is_one_object(tmp_path: Path) -> None:
    with store(tmp_path) as exporter:
        exporter.export([span(0xAB, 1)])
    assert [orjson.loads(line) for line in _lines(tmp_path)] == [
        {
            "trace_id": f"{TRACE:032x}",
            "span_id": "00000000000000ab",
            "parent": "0000000000000001",
            "name": "ronghe.event.v1.Accepted",
            "kind": "internal",
            "start_ns": 171_000_000,
            "end_ns": 172_000_000,
            "attributes": {},
            "links": [],
            "error": None,
            "service": "intake-01",
        }
    ]


def test_a_torn_line_is_passed_over_and_costs_no_other(tmp_path: Path) -> None:
    with store(tmp_path) as killed:
        killed.export([span(1), span(2)])
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-30])
    assert _ids(tmp_path) == [1]

    with store(tmp_path) as restarted:
        restarted.export([span(3)])
    assert _ids(tmp_path) == [1, 3]


def test_the_oldest_spans_go_when_the_store_is_full(tmp_path: Path) -> None:
    bound = 40_000
    with store(tmp_path, "governance-01", bound) as other, store(tmp_path, store_bytes=bound) as exporter:
        other.export([span(1_000)])
        for number in range(1, 401):
            exporter.export([span(number)])
            assert sum(path.stat().st_size for path in tmp_path.glob("intake-01.*")) <= bound
    ids = _ids(tmp_path)
    assert ids == [*range(ids[0], 401), 1_000]
    assert 50 < len(ids) < 400


async def test_a_process_keeps_as_many_spans_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RONGHE_SPAN_BYTES", str(LEAST_STORE_BYTES))
    settings = SubsystemSettings(
        origin="intake-01", database_url="sqlite://", pki=tmp_path, secret=tmp_path, spans=tmp_path / "spans"
    )
    assert settings.span_bytes == LEAST_STORE_BYTES
    async with telemetry(settings.origin, settings.spans, store_bytes=settings.span_bytes) as observed:
        for number in range(1, 41_001):
            observed.spans.record(
                "x" * 500,
                SpanContext(TRACE, number),
                parent=None,
                kind="internal",
                start_ns=0,
                end_ns=1,
                attributes={},
            )
    sizes = [path.stat().st_size for path in settings.spans.iterdir()]
    assert LEAST_STORE_BYTES // 2 < sum(sizes) <= LEAST_STORE_BYTES


def test_restarts_do_not_push_spans_out_of_the_store(tmp_path: Path) -> None:
    for number in range(1, 31):
        with store(tmp_path) as exporter:
            exporter.export([span(number)])
    assert _ids(tmp_path) == [*range(1, 31)]


def test_a_store_that_is_not_there_has_no_spans(tmp_path: Path) -> None:
    assert read_trace(tmp_path / "spans", TRACE) == []


def _ids(folder: Path) -> list[int]:
    return [found.context.span_id for found in read_trace(folder, TRACE)]


def _lines(folder: Path) -> list[bytes]:
    return [line for path in folder.iterdir() for line in path.read_bytes().splitlines()]


# Tree


def test_a_whole_trace_has_no_faults() -> None:
    assert faults([span(1), span(2, 1), span(3, 2)]) == []


@pytest.mark.parametrize(
    ("spans", "found"),
    [
        ([], ["0 roots"]),
        ([span(1), span(2)], ["2 roots"]),
        ([span(1), span(2, 7, name="send")], ["send: the parent is missing"]),
        ([span(1, name="back", end_ns=0)], ["back: ends before it starts"]),
    ],
)
def test_faults_of_a_trace_are_named(spans: Sequence[Span], found: Sequence[str]) -> None:
    assert faults(spans) == found


def test_a_trace_is_printed_as_a_tree_with_relative_times() -> None:
    printed = _printed([span(1, name="ronghe.event.v1.Submitted"), span(3, 1, name="send", error="[/no]"), span(4, 3)])
    assert printed == [
        "Submitted intake-01 +0.0 ms, 1.0 ms",
        "└── send intake-01 +2.0 ms, 1.0 ms [/no]",
        "    └── Accepted intake-01 +3.0 ms, 1.0 ms",
    ]


def test_a_span_without_its_parent_is_printed_and_said_to_be_so() -> None:
    assert _printed([span(1), span(2, 9)]) == [
        "Accepted intake-01 +0.0 ms, 1.0 ms",
        "Accepted intake-01 +1.0 ms, 1.0 ms (parent missing)",
    ]


def test_what_was_sent_twice_is_printed_twice_and_its_consequences_once() -> None:
    again = span(2, 1, name="send", start_ns=9 * 10**6)
    assert [line.split()[1:3] for line in _printed([span(1), span(2, 1, name="send"), span(3, 2), again])[1:]] == [
        ["send", "intake-01"],
        ["└──", "Accepted"],
        ["send", "intake-01"],
    ]


def _printed(spans: Sequence[Span]) -> list[str]:
    screen = io.StringIO()
    print_tree(Console(file=screen, width=100), spans)
    return [line.rstrip() for line in screen.getvalue().splitlines()]


# A collector that records what arrives


@pytest.fixture
def endpoint() -> Iterator[tuple[str, Collector]]:
    with collecting() as collector:
        yield collector.url, collector


@pytest.fixture
def collector(endpoint: tuple[str, Collector], monkeypatch: pytest.MonkeyPatch) -> Collector:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint[0])
    return endpoint[1]


async def test_spans_arrive_at_the_collector_in_the_form_of_the_conventions(
    tmp_path: Path, collector: Collector
) -> None:
    sent = span(
        2,
        1,
        name="send ronghe.cases.v1",
        kind="producer",
        attributes={"messaging.system": "kafka", "messaging.kafka.offset": 7},
        links=[SpanContext(OTHER_TRACE, 9)],
        error="TIMEOUT",
    )
    async with telemetry("intake-01", tmp_path) as observed:
        record(observed.spans, span(1))
        record(observed.spans, sent)

    (resource,) = (resource for request in collector.traces for resource in request.resource_spans)
    (scope,) = resource.scope_spans
    root, child = scope.spans
    assert _values(resource.resource.attributes).items() >= SERVICE.items()
    assert scope.scope.name == "ronghe"
    assert (root.name, root.kind, root.parent_span_id) == ("ronghe.event.v1.Accepted", KIND.SPAN_KIND_INTERNAL, b"")
    assert root.status.code == trace_pb2.Status.STATUS_CODE_UNSET
    assert (child.name, child.kind) == ("send ronghe.cases.v1", KIND.SPAN_KIND_PRODUCER)
    assert (child.trace_id, child.span_id) == (TRACE.to_bytes(16), (2).to_bytes(8))
    assert child.parent_span_id == root.span_id == (1).to_bytes(8)
    assert (child.start_time_unix_nano, child.end_time_unix_nano) == (sent.start_ns, sent.end_ns)
    assert child.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    assert _values(child.attributes) == {
        "messaging.system": "kafka",
        "messaging.kafka.offset": 7,
        "error.type": "TIMEOUT",
    }
    assert [(link.trace_id, link.span_id) for link in child.links] == [(OTHER_TRACE.to_bytes(16), (9).to_bytes(8))]
    assert read_trace(tmp_path, TRACE) == []


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("internal", KIND.SPAN_KIND_INTERNAL),
        ("server", KIND.SPAN_KIND_SERVER),
        ("client", KIND.SPAN_KIND_CLIENT),
        ("producer", KIND.SPAN_KIND_PRODUCER),
        ("consumer", KIND.SPAN_KIND_CONSUMER),
    ],
)
def test_a_span_keeps_its_kind_on_the_way(collector: Collector, kind: str, number: int) -> None:
    exporter = OtlpExporter("intake-01")
    exporter.export([span(1, kind=kind)])
    exporter.close()
    assert collector.traces[0].resource_spans[0].scope_spans[0].spans[0].kind == number


async def test_an_endpoint_for_traces_alone_starts_no_export_of_metrics(
    tmp_path: Path,
    endpoint: tuple[str, Collector],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint[0])
    async with telemetry("intake-01", tmp_path) as observed:
        record(observed.spans, span(1))
    assert len(endpoint[1].traces) == 1
    assert caplog.messages == []  # an export to the default endpoint, where nobody listens, would have been logged


async def test_an_endpoint_for_metrics_alone_leaves_the_spans_in_the_folder(
    tmp_path: Path, endpoint: tuple[str, Collector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint[0])
    async with telemetry("intake-01", tmp_path) as observed:
        record(observed.spans, span(1))
    assert (len(endpoint[1].metrics), endpoint[1].traces) == (1, [])
    assert read_trace(tmp_path, TRACE) == [span(1)]


async def test_metrics_arrive_at_the_collector_with_buckets_of_seconds(tmp_path: Path, collector: Collector) -> None:
    async with telemetry("intake-01", tmp_path) as observed:
        observed.metrics.call("ronghe.intake.v1.IntakeService/SubmitApplication", "terminal", "OK", 0.02)

    found = {
        metric.name: metric
        for resource in collector.metrics[-1].resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    (point,) = found["rpc.server.call.duration"].histogram.data_points
    assert tuple(point.explicit_bounds) == CALL_SECONDS
    assert list(point.bucket_counts).index(1) == CALL_SECONDS.index(0.025)
    assert _values(point.attributes) == {
        "rpc.system.name": "grpc",
        "rpc.method": "ronghe.intake.v1.IntakeService/SubmitApplication",
        "rpc.response.status_code": "OK",
        "ronghe.caller.kind": "terminal",
    }
    assert found["ronghe.spans.dropped"].gauge.data_points[0].as_int == 0


def _values(attributes: Sequence[KeyValue]) -> dict[str, Any]:
    return {entry.key: getattr(entry.value, entry.value.WhichOneof("value") or "") for entry in attributes}


# Metrics


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    found = Metrics("intake-01", otlp=False)
    yield found
    found.close()


def test_calls_and_outcomes_are_counted(metrics: Metrics) -> None:
    for code in ("OK", "OK", "NOT_FOUND"):
        metrics.call("ronghe.case.v1.CaseService/GetCase", "organ", code, 0.001)
    decided, closed = "ronghe.event.v1.Decided", "ronghe.event.v1.Closed"
    metrics.committed(4, [(decided, "GRANTED"), (closed, ""), (decided, "DENIED"), (decided, "GRANTED")])

    figures = metrics.snapshot()
    called = "ronghe.caller.kind=organ,rpc.method=ronghe.case.v1.CaseService/GetCase,rpc.response.status_code={}"
    assert figures[f"rpc.server.call.duration{{{called.format('OK')},rpc.system.name=grpc}}"] == 2
    assert figures[f"rpc.server.call.duration{{{called.format('NOT_FOUND')},rpc.system.name=grpc}}"] == 1
    assert figures[f"ronghe.events{{ronghe.event.type={decided},ronghe.outcome=GRANTED}}"] == 2
    assert figures[f"ronghe.events{{ronghe.event.type={decided},ronghe.outcome=DENIED}}"] == 1
    assert figures[f"ronghe.events{{ronghe.event.type={closed}}}"] == 1
    assert figures["ronghe.commit.units"] == 1


def test_a_gauge_is_looked_up_at_each_snapshot(metrics: Metrics) -> None:
    depths = {"organ": 3.0}
    metrics.gauge("ronghe.inbox.depth", "{item}", "items", lambda: depths)
    assert metrics.snapshot()["ronghe.inbox.depth{ronghe.of=organ}"] == 3
    depths["organ"] = 1
    assert metrics.snapshot()["ronghe.inbox.depth{ronghe.of=organ}"] == 1


# Logs

LOGGING = """
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog
from google.protobuf.message import Message

from clients.telemetry.logging import configure_logging
from ronghe.case.v1.case_pb2 import Case

@dataclass
class Holder:
    case: Message

configure_logging("intake-01", Path(sys.argv[1]) if len(sys.argv) > 1 else None)
log = structlog.get_logger()
case = Case(case_id="personal")
log.debug("case.looked_at")
log.info("case.taken", count=2, name="融合", case=case, cases=[case, {"inner": case}], holder=Holder(case),
         error=ValueError("personal"), id=UUID(int=1))
"""
LOGGED = {
    "event": "case.taken",
    "level": "info",
    "service": "intake-01",
    "count": 2,
    "name": "融合",
    "case": "<ronghe.case.v1.Case>",
    "cases": ["<ronghe.case.v1.Case>", {"inner": "<ronghe.case.v1.Case>"}],
    "holder": "<Holder>",
    "error": "<ValueError>",
    "id": "00000000-0000-0000-0000-000000000001",
}


def test_a_log_line_is_an_event_with_fields_and_no_message_gets_in(tmp_path: Path) -> None:
    path = tmp_path / "log" / "intake-01.log"
    subprocess.run([sys.executable, "-c", LOGGING, str(path)], check=True)
    (line,) = path.read_text().splitlines()
    assert json.loads(line).items() >= LOGGED.items()
    assert "personal" not in line


def test_without_a_file_logs_go_to_standard_error() -> None:
    done = subprocess.run([sys.executable, "-c", LOGGING], check=True, capture_output=True, text=True)
    assert json.loads(done.stderr).items() >= LOGGED.items()
    assert done.stdout == ""

"""What operators and alarms are shown of a subsystem: its status, its settings, and its figures."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from bridge.consumer import ConsumerState
from bridge.inbox_source import SourceState
from bridge.kafka import KafkaAccess, KafkaUnavailable
from bridge.record import Record
from bridge.relay import Relay, RelayState
from bridge.settings import BridgeSettings
from bridge.status import show_consumer, show_relay, show_source
from clients.operations import OperationsClient
from clients.subsystem import SubsystemClient
from clients.telemetry import SpanContext
from clients.telemetry.metrics import Metrics
from clients.telemetry.process import telemetry
from ronghe.operations.v1 import operations_service_pb2 as pb
from servers.kernel.bridges import Bridges
from servers.kernel.inbox import Acknowledgement
from servers.kernel.kernel import Kernel
from servers.kernel.operations import OperationsServicer
from servers.kernel.signing import Authorities
from servers.kernel.subsystem import Subsystem
from servers.observed import observe_consumer, observe_kernel
from servers.rpc.paging import Pages
from servers.rpc.server import serving
from tests.kernel.clock_test import BEFORE, SECOND, Machine, stored, until
from tests.kernel.conftest import Spans, Start
from tests.kernel.drive import ORGAN, ToyCall, execute, step
from tests.kernel.operator import OPERATOR, SERVER
from tests.kernel.toy import MIGRATIONS, Counter
from tests.unit.rpc_support import Authority

CASES = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(3)]
SERVICE = "service/governance-01"
SETTINGS = [pb.GetSettingsResponse.Setting(name=name, value="1", default_value="2") for name in ("one", "two")]


class Announcing(Counter):
    """A counter of which a service hears too."""

    def receivers(self, state: Any, record: Record) -> Sequence[str]:
        return [*super().receivers(state, record), SERVICE]


@asynccontextmanager
async def asking(
    kernel: Kernel,
    folder: Path,
    settings: Sequence[pb.GetSettingsResponse.Setting] = (),
    describe: Callable[[pb.GetBridgeStatusResponse], None] = lambda status: None,
    dropped: int = 0,
) -> AsyncIterator[OperationsClient]:
    """An operator at a subsystem's door."""
    authority = Authority(folder)
    authority.issue(OPERATOR)
    credentials = authority.credentials(authority.issue(SERVER))
    servicer = OperationsServicer(
        kernel, Pages(b"0" * 32), Bridges(kernel, {}), Authorities(credentials), settings, describe, lambda: dropped
    )
    async with (
        serving([servicer], "127.0.0.1:0", credentials, Spans()) as server,
        SubsystemClient(f"127.0.0.1:{server.port}", folder, OPERATOR) as client,
    ):
        yield client.operations


async def acknowledged(kernel: Kernel, receiver: str, *sequences: int) -> None:
    await kernel.open_session(receiver, "session", epoch=0)
    await kernel.acknowledge(Acknowledgement(receiver, "session", sequences, []))


async def test_what_nobody_acknowledged_is_shown_by_inbox_and_counted_by_kind_of_receiver(
    start: Start, tmp_path: Path
) -> None:
    machine, metrics = Machine(), Metrics("department-09", otlp=False)
    async with start(Subsystem("department-09", [Announcing()], MIGRATIONS), clock=machine) as kernel:
        observe_kernel(metrics, kernel)
        for case_id in CASES:
            machine.passes(SECOND)
            await execute(kernel, step(case_id))
        await acknowledged(kernel, "organ/all", 1)
        await acknowledged(kernel, "organ/0001", 1)
        await acknowledged(kernel, SERVICE, 1, 2)
        async with asking(kernel, tmp_path, SETTINGS, dropped=3) as operator:
            status = await operator.get_bridge_status(pb.GetBridgeStatusRequest())
            assert list((await operator.get_settings(pb.GetSettingsRequest())).settings) == SETTINGS
        assert [
            (each.receiver, each.last_sequence, each.unacknowledged, each.oldest_since.ToDatetime(UTC) - BEFORE)
            for each in status.inboxes
        ] == [
            ("organ/0000", 1, 1, SECOND),
            ("organ/0002", 1, 1, 3 * SECOND),
            ("organ/all", 3, 2, 2 * SECOND),
            (SERVICE, 3, 1, 3 * SECOND),
        ]  # fmt: skip
        assert (status.origin, status.journal_position, status.dropped_spans) == ("department-09", 3, 3)
        assert not status.HasField("relay")
        machine.passes(10 * SECOND)
        assert metrics.snapshot() == {
            "ronghe.inbox.depth{ronghe.of=organ}": 4,
            "ronghe.inbox.age{ronghe.of=organ}": 12,
            "ronghe.inbox.depth{ronghe.of=service}": 1,
            "ronghe.inbox.age{ronghe.of=service}": 10,
            "ronghe.parked": 0,
        }
    metrics.close()


async def test_the_status_shows_how_much_an_average_commit_holds(start: Start, tmp_path: Path) -> None:
    commits: list[int] = []
    async with (
        start(clock=Machine(), observe=lambda committed: commits.append(committed.units)) as kernel,
        asking(kernel, tmp_path) as operator,
    ):
        while not await stored(kernel):  # noqa: ASYNC110 - a task of the kernel's own stores it as it begins
            await asyncio.sleep(0.01)
        call: Any = ToyCall(ORGAN, time.monotonic() + 60)
        await kernel.execute_all([step(case_id) for case_id in CASES], call)
        status = await operator.get_bridge_status(pb.GetBridgeStatusRequest())
    assert commits[-1] == len(CASES)
    assert status.items_per_commit == sum(commits) / len(commits) > 1


async def test_the_status_shows_how_each_bridge_is_doing(kernel: Kernel, tmp_path: Path) -> None:
    relay = Relay(kernel, KafkaAccess(""), BridgeSettings(), Spans())
    relay.failed(KafkaUnavailable("no broker answers"))
    relay.state.position, relay.state.oldest_waiting = 2, BEFORE
    consumer = ConsumerState({1: 20, 0: 10}, lags={0: 4}, lost={1: 3}, last_error="StoreUnavailable: gone")
    source = SourceState(connected=True, last_sequence=17, last_error="it was lost")

    def describe(status: pb.GetBridgeStatusResponse) -> None:
        show_relay(relay.state, kernel.signals.position, status)
        show_consumer(consumer, BridgeSettings(topic="t"), status)
        show_source("intake-01", source, status)

    for case_id in CASES:
        await execute(kernel, step(case_id))
    async with asking(kernel, tmp_path, describe=describe) as operator:
        status = await operator.get_bridge_status(pb.GetBridgeStatusRequest())
    assert (status.relay.position, status.relay.lag) == (2, status.journal_position - 2)
    assert status.relay.oldest_waiting.ToDatetime(UTC) == BEFORE
    assert status.relay.last_error == "KafkaUnavailable: no broker answers"
    assert status.relay.last_error_at.ToDatetime(UTC) == relay.state.last_error_at
    common: Any = {"topic": "t", "last_error": "StoreUnavailable: gone"}
    assert list(status.consumers) == [
        pb.ConsumerStatus(partition=0, next_offset=10, lag=4, **common),
        pb.ConsumerStatus(partition=1, next_offset=20, lag=-1, lost=3, **common),
    ]
    assert list(status.sources) == [
        pb.SourceStatus(peer="intake-01", connected=True, last_sequence=17, last_error="it was lost")
    ]


@pytest.mark.parametrize(
    ("position", "looked", "lag"), [(0, 0, 9), (4, 0, 5), (4, 7, 2), (7, 4, 2), (9, 9, 0), (11, 0, 0)]
)
def test_a_relay_lags_by_what_is_behind_where_it_published_and_looked(position: int, looked: int, lag: int) -> None:
    status = pb.GetBridgeStatusResponse()
    show_relay(RelayState(position, looked), 9, status)
    assert status.relay.lag == lag
    assert not status.relay.HasField("oldest_waiting")
    assert not status.relay.HasField("last_error_at")


def test_a_consumers_lag_is_counted_by_partition_where_it_is_known() -> None:
    state, metrics = ConsumerState(), Metrics("department-09", otlp=False)
    observe_consumer(metrics, state)
    state.lags |= {0: 5, 1: 0, 2: -1}
    assert metrics.snapshot() == {"ronghe.consumer.lag{ronghe.of=0}": 5, "ronghe.consumer.lag{ronghe.of=1}": 0}
    metrics.close()


async def test_spans_that_were_dropped_are_counted(tmp_path: Path) -> None:
    async with telemetry("department-09", tmp_path) as observed:
        name, context = "no text \ud800", SpanContext(1, 2)
        observed.spans.record(name, context, parent=None, kind="internal", start_ns=0, end_ns=1, attributes={})
        await until(lambda: observed.spans.dropped > 0)
        assert observed.metrics.snapshot()["ronghe.spans.dropped"] == 1

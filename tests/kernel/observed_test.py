"""What metrics say of a journal."""

from bridge.ports import Checkpoint
from bridge.record import Arrival
from clients.telemetry.metrics import Metrics
from servers.kernel.kernel import Kernel
from servers.observed import observe_relay
from tests.kernel.drive import absorb, execute, foreign, new_case, step


async def test_every_replica_tells_how_much_is_to_be_published(kernel: Kernel) -> None:
    """Whether it publishes itself or stands by, and while the relay is paused."""
    metrics = Metrics("department-09", otlp=False)
    observe_relay(metrics, kernel)
    case = new_case()
    await absorb(kernel, foreign(case))
    await execute(kernel, step(case))
    own = (await kernel.unpublished(0, 100))[0]
    assert Arrival.KAFKA not in {record.arrival for record in own}
    assert metrics.snapshot()["ronghe.relay.lag"] == len(own) >= 2
    *_, behind, _ = own
    await kernel.advance([Checkpoint(behind.position, "topic", 0, 1, behind.event_id)], 0, keep=False)
    assert metrics.snapshot()["ronghe.relay.lag"] == 1
    metrics.close()

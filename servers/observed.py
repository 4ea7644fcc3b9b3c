"""The figures of a subsystem, registered once."""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, func, select

from bridge.consumer import ConsumerState
from bridge.record import Arrival, Record
from clients.telemetry.metrics import Metrics
from ronghe.case.v1.case_pb2 import Outcome
from ronghe.event.v1.event_pb2 import Decided
from servers.kernel import outbox, tables
from servers.kernel.kernel import Kernel
from servers.kernel.times import to_micros
from servers.kernel.writer import Committed

# After a long outage of Kafka: nobody shall wait for the count.
MOST_COUNTED = 100_000


def count_commits(metrics: Metrics) -> Callable[[Committed], None]:
    """Counts what each transaction made durable."""

    def count(committed: Committed) -> None:
        own = (taken.record for taken in committed.taken if taken.record.arrival is Arrival.OWN)
        metrics.committed(committed.units, ((record.type, _outcome(record)) for record in own))

    return count


def _outcome(record: Record) -> str:
    """For example "GRANTED"; "" for what is no decision."""
    fact = record.fact
    return Outcome.Name(fact.outcome).removeprefix("OUTCOME_") if isinstance(fact, Decided) else ""


def observe_kernel(metrics: Metrics, kernel: Kernel) -> None:
    """Depth and age of the inboxes by the receiver's kind, and what was set aside."""

    def gauge(name: str, unit: str, description: str, query: Callable[[Connection], Mapping[str, float]]) -> None:
        metrics.gauge(name, unit, description, lambda: kernel.read_here(query))

    def ages(connection: Connection) -> Mapping[str, float]:
        now = to_micros(kernel.clock.now())
        return {kind: (now - oldest) / 1e6 for kind, (_, oldest) in _waiting(connection).items()}

    gauge("ronghe.inbox.depth", "{item}", "unacknowledged items, by receiver kind", _depths)
    gauge("ronghe.inbox.age", "s", "age of the oldest unacknowledged item, by receiver kind", ages)
    gauge("ronghe.parked", "{record}", "records set aside", _parked)


def observe_relay(metrics: Metrics, kernel: Kernel) -> None:
    """What waits to be published; every replica counts the same, whichever publishes, a pause included."""

    def waiting(connection: Connection) -> Mapping[str, float]:
        journal, behind = tables.journal.c, outbox.published(connection).position
        own = select(journal.position).where(journal.position > behind, journal.arrival != int(Arrival.KAFKA))
        return {"": connection.scalar(select(func.count()).select_from(own.limit(MOST_COUNTED).subquery())) or 0}

    metrics.gauge(
        "ronghe.relay.lag",
        "{row}",
        f"rows of the journal that are to be published, and are not yet; counted up to {MOST_COUNTED}",
        lambda: kernel.read_here(waiting),
    )


def observe_consumer(metrics: Metrics, state: ConsumerState) -> None:
    """Records on the broker that wait."""
    metrics.gauge(
        "ronghe.consumer.lag",
        "{record}",
        "records on the broker that were not taken in, by partition",
        lambda: {str(partition): lag for partition, lag in state.lags.items() if lag >= 0},
    )


def _waiting(connection: Connection) -> Mapping[str, tuple[int, int]]:
    columns = tables.inbox.c
    rows = connection.execute(
        select(columns.receiver, func.count().label("depth"), func.min(columns.since).label("oldest"))
        .where(columns.acknowledged_at.is_(None))
        .group_by(columns.receiver)
    )
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        kind = row.receiver.partition("/")[0]
        depth, oldest = found.get(kind, (0, row.oldest))
        found[kind] = (depth + row.depth, min(oldest, row.oldest))
    return found


def _depths(connection: Connection) -> Mapping[str, float]:
    return {kind: depth for kind, (depth, _) in _waiting(connection).items()}


def _parked(connection: Connection) -> Mapping[str, float]:
    statement = select(func.count()).where(tables.dead_letter.c.settled_at.is_(None))
    return {"": connection.scalar(statement) or 0}

"""What happens to Kafka has happened before it counts."""

import asyncio
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition

from faults.injections import kafka
from faults.injections.kafka import _forget, _wait_for_place, disk_full
from faults.injections.stage import NotInjected
from faults.scenes.kafka import FULL, QUICK, outages

WRITER = """
import sys
print(flush=True)
for _ in sys.stdin:
    with open(sys.argv[1], "wb") as file:
        file.write(b"a record")
"""
"""A broker that ends where it cannot write."""


class Mesh:
    """Its broker is not started again."""

    def __init__(self, broker: "subprocess.Popen[bytes]") -> None:
        self.broker = broker
        self.killed = 0

    def pid(self, _: str) -> int:
        return 0 if self.broker.poll() is not None else self.broker.pid

    def signal(self, _: str, number: signal.Signals) -> None:
        self.killed += number is signal.SIGKILL


@pytest.fixture
def mesh(tmp_path: Any) -> Iterator[Mesh]:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "log")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as broker:
        assert broker.stdout is not None
        broker.stdout.readline()  # it is ready
        try:
            yield Mesh(broker)
        finally:
            broker.kill()


@pytest.fixture
def stage(mesh: Mesh, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    async def accepts(*_: object) -> None:
        assert not mesh.pid("kafka"), "applications come while the broker lives"

    monkeypatch.setattr(kafka, "can_mount", lambda _: False)
    monkeypatch.setattr(kafka, "_wait_until_it_serves", lambda _: None)
    monkeypatch.setattr(kafka, "intake_accepts", accepts)
    return SimpleNamespace(mesh=mesh, folder=tmp_path, figures={})


async def test_an_imitated_disk_is_full_once_the_broker_has_ended_for_it(stage: Any, mesh: Mesh) -> None:
    filling = asyncio.create_task(disk_full(0.1)(stage))
    while resource.prlimit(mesh.broker.pid, resource.RLIMIT_FSIZE)[0]:  # noqa: ASYNC110 - the system does not say
        await asyncio.sleep(0.01)
    assert mesh.broker.stdin is not None
    mesh.broker.stdin.write(b"write\n")
    mesh.broker.stdin.flush()
    await filling
    assert mesh.killed == 1
    assert stage.figures == {"brokers on a disk that was full for real": 0}


async def test_an_imitated_disk_that_the_broker_does_not_miss_was_not_full(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "DEATH_SECONDS", 0.3)
    with pytest.raises(NotInjected, match="Kafka does not miss the room"):
        await disk_full(0.1)(stage)


class Admin:
    """Knows places of a group, deletes it, or says why not."""

    def __init__(self, *errors: int, places: Sequence[Sequence[int]] = ()) -> None:
        self.errors = list(errors)
        self.places = list(places)
        """Offsets, each time it is asked; none afterwards."""

    def list_consumer_group_offsets(
        self, groups: list[ConsumerGroupTopicPartitions]
    ) -> dict[str, "Future[ConsumerGroupTopicPartitions]"]:
        (group,) = groups
        known = [TopicPartition("t", number, offset) for number, offset in enumerate(self.places.pop(0))]
        future: Future[ConsumerGroupTopicPartitions] = Future()
        future.set_result(ConsumerGroupTopicPartitions(group.group_id, known))
        return {group.group_id: future}

    def delete_consumer_groups(self, groups: list[str], **_: object) -> dict[str, "Future[None]"]:
        future: Future[None] = Future()
        if self.errors:
            future.set_exception(KafkaException(KafkaError(self.errors.pop(0))))
        else:
            future.set_result(None)
        return dict.fromkeys(groups, future)


def test_there_is_a_place_to_be_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    admin: Any = Admin(places=[[], [-1001], [-1001, 7]])
    _wait_for_place(admin, "department-01")
    assert not admin.places
    monkeypatch.setattr(kafka, "DEATH_SECONDS", 0.0)
    admin.places = [[]]
    with pytest.raises(NotInjected, match="no place of department-01"):
        _wait_for_place(admin, "department-01")


def test_a_group_is_forgotten_once_it_has_no_member() -> None:
    admin: Any = Admin(KafkaError.NON_EMPTY_GROUP, KafkaError.NON_EMPTY_GROUP)
    _forget(admin, "department-01")
    assert not admin.errors


@pytest.mark.parametrize("code", [KafkaError.NON_EMPTY_GROUP, KafkaError.GROUP_ID_NOT_FOUND])
def test_a_group_that_is_not_forgotten_was_not_wiped(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "ADMIN_SECONDS", 0.1)
    admin: Any = Admin(*[code] * 20)
    with pytest.raises(NotInjected, match="does not forget department-01"):
        _forget(admin, "department-01")


def test_a_broker_is_gone_for_as_long_as_one_hangs() -> None:
    names = [fault.name for fault in outages(FULL, Random(1))]
    assert "Kafka is down for 60 s" in names
    assert "Kafka is down for 2 s" in [fault.name for fault in outages(QUICK, Random(1))]

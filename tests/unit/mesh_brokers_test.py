from collections import Counter
from pathlib import Path

import pytest

from servers.mesh.kafka import Broker, least_in_sync
from servers.mesh.pki import Authority
from servers.mesh.ports import Ports


def test_each_broker_of_a_cluster_has_two_ports_of_its_own() -> None:
    ports = Ports.choose(31_200, brokers=3)
    assert ports.addresses("kafka") == "127.0.0.1:31292,127.0.0.1:31294,127.0.0.1:31296"
    assert ports.address("controller", 3) == "127.0.0.1:31297"
    assert ports.addresses("intake") == "127.0.0.1:31201"


def test_free_ports_are_enough_for_replicas_and_brokers() -> None:
    ports = Ports.choose(0, 2, 3)
    assert (len(ports.further), len(ports.brokers)) == (1, 2)
    assert set(Counter(ports).values()) == {1}
    assert len(list(ports)) == 2 * 3 + 2 * 3


@pytest.mark.parametrize(("brokers", "least"), [(1, 1), (2, 1), (3, 2)])
def test_a_record_counts_when_all_brokers_but_one_have_it(brokers: int, least: int) -> None:
    assert least_in_sync(brokers) == least


def test_brokers_of_one_cluster_have_its_id_and_know_each_other(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    first = Broker(tmp_path / "kafka", 31_392, 31_393, controllers=[31_393, 31_395])
    first.prepare(authority)
    other = Broker(tmp_path / "kafka-2", 31_394, 31_395, "", 2, [31_393, 31_395], first.cluster_id())
    other.prepare(authority)
    assert other.cluster_id() == first.cluster_id()
    written = (tmp_path / "kafka-2" / "server.properties").read_text()
    assert "node.id=2\n" in written
    assert "controller.quorum.voters=1@127.0.0.1:31393,2@127.0.0.1:31395\n" in written

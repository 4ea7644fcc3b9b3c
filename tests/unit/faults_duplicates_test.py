"""Which ways the copies of a request go."""

from faults.injections.duplicates import CONNECTIONS, other_ways

SINGLE = {"intake": "127.0.0.1:1", "governance": "127.0.0.1:2", "department": "127.0.0.1:3"}
REPLICATED = {name: f"{address}1,{address}2,{address}3" for name, address in SINGLE.items()}


def test_copies_go_to_every_replica_by_a_connection_of_its_own() -> None:
    ways = other_ways(REPLICATED, {})
    assert {name: ",".join(way[name] for way in ways) for name in REPLICATED} == REPLICATED


def test_copies_to_a_single_process_go_by_further_connections_through_its_proxy() -> None:
    ways = other_ways(SINGLE, {"intake": "127.0.0.1:9"})
    assert ways == [{**SINGLE, "intake": "127.0.0.1:9"}] * (CONNECTIONS - 1)

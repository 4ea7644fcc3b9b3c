"""Several processes of one subsystem: where they listen, what they are called, and how they are reached."""

import json
from collections import Counter
from pathlib import Path

import grpc
import pytest

from clients.base import ServiceClient
from ronghe.case.v1.case_service_pb2 import GetCaseRequest, GetCaseResponse
from servers.mesh.databases import database_url
from servers.mesh.errors import MeshError
from servers.mesh.folder import announced, endpoints_file
from servers.mesh.ports import Ports
from servers.mesh.settings import load_settings
from servers.mesh.supervisor import Child, Keeper

SERVER = "postgresql://ronghe:secret@db.local:5432"


def test_replicas_stand_ten_ports_apart() -> None:
    ports = Ports.choose(30_000, 3)
    assert [ports.address("governance", replica) for replica in (1, 2, 3)] == [
        "127.0.0.1:30002", "127.0.0.1:30012", "127.0.0.1:30022",
    ]  # fmt: skip
    assert ports.addresses("intake") == "127.0.0.1:30001,127.0.0.1:30011,127.0.0.1:30021"
    assert ports.addresses("kafka") == "127.0.0.1:30092"


def test_any_free_ports_are_different_ones_for_every_replica() -> None:
    assert max(Counter(Ports.choose(0, 3)).values()) == 1


def test_replicas_need_a_database_to_share(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="replicas share a database: name a PostgreSQL server with --database"):
        load_settings(tmp_path, None, replicas=3)
    assert load_settings(tmp_path, None, replicas=3, database=SERVER).replicas == 3


def test_each_subsystem_has_a_database_of_its_own() -> None:
    assert database_url(SERVER, Path("/data"), "intake") == "postgresql://ronghe:secret@db.local:5432/ronghe_intake"
    assert database_url("", Path("/data"), "intake") == "sqlite:////data/db/intake.db"


@pytest.mark.parametrize("server", ["mysql://db.local", "db.local"])
def test_another_kind_of_server_is_refused(server: str) -> None:
    with pytest.raises(MeshError, match="write postgresql://"):
        database_url(server, Path("/data"), "intake")


def test_endpoints_name_every_replica_and_one_alone_as_ever(tmp_path: Path) -> None:
    ports = Ports(1, 2, 3, 92, 93, [(11, 12, 13)])

    async def is_ready() -> bool:
        return True

    keepers = {
        name: Keeper(Child(name, [], {}, tmp_path / "log", is_ready)) for name in ("kafka", "intake", "intake/2")
    }
    with announced(tmp_path, ports, keepers):
        assert json.loads(endpoints_file(tmp_path).read_text()) == {
            "kafka": {"address": "127.0.0.1:92", "pid": 0},
            "intake": {
                "address": "127.0.0.1:1,127.0.0.1:11",
                "pid": 0,
                "pids": {"127.0.0.1:1": 0, "127.0.0.1:11": 0},
            },
        }


async def test_a_call_that_a_stopping_server_cancels_is_repeated() -> None:
    calls = []

    async def answer(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        calls.append(request)
        if len(calls) == 1:
            await context.abort(grpc.StatusCode.CANCELLED)
        return b""

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("toy", {"Call": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            method = channel.unary_unary("/toy/Call", GetCaseRequest.SerializeToString, GetCaseResponse.FromString)
            assert await ServiceClient(channel)._call(method, GetCaseRequest()) == GetCaseResponse()
    finally:
        await server.stop(None)
    assert len(calls) == 2

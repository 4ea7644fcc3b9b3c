"""The wire to PostgreSQL: a commit whose outcome the client does not learn."""

import asyncio
from contextlib import suppress
from random import Random

from faults.meshes.database import Wire

ARRIVES, IS_LOST = 0.9, 0.1


class Chance(Random):
    """Always the same."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def random(self) -> float:
        return self.share


async def told_of_a_cut_commit(share: float) -> tuple[Wire, bytes, bytes]:
    """What came to the server, which answers at once, and what the client was told."""
    heard, told = bytearray(), bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(100):
                heard.extend(chunk)
                writer.write(b"done")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        wire = Wire(("127.0.0.1", server.sockets[0].getsockname()[1]), Chance(share))
        async with await asyncio.start_server(wire.accept, "127.0.0.1", 0) as listener:
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            writer.write(b"INSERT")
            assert await reader.read(100) == b"done"
            wire.to_cut = 1
            writer.write(b"COMMIT")
            with suppress(ConnectionError):
                while chunk := await reader.read(100):
                    told.extend(chunk)
            writer.close()
    return wire, bytes(heard), bytes(told)


async def test_the_answer_to_a_commit_that_arrived_does_not_come_back() -> None:
    wire, heard, told = await told_of_a_cut_commit(ARRIVES)
    assert (wire.arrived, wire.lost, wire.to_cut) == (1, 0, 0)
    assert heard == b"INSERTCOMMIT"
    assert not told


async def test_a_commit_that_is_lost_does_not_arrive() -> None:
    wire, heard, told = await told_of_a_cut_commit(IS_LOST)
    assert (wire.arrived, wire.lost, wire.to_cut) == (0, 1, 0)
    assert heard == b"INSERT"
    assert not told

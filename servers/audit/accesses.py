"""The record of reads of personal data (个人信息保护法 arts 51, 54): written before the reader gets the answer."""

from typing import TypeVar

from google.protobuf.message import Message
from sqlalchemy import Connection, insert

from clients.redaction import marked
from servers.kernel import tables
from servers.kernel.kernel import Kernel
from servers.kernel.times import to_micros
from servers.rpc.call import Call

M = TypeVar("M", bound=Message)


class Accesses:
    """Records who reads."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def recorded(self, answer: M, case_id: str, call: Call) -> M:
        """The answer, once it is recorded which marked fields it shows; one that shows none is no access."""
        fields = marked(answer)
        if fields:
            row = {
                "at": to_micros(self._kernel.clock.now()),
                "caller": str(call.caller),
                "method": call.method,
                "case_id": case_id,
                "fields": ",".join(fields),
            }
            await self._kernel.write(lambda connection: _insert(connection, row), call.deadline)
        return answer


def _insert(connection: Connection, row: dict[str, object]) -> None:
    connection.execute(insert(tables.access).values(row))

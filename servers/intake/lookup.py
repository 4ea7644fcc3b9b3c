"""Looking a case up by its number and query code: wrong codes are counted, five lock the number."""

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from ronghe.case.v1 import case_pb2
from ronghe.error.v1.reason_pb2 import Reason
from servers.case.views import CaseView
from servers.intake.query_code import QueryCodes
from servers.kernel import tables
from servers.kernel.kernel import Kernel
from servers.kernel.stream import Refused
from servers.rpc.call import Call

MAX_FAILURES = 5


@dataclass(frozen=True, slots=True)
class QueryCodeLookup:
    """Answers alike whether the case is unknown or the code is wrong."""

    kernel: Kernel
    view: CaseView
    codes: QueryCodes

    async def find(self, case_no: str, query_code: str, call: Call) -> case_pb2.Case:
        """The case. Raises Refused: QUERY_CODE_WRONG, QUERY_CODE_LOCKED."""
        counter = f"query_code_failures/{case_no}"
        if await self.kernel.read(lambda connection: _failures(connection, counter)) >= MAX_FAILURES:
            raise _locked()
        try:
            case = await self.kernel.read(
                lambda connection: self.view.find(connection, call.caller, call.scope, case_no=case_no)
            )
        except Refused:
            case = None
        if case is not None and self.codes.matches(case.case_id, query_code):
            return case
        await self.kernel.write(lambda connection: _count(connection, counter))
        raise _wrong()


def _failures(connection: Connection, counter: str) -> int:
    return connection.scalar(select(tables.counter.c.value).where(tables.counter.c.name == counter)) or 0


def _count(connection: Connection, counter: str) -> None:
    columns = tables.counter.c
    statement = update(tables.counter).where(columns.name == counter).values(value=columns.value + 1)
    if connection.execute(statement).rowcount == 0:
        connection.execute(tables.counter.insert().values(name=counter, value=1))


def _wrong() -> Refused:
    return Refused(
        Reason.REASON_QUERY_CODE_WRONG, "the case number and the query code do not belong together: check both"
    )


def _locked() -> Refused:
    return Refused(
        Reason.REASON_QUERY_CODE_LOCKED,
        f"after {MAX_FAILURES} wrong codes this number is locked: ask the intake system that gave the voucher",
    )

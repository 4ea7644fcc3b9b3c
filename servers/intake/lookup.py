"""Looking a case up by its number and query code: wrong codes are counted, five in a row lock the number."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

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
        """The case. Raises Refused: QUERY_CODE_WRONG, QUERY_CODE_LOCKED.

        Looking, counting and locking are one transaction, so that guesses made at once count one after another.
        """

        def look(connection: Connection) -> case_pb2.Case | None:
            case = self._case(connection, case_no, call)
            # By the caller, so that nobody locks the numbers of another; unknown numbers count like known ones.
            counter = f"query_code_failures/{call.caller.id}/{case_no}"
            if _failures(connection, counter) >= MAX_FAILURES:
                raise _locked()
            if case is not None and self.codes.matches(case.case_id, query_code):
                connection.execute(delete(tables.counter).where(tables.counter.c.name == counter))
                return case
            _count(connection, counter)
            return None

        case = await self.kernel.write(look, call.deadline)
        if case is None:
            raise _wrong()
        return case

    def _case(self, connection: Connection, case_no: str, call: Call) -> case_pb2.Case | None:
        try:
            return self.view.find(connection, call.caller, call.scope, case_no=case_no)
        except Refused:
            return None


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
        f"after {MAX_FAILURES} wrong codes in a row this number is locked: ask the intake system that gave the voucher",
    )

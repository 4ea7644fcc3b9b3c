"""Queries over the streams' tables: every subsystem keeps the same columns beside a case's state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import BigInteger, Column, ColumnElement, Connection, Index, Integer, Table, Text, select, tuple_

from clients.identity import Identity
from ronghe.access.v1.access_pb2 import Scope
from ronghe.case.v1 import case_pb2
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import Refused
from servers.kernel.tables import stream_table


def case_table(kind: str) -> Table:
    """The table of a kind of stream that holds a case, with the columns by which cases are found."""
    table = stream_table(
        kind,
        Column("case_no", Text, nullable=False),
        Column("state", Integer, nullable=False),
        Column("outcome", Integer, nullable=False),
        Column("item_code", Text, nullable=False),
        Column("intake_id", Text, nullable=False),
        Column("lead_id", Text, nullable=False),
        Column("submitted_at", BigInteger, nullable=False, comment="microseconds since 1970 UTC"),
    )
    Index(f"{table.name}_case_no", table.c.case_no)
    # Lists are read newest first: of everyone, of one intake system, of one lead.
    Index(f"{table.name}_newest", table.c.submitted_at, table.c.case_id)
    Index(f"{table.name}_of_intake", table.c.intake_id, table.c.submitted_at, table.c.case_id)
    Index(f"{table.name}_of_lead", table.c.lead_id, table.c.submitted_at, table.c.case_id)
    return table


def case_values(case: case_pb2.Case) -> Mapping[str, Any]:
    """The columns' values."""
    application = case.application
    return {
        "case_no": case.case_no,
        "state": int(case.state),
        "outcome": int(case.outcome),
        "item_code": application.item.code,
        "intake_id": application.intake_id,
        "lead_id": application.lead.id,
        "submitted_at": application.submitted_at.ToMicroseconds(),
    }


@dataclass(frozen=True, slots=True)
class CaseView:
    """The cases of one subsystem, as a caller may see them."""

    table: Table
    state: type[Message]

    def find(
        self,
        connection: Connection,
        caller: Identity,
        scope: "Scope.ValueType",
        *,
        case_id: str = "",
        case_no: str = "",
    ) -> case_pb2.Case:
        """One case by its id or number. Raises Refused: CASE_NOT_FOUND, also for someone else's."""
        columns = self.table.c
        name = columns.case_id == case_id.lower() if case_id else columns.case_no == case_no
        row = connection.execute(
            select(columns.snapshot).select_from(self.table).where(name, *self.own(caller, scope))
        ).first()
        if row is None:
            raise not_found()
        return self.case_of(row.snapshot)

    def page(
        self, connection: Connection, filters: Sequence[ColumnElement[bool]], after: tuple[int, str] | None, size: int
    ) -> Sequence[case_pb2.Case]:
        """A page of cases, newest first, from behind (submitted_at, case id)."""
        columns = self.table.c
        statement = select(columns.snapshot).where(*filters)
        if after is not None:
            statement = statement.where(tuple_(columns.submitted_at, columns.case_id) < after)
        statement = statement.order_by(columns.submitted_at.desc(), columns.case_id.desc()).limit(size)
        return [self.case_of(row.snapshot) for row in connection.execute(statement)]

    def own(self, caller: Identity, scope: "Scope.ValueType") -> Sequence[ColumnElement[bool]]:
        """What bounds the caller: an organ sees what it leads, intake systems and terminals what they handed in."""
        if scope == Scope.SCOPE_ALL:
            return ()
        column = self.table.c.lead_id if caller.kind == "organ" else self.table.c.intake_id
        return (column == caller.id,)

    def case_of(self, snapshot: bytes) -> case_pb2.Case:
        """The case in a stored state."""
        message: Any = self.state.FromString(snapshot)
        case: case_pb2.Case = message.case
        return case


def not_found() -> Refused:
    """No such case, or someone else's: both answer alike."""
    return Refused(Reason.REASON_CASE_NOT_FOUND, "there is no such case among those you may see: check its id")

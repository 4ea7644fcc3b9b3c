"""AuditService, the same on every subsystem."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select

from ronghe.audit.v1 import audit_service_pb2 as pb
from servers.kernel import tables
from servers.kernel.kernel import Kernel
from servers.kernel.times import to_timestamp
from servers.rpc.call import Call
from servers.rpc.paging import Pages, page_of


class AuditServicer:
    """Shows who read personal data here."""

    service = pb.DESCRIPTOR.services_by_name["AuditService"]

    def __init__(self, kernel: Kernel, pages: Pages) -> None:
        self._kernel = kernel
        self._pages = pages

    async def ListAccesses(self, request: pb.ListAccessesRequest, call: Call) -> pb.ListAccessesResponse:  # noqa: N802 - the contract's name
        """Reads, newest first."""

        async def rows_after(key: str, limit: int) -> Sequence[Row[Any]]:
            return await self._kernel.read(lambda connection: _rows(connection, request, int(key or 0), limit))

        page = await page_of(self._pages, request, rows_after, lambda row: str(row.id), _access)
        return pb.ListAccessesResponse(accesses=page.rows, next_page_token=page.next_token)


def _rows(connection: Connection, request: pb.ListAccessesRequest, before: int, limit: int) -> Sequence[Row[Any]]:
    columns = tables.access.c
    statement = select(tables.access).where(*_filters(request)).order_by(columns.id.desc()).limit(limit)
    if before:
        statement = statement.where(columns.id < before)
    return connection.execute(statement).all()


def _filters(request: pb.ListAccessesRequest) -> list[ColumnElement[bool]]:
    columns = tables.access.c
    equal = {"case_id": request.case_id.lower(), "caller": request.caller}
    filters: list[ColumnElement[bool]] = [columns[name] == value for name, value in equal.items() if value]
    if request.HasField("from"):
        filters.append(columns.at >= getattr(request, "from").ToMicroseconds())  # a keyword of Python
    if request.HasField("before"):
        filters.append(columns.at < request.before.ToMicroseconds())
    return filters


def _access(row: Row[Any]) -> pb.Access:
    return pb.Access(
        at=to_timestamp(row.at), caller=row.caller, method=row.method, case_id=row.case_id, fields=row.fields.split(",")
    )

"""A case's timeline, page by page."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from clients.identity import Identity
from clients.telemetry import SpanContext
from ronghe.access.v1.access_pb2 import Scope
from ronghe.case.v1 import case_pb2
from ronghe.case.v1.case_service_pb2 import GetCaseTimelineRequest, TimelineEntry
from servers.case import timeline
from servers.case.service import CaseServicer
from servers.case.views import CaseView
from servers.kernel.kernel import Kernel
from servers.rpc.call import Call
from servers.rpc.paging import Pages

CALL = Call(Identity("organ", "market-reg-500103"), Scope.SCOPE_OWN, "GetCaseTimeline", 60, SpanContext(1, 2))
ENTRIES = 12


class AtOnce:
    """A kernel without a database."""

    async def read(self, query: Callable[[Any], Any]) -> Any:
        return query(None)


class OneCase:
    """A view that has one case."""

    def find(self, *_: object, case_id: str) -> case_pb2.Case:
        return case_pb2.Case(case_id=case_id)


@pytest.mark.parametrize(
    ("bytes_of_a_fact", "wanted", "pages"),
    [(10, 0, [12]), (10, 5, [5, 5, 2]), (10, 6, [6, 6]), (250_000, 0, [5, 5, 2]), (2_000_000, 0, [1] * ENTRIES)],
)
async def test_a_timeline_goes_on_where_its_page_ended(
    bytes_of_a_fact: int, wanted: int, pages: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def entries(_: object, case_id: str, after: int, limit: int, hidden: object) -> Iterator[TimelineEntry]:
        found = range(after + 1, min(after + limit, ENTRIES) + 1)
        return (TimelineEntry(position=each, fact=AnyMessage(value=bytes(bytes_of_a_fact))) for each in found)

    monkeypatch.setattr(timeline, "entries", entries)
    kernel, view = cast("Kernel", AtOnce()), cast("CaseView", OneCase())
    servicer = CaseServicer(kernel, view, Pages(b"a key of sixteen bytes"), publishes=True)
    request, sizes, seen = GetCaseTimelineRequest(case_id="one", page_size=wanted), [], []
    while not sizes or request.after_position:
        page = await servicer.GetCaseTimeline(request, CALL)
        sizes.append(len(page.entries))
        seen += [entry.position for entry in page.entries]
        request.after_position = page.next_position
    assert (sizes, seen) == (pages, list(range(1, ENTRIES + 1)))

"""Questions that are wrong: times and positions that do not exist, pages, page tokens."""

from collections.abc import Callable
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.type.date_pb2 import Date

from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.catalog.v1 import catalog_service_pb2 as catalog
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from servers.rpc.paging import Pages
from tests.e2e.bad_input import (
    FIELD,
    INVALID,
    Bad,
    check,
    each,
    refusal,
)
from tests.e2e.collaborating import now
from tests.e2e.door import ORGAN, Records
from tests.e2e.drive import AUDITOR, Mesh


def since(name: str, **fields: int) -> Callable[[Records], Message]:
    def make(records: Records) -> Message:
        request = cases.ListCasesRequest()
        for part, content in fields.items():
            setattr(getattr(request, name), part, content)
        return request

    return make


READS = [
    Bad("a time before all times", since("submitted_from", seconds=-(2**63)),
        INVALID, FIELD, "submitted_from", "years 1 to 9999", AUDITOR),
    Bad("a time after all times", since("submitted_before", seconds=2**63 - 1),
        INVALID, FIELD, "submitted_before", "years 1 to 9999", AUDITOR),
    Bad("half a day", lambda records: catalog.ListServiceItemsRequest(on=Date(year=2026)),
        INVALID, FIELD, "on", "give year, month and day", AUDITOR),
    Bad("a position beyond all positions",
        lambda records: cases.GetCaseTimelineRequest(case_id=records.submitted, after_position=2**64 - 1),
        INVALID, FIELD, "after_position", "9223372036854775807", AUDITOR),
    Bad("a page of minus one", lambda records: cases.ListCasesRequest(page_size=-1),
        INVALID, FIELD, "page_size", "0", AUDITOR),
    Bad("a state that nobody knows", lambda records: cases.ListCasesRequest(state=99),  # type: ignore[arg-type]
        INVALID, FIELD, "state", "defined", AUDITOR),
    Bad("neither an id nor a number", lambda records: cases.GetCaseRequest(),
        INVALID, FIELD, "name", "required", AUDITOR),
    Bad("a token that is none", lambda records: cases.ListCasesRequest(page_token="!"),  # noqa: S106
        INVALID, "INVALID_PAGE_TOKEN", "page_token", "begin again without one", AUDITOR),
    Bad("a token in Chinese", lambda records: cases.ListCasesRequest(page_token="第二页"),  # noqa: S106
        INVALID, "INVALID_PAGE_TOKEN", "page_token", "begin again without one", AUDITOR),
    Bad("a wait of a year", lambda records: inbox.FetchInboxRequest(wait=Duration(seconds=31_536_000)),
        INVALID, FIELD, "wait", "30s", ORGAN),
    Bad("a negative wait", lambda records: inbox.FetchInboxRequest(wait=Duration(seconds=-1)),
        INVALID, FIELD, "wait", "0s", ORGAN),
    Bad("a wait of two signs", lambda records: inbox.FetchInboxRequest(wait=Duration(seconds=1, nanos=-1)),
        INVALID, FIELD, "wait", "sign of seconds", ORGAN),
]  # fmt: skip


@each(READS)
async def test_a_question_that_is_wrong(mesh: Mesh, records: Records, bad: Bad) -> None:
    await check(mesh, records, bad)


async def test_a_page_token_that_was_altered_is_refused(mesh: Mesh, records: Records) -> None:
    async with mesh.client("governance", AUDITOR) as auditor:
        token = (await auditor.cases.list_cases(cases.ListCasesRequest(page_size=1))).next_page_token
    for changed_token in (token[:-2], token[1:], token.swapcase()):
        error = await refusal(mesh, cases.ListCasesRequest(page_size=1, page_token=changed_token), AUDITOR)
        assert (error.code, error.reason) == (INVALID, "INVALID_PAGE_TOKEN")


async def test_a_page_token_of_another_list_is_refused(mesh: Mesh, records: Records) -> None:
    async with mesh.client("governance", AUDITOR) as auditor:
        token = (await auditor.cases.list_cases(cases.ListCasesRequest(page_size=1))).next_page_token
    for other in (cases.ListCasesRequest(page_token=token, item_code="IT-001"),
                  collaboration.ListCollaborationsRequest(page_token=token)):  # fmt: skip
        identity = ORGAN if isinstance(other, collaboration.ListCollaborationsRequest) else AUDITOR
        assert (await refusal(mesh, other, identity)).reason == "INVALID_PAGE_TOKEN"


async def test_a_page_token_that_has_expired_is_refused(mesh: Mesh, records: Records) -> None:
    secret = (mesh.pki / "secrets" / "governance-01").read_bytes()
    request = cases.ListCasesRequest()
    yesterday = Pages(secret, lambda: (now() - timedelta(hours=25)).timestamp()).seal(request, "")
    today = Pages(secret).seal(request, "")

    async with mesh.client("governance", AUDITOR) as auditor:
        assert (await auditor.cases.list_cases(cases.ListCasesRequest(page_token=today))).cases
    error = await refusal(mesh, cases.ListCasesRequest(page_token=yesterday), AUDITOR)

    assert error.reason == "INVALID_PAGE_TOKEN"
    assert "begin again without one" in error.message

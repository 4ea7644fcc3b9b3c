"""The call wrapper and the clients together: real servers, real certificates, on 127.0.0.1."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from clients.base import calls_under
from clients.channel import open_channel
from clients.credentials import CredentialsError
from clients.department import Command, DepartmentClient
from clients.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidRequest,
    NotFound,
    NotOffered,
    Overloaded,
    RongheError,
    SessionTakenOver,
    Unavailable,
    error_of,
)
from clients.identity import Identity
from clients.intake import IntakeClient
from clients.stream import Stream
from clients.subsystem import SubsystemClient
from clients.telemetry import SpanContext
from ronghe.access.v1 import access_pb2
from ronghe.case.v1.case_service_pb2 import GetCaseRequest
from ronghe.catalog.v1.catalog_service_pb2 import GetServiceItemRequest, GetServiceItemResponse, ListOrgansRequest
from ronghe.department.v1.department_service_pb2 import (
    AcceptApplicationRequest,
    AcceptApplicationResponse,
    CloseCaseRequest,
    CloseCaseResponse,
)
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1.event_pb2 import Event
from ronghe.inbox.v1 import inbox_service_pb2
from ronghe.inbox.v1.inbox_service_pb2 import (
    AckInboxRequest,
    FetchInboxRequest,
    InboxItem,
    OpenInboxRequest,
    OpenInboxResponse,
)
from ronghe.inbox.v1.inbox_service_pb2_grpc import InboxServiceStub
from ronghe.intake.v1.intake_service_pb2 import (
    SubmitApplicationResponse,
    SubmitApplicationsRequest,
    SubmitApplicationsResponse,
)
from ronghe.intake.v1.intake_service_pb2_grpc import IntakeServiceStub
from ronghe.party.v1.party_pb2 import Officer
from servers.kernel.stream import Refused as Refusal
from servers.rpc.access import MissingRule, rule_of
from servers.rpc.bulk import answer_each
from servers.rpc.call import Call
from servers.rpc.server import Limits, Serving, serving
from tests.unit.rpc_support import (
    DOMAIN,
    ORGAN,
    SERVER,
    TERMINAL,
    Authority,
    SpanList,
    ToyCatalog,
    ToyDepartment,
    ToyInbox,
    ToyIntake,
    application,
    until,
)

ITEM = "/ronghe.catalog.v1.CatalogService/GetServiceItem"
CASE = "0199f2a0-1c3d-7e4f-8a5b-6c7d8e9f0a1b"
LIMITS = Limits(grace=1.0)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("pki"))
    for identity in (SERVER, ORGAN, TERMINAL):
        authority.issue(identity)
    return authority


@pytest.fixture
def spans() -> SpanList:
    return SpanList()


class Mesh:
    """One server of toys, and clients for it."""

    def __init__(self, authority: Authority, spans: SpanList) -> None:
        self.authority = authority
        self.spans = spans
        self.port = 0

    @asynccontextmanager
    async def serve(self, *toys: Any, limits: Limits = LIMITS, **options: Any) -> AsyncIterator[Serving]:
        listen = f"127.0.0.1:{self.port}"
        credentials = self.authority.credentials(SERVER)
        async with serving(toys, listen, credentials, self.spans, limits=limits, **options) as server:
            self.port = server.port
            yield server

    def client(self, identity: Any = ORGAN, timeout: float = 10.0) -> SubsystemClient:
        return SubsystemClient(f"127.0.0.1:{self.port}", self.authority.pki, identity, timeout=timeout)

    def intake(self, identity: Any = TERMINAL) -> IntakeClient:
        return IntakeClient(f"127.0.0.1:{self.port}", self.authority.pki, identity)

    def department(self) -> DepartmentClient:
        return DepartmentClient(f"127.0.0.1:{self.port}", self.authority.pki, ORGAN)

    @asynccontextmanager
    async def raw_channel(self, identity: Identity = ORGAN) -> AsyncIterator[grpc.aio.Channel]:
        target = f"127.0.0.1:{self.port}"
        async with open_channel(target, self.authority.credentials(identity)) as channel:
            yield channel


@pytest.fixture
def mesh(authority: Authority, spans: SpanList) -> Mesh:
    return Mesh(authority, spans)


async def get_item(client: SubsystemClient, code: str) -> GetServiceItemResponse:
    return await client.catalog.get_service_item(GetServiceItemRequest(code=code))


async def call_raw(channel: grpc.aio.Channel, body: bytes, **options: Any) -> bytes:
    """GetServiceItem with bytes of one's own, and without the clients' deadline."""
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(ITEM)
    return await method(body, **options)


# --- identity and access ---


async def test_a_servicer_learns_who_calls_and_what_it_may_see(mesh: Mesh) -> None:
    catalog = ToyCatalog()
    async with mesh.serve(catalog), mesh.client() as client:
        assert (await get_item(client, "IT-001")).item.code == "IT-001"
    assert catalog.calls[0].caller == ORGAN
    assert catalog.calls[0].scope == access_pb2.SCOPE_ALL
    assert catalog.calls[0].method == ITEM[1:]


async def test_a_wrong_kind_of_caller_is_refused(mesh: Mesh) -> None:
    async with mesh.serve(ToyIntake()), mesh.intake(ORGAN) as client:
        with pytest.raises(Forbidden) as caught:
            await client.submit_application(application())
    assert caught.value.reason == "CALLER_KIND_NOT_ALLOWED"
    assert caught.value.metadata["kind"] == "organ"


@pytest.mark.parametrize(
    "uri", ["spiffe://elsewhere.example/organ/fire-500103", f"spiffe://{DOMAIN}/emperor/one", "https://example.org/"]
)
async def test_a_certificate_without_an_identity_of_ours_is_unknown(mesh: Mesh, uri: str) -> None:
    stranger = mesh.authority.issue(ORGAN.__class__("organ", "stranger"), uri=uri)
    key, certificate = (mesh.authority.pki / "organ" / f"{stranger.id}.{end}" for end in ("key", "pem"))
    tls = grpc.ssl_channel_credentials(
        (mesh.authority.pki / "ca.pem").read_bytes(), key.read_bytes(), certificate.read_bytes()
    )
    assert await code_with(mesh, tls) is StatusCode.UNAUTHENTICATED


async def code_with(mesh: Mesh, tls: grpc.ChannelCredentials) -> StatusCode:
    """How a call ends on a channel with other credentials."""
    async with mesh.serve(ToyCatalog()), grpc.aio.secure_channel(f"localhost:{mesh.port}", tls) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call_raw(channel, GetServiceItemRequest(code="IT-001").SerializeToString(), timeout=5)
    return caught.value.code()


async def test_a_caller_without_a_certificate_gets_nowhere(mesh: Mesh, capfd: pytest.CaptureFixture[str]) -> None:
    tls = grpc.ssl_channel_credentials((mesh.authority.pki / "ca.pem").read_bytes())
    assert await code_with(mesh, tls) is StatusCode.UNAVAILABLE
    # Which operators look for: docs/operations.md.
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in capfd.readouterr().err


def test_an_expired_certificate_is_named_before_connecting(mesh: Mesh) -> None:
    mesh.authority.issue(late := ORGAN.__class__("organ", "late"), lifetime=timedelta(hours=-1))
    with pytest.raises(CredentialsError, match="expired at"):
        mesh.client(late)


def test_a_certificate_of_another_authority_is_named_before_connecting(mesh: Mesh, tmp_path: Path) -> None:
    Authority(tmp_path, "another").issue(ORGAN)
    (tmp_path / "ca.pem").write_bytes((mesh.authority.pki / "ca.pem").read_bytes())
    with pytest.raises(CredentialsError, match="issued by CN=another"):
        SubsystemClient("127.0.0.1:1", tmp_path, ORGAN)


def test_a_missing_certificate_is_named_before_connecting(mesh: Mesh) -> None:
    with pytest.raises(CredentialsError, match=r"nobody\.pem cannot be read"):
        mesh.client(ORGAN.__class__("organ", "nobody"))


def test_an_rpc_without_a_rule_stops_the_start() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="open.proto", package="open", syntax="proto3")
    file.message_type.add(name="Nothing")
    file.service.add(name="Door").method.add(name="Enter", input_type=".open.Nothing", output_type=".open.Nothing")
    service = descriptor_pool.DescriptorPool().AddSerializedFile(file.SerializeToString()).services_by_name["Door"]
    with pytest.raises(MissingRule, match=r"open\.Door/Enter"):
        rule_of(service.methods[0])


# --- validation, errors ---


async def test_a_broken_rule_names_its_field(mesh: Mesh) -> None:
    async with mesh.serve(ToyCatalog()), mesh.client() as client:
        with pytest.raises(InvalidRequest) as caught:
            await client.catalog.list_organs(ListOrgansRequest(division="5001"))
    assert caught.value.reason == "INVALID_FIELD"
    assert [violation.field for violation in caught.value.violations] == ["division"]


async def test_bytes_that_are_no_message_are_invalid(mesh: Mesh) -> None:
    async with mesh.serve(ToyCatalog()), mesh.raw_channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call_raw(channel, b"\xff\xff")
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT


async def test_a_refusal_arrives_with_its_reason(mesh: Mesh) -> None:
    async with mesh.serve(ToyCatalog()), mesh.client() as client:
        with pytest.raises(NotFound) as caught:
            await get_item(client, "unknown")
    assert (caught.value.reason, caught.value.metadata) == ("ITEM_NOT_FOUND", {"item_code": "unknown"})


async def test_a_bug_arrives_as_an_id(mesh: Mesh) -> None:
    async with mesh.serve(ToyCatalog()), mesh.client() as client:
        with pytest.raises(RongheError) as caught:
            await get_item(client, "bug")
    assert caught.value.code is StatusCode.INTERNAL
    assert caught.value.reason == "BUG"
    assert "5001031990" not in str(caught.value)


async def test_a_method_that_is_not_offered_says_so(mesh: Mesh) -> None:
    case = GetCaseRequest(case_no="5001")
    async with mesh.serve(ToyCatalog()), mesh.client() as client:
        with pytest.raises(NotOffered) as caught:
            await client.cases.get_case(case)
    assert caught.value.reason == "METHOD_NOT_OFFERED"


# --- deadlines, overload, retries ---


async def test_a_deadline_ends_the_work(mesh: Mesh) -> None:
    catalog = ToyCatalog()
    async with mesh.serve(catalog), mesh.raw_channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call_raw(channel, GetServiceItemRequest(code="slow").SerializeToString(), timeout=0.3)
    assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
    assert mesh.spans.spans[0]["error"] in {"CANCELLED", "DEADLINE_EXCEEDED"}


async def test_a_call_without_a_deadline_gets_one(mesh: Mesh) -> None:
    catalog = ToyCatalog()
    async with mesh.serve(catalog), mesh.raw_channel() as channel:
        before = asyncio.get_running_loop().time()
        await call_raw(channel, GetServiceItemRequest(code="IT-001").SerializeToString())
    assert before + 9 < catalog.calls[0].deadline < before + 11


async def test_a_call_that_comes_too_late_is_not_begun(mesh: Mesh) -> None:
    catalog = ToyCatalog()
    async with mesh.serve(catalog), mesh.raw_channel() as channel:
        await call_raw(channel, GetServiceItemRequest(code="first").SerializeToString())
        with pytest.raises(grpc.aio.AioRpcError):
            await call_raw(channel, GetServiceItemRequest(code="late").SerializeToString(), timeout=0.004)
    assert len(catalog.calls) == 1


async def test_every_call_is_counted(mesh: Mesh) -> None:
    counted: list[tuple[str, str, str]] = []

    def observe(method: str, kind: str, code: str, seconds: float) -> None:
        counted.append((method, kind, code))

    async with mesh.serve(ToyCatalog(), observe=observe), mesh.client() as client:
        await get_item(client, "IT-001")
        with pytest.raises(NotFound):
            await get_item(client, "unknown")
    assert counted == [(ITEM[1:], "organ", "OK"), (ITEM[1:], "organ", "NOT_FOUND")]


async def test_the_client_repeats_a_call_that_got_no_answer_in_time(mesh: Mesh) -> None:
    catalog = ToyCatalog()
    async with mesh.serve(catalog), mesh.client(timeout=0.2) as client:
        with pytest.raises(DeadlineExceeded):
            await get_item(client, "slow")
    assert len(catalog.calls) == 3


async def test_overload_is_refused_at_the_door_and_comes_back_later(mesh: Mesh) -> None:
    catalog = ToyCatalog()
    async with mesh.serve(catalog, limits=Limits(calls=1, grace=1.0)), mesh.client() as client:
        slow = asyncio.create_task(get_item(client, "slow"))
        await catalog.started.wait()
        second = asyncio.create_task(get_item(client, "IT-001"))
        await until(lambda: [span for span in mesh.spans.spans if span["error"] == "RESOURCE_EXHAUSTED"])
        catalog.release.set()
        assert (await second).item.code == "IT-001"
        await slow


async def test_overload_that_lasts_reaches_the_caller_with_a_delay(mesh: Mesh) -> None:
    catalog = ToyCatalog()
    async with mesh.serve(catalog, limits=Limits(calls=0)), mesh.client() as client:
        with pytest.raises(Overloaded) as caught:
            await get_item(client, "IT-001")
    assert caught.value.retry_after == pytest.approx(0.2)
    assert len(mesh.spans.spans) == 5


async def test_a_retry_keeps_the_request_id(mesh: Mesh) -> None:
    busy = Refusal(Reason.REASON_OVERLOADED, "busy")
    intake = ToyIntake([busy, busy])
    async with mesh.serve(intake), mesh.intake() as client:
        await client.submit_application(application())
    assert len(intake.request_ids) == 3
    assert len(set(intake.request_ids)) == 1


async def test_the_caller_s_own_request_stays_as_it_was(mesh: Mesh) -> None:
    request = application()
    async with mesh.serve(ToyIntake()), mesh.intake() as client:
        first, second = [await client.submit_application(request) for _ in range(2)]
    assert not request.request_id
    assert first.case_id != second.case_id


async def test_a_server_that_is_not_there_does_not_hold_the_caller(mesh: Mesh) -> None:
    mesh.port = 1
    async with mesh.client(timeout=0.3) as client:
        with pytest.raises((Unavailable, DeadlineExceeded)):
            await get_item(client, "IT-001")


async def test_a_crowded_server_says_when_to_come_back(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = ToyCatalog()
    monkeypatch.setattr("servers.rpc.door.LONGEST_WAIT_SECONDS", -1.0)
    monkeypatch.setattr("servers.rpc.door.Door.return_after", 0.2)
    async with mesh.serve(catalog), mesh.raw_channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call_raw(channel, GetServiceItemRequest(code="IT-001").SerializeToString(), timeout=2)
    error = error_of(failed.value)
    assert (error.code, error.reason) == (StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert error.retry_after is not None
    assert 0.1 <= error.retry_after <= 0.3
    assert catalog.calls == []


async def test_who_has_no_time_to_come_back_is_told_why_at_once(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry that waits beyond the deadline would end in a timeout, which says nothing."""
    monkeypatch.setattr("servers.rpc.door.LONGEST_WAIT_SECONDS", -1.0)
    monkeypatch.setattr("servers.rpc.door.Door.return_after", 20.0)
    async with mesh.serve(ToyCatalog()), mesh.raw_channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call_raw(channel, GetServiceItemRequest(code="IT-001").SerializeToString(), timeout=5)
    error = error_of(failed.value)
    assert (error.code, error.reason) == (StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert error.retry_after is not None
    assert error.retry_after >= 15


# --- spans ---


async def test_the_server_span_is_a_child_of_the_caller_s(mesh: Mesh) -> None:
    caller = SpanContext(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)
    catalog = ToyCatalog()
    async with mesh.serve(catalog), mesh.client() as client:
        with calls_under(caller):
            await get_item(client, "IT-001")
        await get_item(client, "IT-001")
    child, root = mesh.spans.spans
    assert (child["name"], child["kind"]) == (ITEM[1:], "server")
    assert (child["context"].trace_id, child["parent"]) == (caller.trace_id, caller.span_id)
    assert (root["parent"], root["context"].trace_id != caller.trace_id) == (None, True)
    assert catalog.calls[0].span == child["context"]


# --- bulk ---


async def test_a_bad_item_is_answered_as_an_item(mesh: Mesh) -> None:
    requests = [application(), application(division="0"), application()]
    requests[1].item_code = ""
    async with mesh.serve(ToyIntake()), mesh.intake() as client:
        answers = [answer async for answer in client.submit_many(requests)]
    failed = [answer.error for answer in answers if answer.error is not None]
    assert [error.reason for error in failed] == ["INVALID_FIELD"]
    assert len([answer.result() for answer in answers if answer.error is None]) == 2


async def test_many_items_are_answered_each_once(mesh: Mesh) -> None:
    intake = ToyIntake()
    async with mesh.serve(intake), mesh.intake() as client:
        answers = [answer async for answer in client.submit_many((application() for _ in range(1000)), window=50)]
    assert all(answer.result().case_id == answer.request.request_id for answer in answers)
    assert len({answer.request.request_id for answer in answers}) == 1000
    assert len(intake.request_ids) == 1000


@pytest.mark.parametrize("item_code", ["IT-001", "", "\0"])
@pytest.mark.parametrize("count", [0, 101])
async def test_a_bulk_message_with_too_little_or_too_much_ends_the_stream(
    mesh: Mesh, count: int, item_code: str
) -> None:
    """No item is to blame for it, and so none can be answered, also where one is bad."""
    items = [application() for _ in range(count)]
    for item in items:
        item.request_id = str(uuid4())
        item.occurred_at.GetCurrentTime()
    for item in items[-1:]:
        item.item_code = item_code
    intake = ToyIntake()
    async with mesh.serve(intake), mesh.raw_channel(TERMINAL) as channel:
        call = IntakeServiceStub(channel).SubmitApplications()
        await call.write(SubmitApplicationsRequest(applications=items))
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call.read()
    assert error_of(failed.value).reason == "INVALID_FIELD"
    assert [violation.field for violation in error_of(failed.value).violations] == ["applications"]
    assert intake.request_ids == []


async def test_a_bulk_client_fills_its_messages(mesh: Mesh) -> None:
    """What is there to be sent goes together: one call of the transport for many requests."""
    intake = ToyIntake()
    async with mesh.serve(intake), mesh.intake() as client:
        async for _ in client.submit_many([application() for _ in range(200)], window=200):
            pass
    assert max(intake.messages) == 100
    assert len(intake.messages) < 20


async def test_a_bulk_client_sends_no_message_that_is_too_large(mesh: Mesh) -> None:
    """A large request begins the next message; one that no message can carry fails alone."""
    sizes = [400, 700, 1100, 300, 1]
    requests = [application(summary="x" * size * 1024) for size in sizes]
    intake = ToyIntake()
    async with mesh.serve(intake), mesh.intake() as client:
        answers = [answer async for answer in client.submit_many(requests)]
    reasons = {len(answer.request.summary) // 1024: answer.error and answer.error.reason for answer in answers}
    assert reasons == {size: "TOO_LARGE" if size == 1100 else "INVALID_FIELD" for size in sizes}
    assert intake.messages == [1, 1, 2]


async def test_results_of_many_bytes_come_in_several_messages() -> None:
    """A client with the libraries' defaults takes 4 MiB."""

    async def requests() -> AsyncIterator[SubmitApplicationsRequest]:
        yield SubmitApplicationsRequest(applications=[application() for _ in range(10)])

    async def answer(request: SubmitApplicationsRequest) -> list[SubmitApplicationsResponse.Result]:
        long = SubmitApplicationResponse(case_no="9" * 250_000)
        return [SubmitApplicationsResponse.Result(accepted=long) for _ in request.applications]

    sizes = [len(part) async for part in answer_each(requests(), lambda request: request.applications, answer)]
    assert sizes == [5, 5]


async def test_a_bulk_run_goes_on_after_its_stream_broke(mesh: Mesh) -> None:
    intake = ToyIntake()
    intake.break_after = 20
    async with mesh.serve(intake), mesh.intake() as client:
        answers = [answer async for answer in client.submit_many([application() for _ in range(100)], window=30)]
    assert len({answer.result().case_id for answer in answers}) == len(answers) == 100
    assert len(set(intake.request_ids)) == 100


async def test_a_source_that_fails_fails_the_run(mesh: Mesh) -> None:
    async def source() -> AsyncIterator[Any]:
        yield application()
        raise LookupError("no more")

    async with mesh.serve(ToyIntake()), mesh.intake() as client:
        with pytest.raises(LookupError):
            [answer async for answer in client.submit_many(source())]


async def test_the_commands_of_an_organ_go_in_bulk(mesh: Mesh) -> None:
    officer = Officer(id="o-17", name="李雷")
    commands: list[Command] = [
        AcceptApplicationRequest(
            actor=officer, case_id=CASE, if_version=1, none=AcceptApplicationRequest.NoCollaboration(reason="alone")
        ),
        CloseCaseRequest(actor=officer, case_id=CASE, if_version=2),
    ]
    async with mesh.serve(ToyDepartment()), mesh.department() as client:
        responses = [answer.result() async for answer in client.execute_many(commands)]
    assert responses == [AcceptApplicationResponse(version=1), CloseCaseResponse(version=2)]


# --- inbox ---


async def take(client: SubsystemClient, count: int) -> list[int]:
    """Acknowledge so many items; their sequences."""
    taken: list[int] = []
    async for item in client.inbox(credit=20):
        taken.append(item.sequence)
        await item.ack()
        if len(taken) == count:
            break
    return taken


async def test_an_inbox_is_an_iterator_of_items_to_acknowledge(mesh: Mesh) -> None:
    inbox = ToyInbox(10)
    async with mesh.serve(inbox):
        async with mesh.client() as client:
            assert await take(client, 10) == list(range(1, 11))
        assert inbox.unacknowledged == set()
    assert inbox.openings[0].credit == 20
    assert len(inbox.messages) == 1


async def test_a_replay_goes_on_where_it_was_lost(mesh: Mesh) -> None:
    lost = Refusal(Reason.REASON_SHUTTING_DOWN, "lost")
    inbox = ToyInbox(6, breaks=[(2, lost)])
    async with mesh.serve(inbox), mesh.client() as client:
        async for item in client.inbox(credit=2, from_sequence=1):
            await item.ack()
            if item.sequence == 6:
                break
    assert [opening.from_sequence for opening in inbox.openings] == [1, 3]


async def test_an_item_can_be_put_off(mesh: Mesh) -> None:
    inbox = ToyInbox(1)
    async with mesh.serve(inbox), mesh.client() as client:
        async for item in client.inbox():
            await item.nack(timedelta(seconds=90))
            break
        await until(lambda: inbox.messages)
    assert inbox.messages[0].acknowledge.nacks[0].delay.seconds == 90


async def test_an_inbox_is_opened_again_after_a_lost_connection(mesh: Mesh) -> None:
    lost = Refusal(Reason.REASON_SHUTTING_DOWN, "lost")
    inbox = ToyInbox(10, breaks=[(3, lost)])
    seen: set[int] = set()
    async with mesh.serve(inbox), mesh.client() as client:
        async for item in client.inbox(credit=5):
            await asyncio.sleep(0.01)  # so that acknowledgements go out one by one
            seen.add(item.sequence)
            await item.ack()
            if len(seen) == 10:
                break
        await asyncio.wait_for(inbox.empty.wait(), 5)
    assert len(inbox.openings) == 2


async def test_an_acknowledged_item_that_comes_again_is_not_given_again(mesh: Mesh) -> None:
    lost = Refusal(Reason.REASON_SHUTTING_DOWN, "lost")
    inbox = ToyInbox(4, breaks=[(4, lost)])
    inbox.unacknowledged = _Forgetful(inbox.unacknowledged)
    async with mesh.serve(inbox), mesh.client() as client:
        iteration = aiter(client.inbox())
        for _ in range(4):
            await (await anext(iteration)).ack()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(iteration), 1.2)
    assert len(inbox.openings) == 2
    assert sorted(inbox.messages[-1].acknowledge.sequences) == [1, 2, 3, 4]


class _Forgetful(set[int]):
    """Loses what the first session acknowledged."""

    def difference_update(self, *others: Any) -> None:
        self.difference_update = super().difference_update  # type: ignore[method-assign]


class _Scripted(ToyInbox):
    """Sends each session its responses, (epoch, sequences), the next when it was written to; all but the last fail."""

    def __init__(self, *sessions: Sequence[tuple[int, Sequence[int]]]) -> None:
        super().__init__(items=0)
        self.sessions = sessions

    async def OpenInbox(  # noqa: N802 - the contract's name
        self, requests: AsyncIterator[OpenInboxRequest], call: Any
    ) -> AsyncIterator[OpenInboxResponse]:
        async for request in requests:
            if request.HasField("open"):
                self.openings.append(request.open)
                responses = iter(self.sessions[len(self.openings) - 1])
            epoch, sequences = next(responses, (0, ()))
            if sequences:
                items = [inbox_service_pb2.InboxItem(sequence=sequence) for sequence in sequences]
                yield OpenInboxResponse(epoch=epoch, items=items)
            if len(self.openings) < len(self.sessions):
                raise Refusal(Reason.REASON_SHUTTING_DOWN, "lost")


async def test_what_is_acknowledged_late_is_no_item_of_another_epoch(mesh: Mesh) -> None:
    toy, given = _Scripted([(1, [5])], [(2, [1]), (2, [5])]), []
    async with mesh.serve(toy), mesh.client() as client:
        async for item in client.inbox():
            given.append(item)
            if len(given) == 2:
                await given[0].ack()
                await item.ack()
            if len(given) == 3:
                break
    assert [(item.epoch, item.sequence) for item in given] == [(1, 5), (2, 1), (2, 5)]


async def test_a_replay_begins_anew_in_another_epoch(mesh: Mesh) -> None:
    toy, given = _Scripted([(1, [5])], [(2, [5])], [(2, [1, 2])]), []
    async with mesh.serve(toy), mesh.client() as client:
        async for item in client.inbox(from_sequence=5):
            given.append((item.epoch, item.sequence))
            await item.ack()
            if item.sequence == 2:
                break
    assert given == [(1, 5), (2, 1), (2, 2)]
    assert [opening.from_sequence for opening in toy.openings] == [5, 6, 1]


async def test_a_session_that_was_taken_over_ends_the_iteration(mesh: Mesh) -> None:
    taken = Refusal(Reason.REASON_SESSION_TAKEN_OVER, "a newer session has it")
    async with mesh.serve(ToyInbox(1, breaks=[(1, taken)])), mesh.client() as client:
        with pytest.raises(SessionTakenOver):
            await consume(client)


async def test_the_server_s_reason_is_not_hidden_by_a_write_that_came_too_late(mesh: Mesh) -> None:
    taken = Refusal(Reason.REASON_SESSION_TAKEN_OVER, "a newer session has it")
    acknowledging = OpenInboxRequest(acknowledge=OpenInboxRequest.Acknowledge(sequences=[1]))

    async def flood(stream: Stream[Any, Any]) -> None:
        await stream.write(OpenInboxRequest(open=OpenInboxRequest.Open(credit=1)))
        while await stream.write(acknowledging):
            pass

    async with mesh.serve(ToyInbox(1, breaks=[(1, taken)] * 40)), mesh.raw_channel() as channel:
        for _ in range(40):
            stream = Stream(InboxServiceStub(channel).OpenInbox())
            flooding = asyncio.create_task(flood(stream))
            with pytest.raises(SessionTakenOver):
                _ = [message async for message in stream.messages()]
            await flooding


async def test_leaving_the_client_ends_its_inboxes(mesh: Mesh) -> None:
    async with mesh.serve(ToyInbox(1)):
        async with mesh.client() as client:
            consuming = asyncio.create_task(consume(client))
            await asyncio.sleep(0.1)
        await asyncio.wait_for(consuming, 2)


async def consume(client: SubsystemClient) -> None:
    """Acknowledge whatever comes."""
    async for item in client.inbox():
        await item.ack()


class WordyInbox(ToyInbox):
    """Says more than its caller reads."""

    async def OpenInbox(  # noqa: N802 - the contract's name
        self, requests: AsyncIterator[OpenInboxRequest], call: Call
    ) -> AsyncIterator[OpenInboxResponse]:
        item = InboxItem(event=Event(stream="s" * (1 << 20)))
        while True:
            yield OpenInboxResponse(items=[item])


async def test_who_leaves_while_something_is_written_to_him_has_cancelled_his_call(mesh: Mesh) -> None:
    with capture_logs() as logs:
        async with mesh.serve(WordyInbox(0)), mesh.raw_channel() as channel:
            calls = [InboxServiceStub(channel).OpenInbox() for _ in range(10)]
            await asyncio.gather(*(call.read() for call in calls))
            for call in calls:
                call.cancel()
            await until(lambda: len(mesh.spans.spans) == len(calls))
    assert {span["error"] for span in mesh.spans.spans} == {"CANCELLED"}
    assert "rpc.bug" not in [entry["event"] for entry in logs]


async def test_a_client_that_goes_away_frees_its_stream(mesh: Mesh) -> None:
    async with mesh.serve(ToyInbox(1), limits=Limits(streams=1)), mesh.raw_channel() as channel:
        call = InboxServiceStub(channel).OpenInbox()
        await call.write(OpenInboxRequest(open=OpenInboxRequest.Open(credit=1)))
        await call.read()
        call.cancel()
        await until(lambda: mesh.spans.spans)
        async with mesh.client() as client:
            assert await take(client, 1) == [1]


async def test_an_inbox_can_be_fetched(mesh: Mesh) -> None:
    inbox = ToyInbox(3)
    async with mesh.serve(inbox), mesh.client() as client:
        items = (await client.fetch_inbox(FetchInboxRequest())).items
        await client.ack_inbox(AckInboxRequest(sequences=[item.sequence for item in items]))
    assert inbox.unacknowledged == set()


# --- start and end ---


async def test_health_tells_of_every_service(mesh: Mesh) -> None:
    async with mesh.serve(ToyCatalog()), mesh.raw_channel() as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "ronghe.catalog.v1.CatalogService"):
            response = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert response.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_names_every_service(mesh: Mesh) -> None:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with mesh.serve(ToyCatalog(), ToyInbox(0)), mesh.raw_channel() as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]))
        names = [service.name async for response in call for service in response.list_services_response.service]
    assert {"ronghe.catalog.v1.CatalogService", "ronghe.inbox.v1.InboxService"} <= set(names)


@pytest.mark.parametrize(
    "name", ["InboxService", "InboxService.AckInbox", "AckInboxRequest", "AckInboxRequest.sequences"]
)
async def test_reflection_describes_services_methods_and_messages(mesh: Mesh, name: str) -> None:
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"ronghe.inbox.v1.{name}")
    async with mesh.serve(ToyInbox(0)), mesh.raw_channel() as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]))
        files = [file async for response in call for file in response.file_descriptor_response.file_descriptor_proto]
    assert any(b"ronghe/inbox/v1/inbox_service.proto" in file for file in files)


async def test_a_closing_server_refuses_new_calls_and_finishes_what_it_has(mesh: Mesh) -> None:
    catalog = ToyCatalog()
    statuses: list[Any] = []
    server = mesh.serve(catalog, limits=Limits(grace=5.0))
    await server.__aenter__()
    async with mesh.client() as client, mesh.raw_channel() as channel:
        slow = asyncio.create_task(get_item(client, "slow"))
        await catalog.started.wait()
        watching = asyncio.create_task(_watch(channel, statuses))
        await until(lambda: statuses)
        closing = asyncio.create_task(server.__aexit__(None, None, None))
        await until(lambda: len(statuses) == 2)
        with pytest.raises(grpc.aio.AioRpcError, match="the server is shutting down") as caught:
            await call_raw(channel, GetServiceItemRequest(code="IT-001").SerializeToString())
        catalog.release.set()
        assert (await slow).item.code == "slow"
        await closing
        await watching
    assert caught.value.code() is StatusCode.UNAVAILABLE
    assert statuses == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]


async def _watch(channel: grpc.aio.Channel, statuses: list[Any]) -> None:
    try:
        async for response in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
            statuses.append(response.status)  # noqa: PERF401 - each is looked at as it comes
    except grpc.aio.AioRpcError:
        return


async def test_an_inbox_goes_on_at_the_next_server(mesh: Mesh) -> None:
    inbox, seen = ToyInbox(2), asyncio.Queue[int]()

    async def report(client: SubsystemClient) -> None:
        async for item in client.inbox():
            await item.ack()
            seen.put_nowait(item.sequence)

    async with mesh.serve(inbox):
        client = mesh.client()
        consuming = asyncio.create_task(report(client))
        assert [await seen.get(), await seen.get()] == [1, 2]
        await inbox.empty.wait()
    inbox.unacknowledged = {3}
    async with mesh.serve(inbox):
        assert await asyncio.wait_for(seen.get(), 10) == 3
        async with client:
            pass
        await asyncio.wait_for(consuming, 5)
    assert mesh.spans.spans[0]["error"] == "UNAVAILABLE"

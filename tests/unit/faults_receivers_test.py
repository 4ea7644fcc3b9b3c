"""What proves that partners were bad: receivers, readers that do not read, callers that vanish."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from clients.base import completed
from clients.errors import RongheError
from faults.checker.marks import mark_of
from faults.injections import readers
from faults.injections.backlog import at_length
from faults.injections.callers import SUBMIT_MANY, effects, not_amid
from faults.injections.readers import (
    BACKLOG,
    EXECUTE_MANY,
    INVALID,
    LEADS,
    LIST_ITEMS,
    MESSAGES,
    WINDOW,
    begun,
    slow_channel,
    unread,
)
from faults.injections.receivers import (
    KINDS,
    PAUSE_SECONDS,
    Session,
    comes_and_goes,
    sessions,
    was_given,
    was_given_again,
    was_let_in_often,
    was_refused,
    was_taken_over,
)
from faults.load.applications import Desk, application
from faults.load.caller import marked
from ronghe.department.v1.department_service_pb2 import ExecuteCommandsRequest
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest, SubmitApplicationsRequest
from servers.kernel.stream import Refused
from servers.rpc.errors import to_status
from servers.rpc.validation import validate
from tests.unit.catalog_support import CATALOG
from tests.unit.rpc_support import SERVER, TERMINAL, Authority

LIST_BYTES, ANSWER_BYTES = 38_000, 30_000
WINDOWS = 64 * 1024
"""What the library lets wait for a stream, by itself."""


class Server:
    """Answers at length, and counts the answers that could be sent."""

    def __init__(self, turns_away: int = 0) -> None:
        self.sent = 0
        self.turns_away = turns_away
        methods = {
            LIST_ITEMS: grpc.unary_unary_rpc_method_handler(self.list_items),
            SUBMIT_MANY: grpc.stream_stream_rpc_method_handler(self.submit_many),
        }
        services = [(path.split("/")[1], {path.split("/")[2]: handler}) for path, handler in methods.items()]
        self.handlers = [grpc.method_handlers_generic_handler(*service) for service in services]

    async def list_items(self, body: bytes, context: Any) -> bytes:
        if self.turns_away:
            self.turns_away -= 1
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "crowded")
        return b"x" * LIST_BYTES

    async def submit_many(self, bodies: AsyncIterator[bytes], context: Any) -> None:
        async for _ in bodies:
            await context.write(b"x" * ANSWER_BYTES)
            self.sent += 1


@asynccontextmanager
async def slow_reader(server: Server, pki: Path) -> AsyncIterator[grpc.aio.Channel]:
    authority = Authority(pki)
    own, caller = (authority.credentials(authority.issue(each)) for each in (SERVER, TERMINAL))
    grpc_server = grpc.aio.server()
    grpc_server.add_generic_rpc_handlers(server.handlers)
    port = grpc_server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials([(own.key, own.certificate)], own.ca, require_client_auth=True)
    )
    await grpc_server.start()
    try:
        async with slow_channel(f"127.0.0.1:{port}", caller) as channel:
            yield channel
    finally:
        await grpc_server.stop(0)


async def test_a_stream_that_is_not_read_is_sent_no_more(tmp_path: Path) -> None:
    server = Server()
    async with slow_reader(server, tmp_path) as channel:
        call = unread(channel, SUBMIT_MANY)
        for _ in range(MESSAGES):
            await call.write(b"")
        await asyncio.sleep(0.5)
        assert server.sent < MESSAGES
        assert not call.done()
        call.cancel()


async def test_a_list_that_is_not_read_does_not_come_to_its_end(tmp_path: Path) -> None:
    async with slow_reader(Server(), tmp_path) as channel:
        call = unread(channel, LIST_ITEMS)
        await asyncio.sleep(0.5)
        assert not call.done()
        assert len(await call.read()) == LIST_BYTES


async def test_a_slow_reader_that_is_turned_away_comes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "AGAIN_SECONDS", 0.2)
    async with slow_reader(Server(turns_away=3), tmp_path) as channel:
        calls = await begun([(channel, LIST_ITEMS)] * 4)
        assert not any(call.done() for call in calls)
        for call in calls:
            call.cancel()


@pytest.mark.parametrize(
    "items",
    [
        SubmitApplicationsRequest.FromString(INVALID[SUBMIT_MANY]).applications,
        ExecuteCommandsRequest.FromString(INVALID[EXECUTE_MANY]).commands,
    ],
)
def test_what_is_refused_at_length_is_more_than_a_server_can_send_unread(items: list[Message]) -> None:
    assert MESSAGES * sum(map(refusal, items)) > 2 * WINDOWS


def refusal(item: Message) -> int:
    """Bytes of what is wrong with it."""
    with pytest.raises(Refused) as refused:
        validate(item)
    return to_status(refused.value, "m").ByteSize()


async def test_who_reconnects_ten_times_a_second_does() -> None:
    channel: Any = Sessions()
    found = await sessions(lambda: channel, comes_and_goes, 10 * PAUSE_SECONDS)
    assert 6 < channel.begun <= 10  # a busy machine takes its time
    assert channel.closed == channel.ended == channel.begun == len(found)


class Sessions:
    """A channel to an inbox with nothing in it."""

    begun = ended = closed = 0

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed += 1

    def stream_stream(self, *_: Any) -> Any:
        return lambda: self

    def add_done_callback(self, _: Any) -> None:
        pass

    async def write(self, _: Message) -> None:
        self.begun += 1

    async def __aiter__(self) -> AsyncIterator[Message]:
        await asyncio.Event().wait()
        yield SubmitApplicationsRequest()

    def cancel(self) -> None:
        self.ended += 1


# --- what sessions prove ---


def session(*given: int, end: str = "", put_off: int = 0) -> Session:
    """One that was let in."""
    error = RongheError(end, "", grpc.StatusCode.FAILED_PRECONDITION) if end else None
    return Session(is_open=True, given=list(given), put_off=put_off, end=error)


def test_who_was_given_nothing_has_left_nothing_unacknowledged() -> None:
    assert was_given([session(), session()], 6.0)
    assert was_given([session(), session(1)], 6.0) == ""


def test_what_was_never_sent_must_have_been_refused() -> None:
    assert was_refused([session(end="UNAVAILABLE"), session(1)], 6.0)
    assert was_refused([session(end="UNAVAILABLE"), session(end="SEQUENCE_NEVER_SENT")], 6.0) == ""


@pytest.mark.parametrize("found", [session(1, 1), session(1, 2, put_off=2), session()])
def test_what_is_put_off_must_have_come_again(found: Session) -> None:
    assert was_given_again([found], 6.0)
    assert was_given_again([found, session(1, 2, 1, put_off=2)], 6.0) == ""


def test_who_reconnects_must_have_been_let_in() -> None:
    assert was_let_in_often([session()] * 20, 6.0) != ""
    assert was_let_in_often([Session()] * 60, 6.0) != ""
    assert was_let_in_often([session()] * 15 + [Session()] * 20, 6.0) == ""


OVER = "SESSION_TAKEN_OVER"


@pytest.mark.parametrize(
    "found",
    [
        [],
        [session(1)],
        [session(1), session(1)],
        [session(1, end="UNAVAILABLE"), session(1)],
        [session(1, 2, end=OVER), session(1)],
        [session(1, end=OVER), session(1, end=OVER)],
    ],
    ids=["none", "one", "both live", "the older is lost", "the older's word counted", "none lives"],
)
def test_of_two_sessions_the_older_one_must_have_been_taken_over(found: Sequence[Session]) -> None:
    assert was_taken_over(found, 6.0)


def test_a_session_that_is_taken_over_has_lost_everything_to_the_newer_one() -> None:
    assert was_taken_over([session(1, end=OVER), session(1, 2, end=OVER), session(1, 2)], 6.0) == ""


def test_each_bad_receiver_has_an_inbox_of_its_own() -> None:
    assert len({kind.desk.lead for kind in KINDS.values()}) == len(KINDS)


# --- what waits for slow readers ---


@pytest.mark.parametrize("item", sorted({item for item, _ in LEADS.values()}))
def test_what_waits_for_a_slow_reader_is_more_than_a_server_can_send_unread(item: str) -> None:
    found = CATALOG.item_version(item, 1)
    request = marked(completed(at_length(application(Desk(item, "500103", ""), found, 1))))
    validate(request)
    assert WINDOW < BACKLOG * request.ByteSize() < 4 * WINDOW


# --- what was done when a caller vanished ---


def test_what_was_done_before_a_caller_vanished_is_counted_by_its_marks(tmp_path: Path) -> None:
    asked = [SubmitApplicationRequest(request_id=f"{number}" * 32) for number in range(4)]
    bodies = [mark_of(request.request_id).encode() for request in asked]
    with closing(sqlite3.connect(tmp_path / "intake.db")) as database, database:
        database.execute("CREATE TABLE journal (position INTEGER PRIMARY KEY, body BLOB)")
        database.executemany(
            "INSERT INTO journal (body) VALUES (?)", [(body,) for body in (*bodies[:3], bodies[2], b"")]
        )
    assert effects(tmp_path / "intake.db", 0, asked) == 3
    assert effects(tmp_path / "intake.db", 1, asked) == 2
    assert effects(tmp_path / "intake.db", 0, asked[2:]) == 1


@pytest.mark.parametrize(("had", "is_amid"), [(0, False), (1, True), (199, True), (200, False)])
def test_callers_vanish_between_what_was_done_and_what_was_not(had: int, is_amid: bool) -> None:
    assert (not_amid(had, 200) == "") is is_amid

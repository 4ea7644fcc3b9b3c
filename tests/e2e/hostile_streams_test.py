"""Streams whose other end does what it likes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode

from clients.channel import SERVER_NAME
from clients.credentials import Credentials
from clients.errors import RongheError
from clients.identity import Identity
from clients.stream import Stream
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from ronghe.intake.v1 import intake_service_pb2 as intake
from servers.mesh.pki import issue_all
from tests import builders
from tests.e2e.collaborating import now
from tests.e2e.door import ORGAN, Door, has_one_effect, knocking, refused, serves
from tests.e2e.drive import TERMINAL, Mesh, until

SUBMIT_MANY = "ronghe.intake.v1.IntakeService/SubmitApplications"
OPEN = "ronghe.inbox.v1.InboxService/OpenInbox"
RECEIVER = Identity("intake", "slow")
"""An intake system of its own, so that nobody else takes from its inbox."""
ITS_TERMINAL = Identity("terminal", "slow")


@pytest.fixture(scope="module", autouse=True)
def parties(mesh: Mesh) -> None:
    issue_all(mesh.pki, [RECEIVER, ITS_TERMINAL, ORGAN])


# --- streams that break the protocol ---

OPENING = inbox.OpenInboxRequest(open=inbox.OpenInboxRequest.Open(credit=10))


def acknowledging(*sequences: int, **nacks: Any) -> inbox.OpenInboxRequest:
    put_off = [inbox.Nack(sequence=int(name[1:]), delay=delay) for name, delay in nacks.items()]
    return inbox.OpenInboxRequest(acknowledge=inbox.OpenInboxRequest.Acknowledge(sequences=sequences, nacks=put_off))


@pytest.mark.parametrize(
    ("messages", "field", "says"),
    [
        pytest.param([], "message", "must be `open`", id="nothing at all"),
        pytest.param([acknowledging(1)], "message", "must be `open`", id="an acknowledgement before the opening"),
        pytest.param([OPENING, OPENING], "message", "must be `open`", id="an opening twice"),
        pytest.param([inbox.OpenInboxRequest()], "message", "required", id="an empty message"),
        pytest.param(
            [inbox.OpenInboxRequest(open=inbox.OpenInboxRequest.Open())], "open.credit", "1", id="no credit"),
        pytest.param(
            [inbox.OpenInboxRequest(open=inbox.OpenInboxRequest.Open(credit=10**6))], "open.credit", "1000",
            id="a million of credit"),
        pytest.param(
            [inbox.OpenInboxRequest(open=inbox.OpenInboxRequest.Open(credit=1, from_sequence=2**64 - 1))],
            "open.from_sequence", "9223372036854775807", id="a replay from beyond everything"),
        pytest.param([OPENING, acknowledging(*range(1001))], "acknowledge.sequences", "1000", id="1001 at once"),
        pytest.param(
            [OPENING, acknowledging(_1=Duration(seconds=3601))], "acknowledge.nacks[0].delay", "3600s",
            id="put off for more than an hour"),
        pytest.param(
            [OPENING, acknowledging(_1=Duration(seconds=-1))], "acknowledge.nacks[0].delay", "0s",
            id="put off into the past"),
    ],
)  # fmt: skip
async def test_an_inbox_stream_that_breaks_the_protocol_ends_with_the_reason(
    mesh: Mesh, messages: Sequence[inbox.OpenInboxRequest], field: str, says: str
) -> None:
    async with knocking(mesh, "intake", RECEIVER) as door:
        error = await refused(mesh, lambda: _spoken(door, messages))
    assert (error.code, error.reason) == (StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"), error
    assert [violation.field for violation in error.violations] == [field]
    assert says in error.message


@pytest.mark.parametrize("body", [b"\xff" * 32, b"x" * 2_000_000], ids=["no message", "too large"])
async def test_a_stream_with_bytes_that_are_no_message_ends_with_the_reason(mesh: Mesh, body: bytes) -> None:
    async with knocking(mesh, "intake", RECEIVER) as door:
        error = await refused(mesh, lambda: _sent(door, [OPENING.SerializeToString(), body]))
    assert error.reason == ("TOO_LARGE" if len(body) > 1000 else "INVALID_FIELD")


async def _spoken(door: Door, messages: Sequence[inbox.OpenInboxRequest]) -> None:
    await _sent(door, [message.SerializeToString() for message in messages])


async def _sent(door: Door, bodies: Sequence[bytes]) -> None:
    """Send them, and read to the end."""
    stream = door.stream(OPEN)
    for body in bodies:
        await stream.write(body)
    if not bodies:
        await stream.half_close()
    async for _ in stream.messages():
        pass


# --- acknowledgements ---


@asynccontextmanager
async def inbox_of(mesh: Mesh, *, credit: int = 1000) -> AsyncIterator["Receiving"]:
    """The receiver's inbox at intake, opened."""
    async with knocking(mesh, "intake", RECEIVER) as door:
        receiving = Receiving(door.stream(OPEN))
        await receiving.say(inbox.OpenInboxRequest(open=inbox.OpenInboxRequest.Open(credit=credit)))
        yield receiving


class Receiving:
    """A receiver that says what it likes."""

    def __init__(self, stream: Stream[bytes, bytes]) -> None:
        self.stream = stream
        self._messages = stream.messages()

    async def say(self, message: inbox.OpenInboxRequest) -> None:
        await self.stream.write(message.SerializeToString())

    async def items(self, seconds: float = 10) -> Sequence[inbox.InboxItem]:
        """The next items; none when nothing comes in time."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    answer = inbox.OpenInboxResponse.FromString(await anext(self._messages))
                    if answer.items:
                        return list(answer.items)
        except TimeoutError:
            return []

    async def end(self) -> None:
        """Read until the server ends it; raises RongheError."""
        async for _ in self._messages:
            pass


async def _told(mesh: Mesh) -> None:
    """The receiver has an item: the lead's receipt of a case that it handed in."""
    async with mesh.intake(ITS_TERMINAL) as terminal, mesh.department(ORGAN.id) as lead:
        case_id = (await terminal.submit_application(builders.submission(now()))).case_id
        arrived = "SELECT 1 FROM journal WHERE case_id = ?"
        await until(lambda: bool(mesh.rows("department", arrived, case_id)), "the lead has the case")
        await lead.accept_application(builders.acceptance(case_id, now()))
    waiting = "SELECT 1 FROM inbox WHERE receiver = ? AND case_id = ?"
    await until(lambda: bool(mesh.rows("intake", waiting, str(RECEIVER), case_id)), "the receiver has an item")


async def test_an_acknowledgement_of_what_was_never_sent_is_refused_by_stream_and_by_fetching(mesh: Mesh) -> None:
    for sequence in (0, 10**12, 2**64 - 1):
        async with inbox_of(mesh) as receiving:
            await receiving.say(acknowledging(sequence))
            with pytest.raises(RongheError) as failed:
                await receiving.end()
            _never_sent(failed.value, sequence)
    async with mesh.client("intake", RECEIVER) as receiver:
        await receiver.fetch_inbox(inbox.FetchInboxRequest())
        for sequence in (0, 10**12, 2**64 - 1):
            request = inbox.AckInboxRequest(sequences=[sequence])
            _never_sent(await refused(mesh, lambda: receiver.ack_inbox(request)), sequence)  # noqa: B023


def _never_sent(error: RongheError, sequence: int) -> None:
    assert (error.code, error.reason) == (StatusCode.INVALID_ARGUMENT, "SEQUENCE_NEVER_SENT")
    assert error.metadata["sequence"] == str(sequence)


async def test_putting_off_what_is_acknowledged_already_changes_nothing(mesh: Mesh) -> None:
    await _told(mesh)
    async with inbox_of(mesh) as receiving:
        (item, *_) = await receiving.items()
        await receiving.say(acknowledging(item.sequence))
        await receiving.say(acknowledging(**{f"_{item.sequence}": Duration()}))
        assert item.sequence not in {each.sequence for each in await receiving.items(seconds=0.5)}
    async with mesh.client("intake", RECEIVER) as receiver:
        await receiver.fetch_inbox(inbox.FetchInboxRequest())
        nack = inbox.Nack(sequence=item.sequence, delay=Duration(seconds=1))
        await receiver.ack_inbox(inbox.AckInboxRequest(nacks=[nack]))
        left = (await receiver.fetch_inbox(inbox.FetchInboxRequest())).items
    assert item.sequence not in {each.sequence for each in left}


async def test_acknowledging_what_was_put_off_ends_it(mesh: Mesh) -> None:
    await _told(mesh)
    async with inbox_of(mesh) as receiving:
        item = (await receiving.items())[-1]
        await receiving.say(acknowledging(**{f"_{item.sequence}": Duration(seconds=3600)}))
        await receiving.say(acknowledging(item.sequence))
        await receiving.stream.half_close()
        await receiving.end()
    statement = "SELECT acknowledged_at IS NOT NULL FROM inbox WHERE receiver = ? AND sequence = ?"
    assert mesh.rows("intake", statement, str(RECEIVER), item.sequence) == [(1,)]


# --- streams that stop reading ---


@asynccontextmanager
async def hard_of_hearing(mesh: Mesh, identity: Identity) -> AsyncIterator[Door]:
    """A party whose channel takes next to nothing in until it is read."""
    credentials = Credentials.load(mesh.pki, identity)
    tls = grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.certificate)
    options = [
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.http2.lookahead_bytes", 1),
        ("grpc.http2.bdp_probe", 0),
    ]
    async with grpc.aio.secure_channel(mesh.addresses["intake"], tls, options=options) as channel:
        yield Door(channel)


async def test_an_inbox_that_nobody_reads_can_be_taken_over(mesh: Mesh) -> None:
    for _ in range(3):
        await _told(mesh)
    async with hard_of_hearing(mesh, RECEIVER) as deaf:
        stuck = deaf.stream(OPEN)
        await stuck.write(inbox.OpenInboxRequest(open=OPENING.open).SerializeToString())
        await serves(mesh)
        async with inbox_of(mesh) as receiving:
            assert await receiving.items()
        with pytest.raises(RongheError) as failed:
            async for _ in stuck.messages():
                pass
    assert failed.value.reason == "SESSION_TAKEN_OVER"


async def test_a_bulk_call_that_reads_no_answer_is_held_back_and_disturbs_nobody(mesh: Mesh) -> None:
    """The server takes no more from it than it can answer; what it took is done, once."""
    request = builders.submission(now(), summary="字" * 200)
    request.form[0].text = "字" * 4000
    item = intake.SubmitApplicationsRequest(applications=[request]).SerializeToString()
    written = Count()
    async with hard_of_hearing(mesh, TERMINAL) as deaf:
        stream = deaf.stream(SUBMIT_MANY)
        writing = asyncio.create_task(_write_on(stream, item, written))
        await _comes_to_a_halt(written)
        await serves(mesh)
        async with aclosing(stream.messages()) as answers:
            answer = intake.SubmitApplicationsResponse.FromString(await anext(answers)).results[0]
        stream.cancel()
        writing.cancel()
    assert mesh.recorded("intake", answer.accepted.case_id)[0] == "Submitted"
    async with knocking(mesh, "intake", TERMINAL) as door:
        await has_one_effect(mesh, door, request)


class Count:
    """How many there are so far."""

    value = 0


async def _write_on(stream: Stream[bytes, bytes], item: bytes, written: Count) -> None:
    while await stream.write(item):
        written.value += 1


async def _comes_to_a_halt(written: Count) -> None:
    """Return when half a second has brought no more."""
    before = -1
    while written.value != before:
        before = written.value
        assert before < 5000, "the server takes in whatever comes"
        await asyncio.sleep(0.5)


async def test_streams_that_are_opened_and_dropped_leave_nothing_behind(mesh: Mesh) -> None:
    async with knocking(mesh, "intake", RECEIVER) as door:
        for _ in range(100):
            stream = door.stream(OPEN)
            await stream.write(OPENING.SerializeToString())
            stream.cancel()
        async with mesh.client("intake", RECEIVER) as receiver:
            await receiver.fetch_inbox(inbox.FetchInboxRequest(wait=Duration(nanos=1000)))
    await serves(mesh)


async def test_what_is_put_off_comes_again(mesh: Mesh) -> None:
    await _told(mesh)
    async with inbox_of(mesh) as receiving:
        item = (await receiving.items())[0]
        delay = Duration()
        delay.FromTimedelta(timedelta(milliseconds=50))
        await receiving.say(acknowledging(**{f"_{item.sequence}": delay}))
        assert item.sequence in {each.sequence for each in await receiving.items()}

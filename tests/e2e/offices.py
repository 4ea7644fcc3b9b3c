"""Back offices of one organ, written against the bare stubs: one that does all a client must, and some that do not."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode

from clients.credentials import Credentials
from clients.errors import RongheError, error_of, error_of_status
from clients.identity import Identity
from clients.stream import Stream
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.collaboration.v1.collaboration_pb2 import Answer
from ronghe.collaboration.v1.collaboration_service_pb2_grpc import CollaborationServiceStub
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.department.v1.department_service_pb2_grpc import DepartmentServiceStub
from ronghe.event.v1 import event_pb2 as event
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from ronghe.inbox.v1.inbox_service_pb2_grpc import InboxServiceStub
from ronghe.party.v1.party_pb2 import Officer

OFFICER = Officer(id="1", name="经办人")
REPEATED = (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.RESOURCE_EXHAUSTED)
KNOWN = ("Submitted", "WithdrawalRequested", "Withdrawn", "TaskAssigned", "TaskRecalled")
LATER = timedelta(minutes=1)


class Done(Exception):
    """The program ends."""


class Office:
    """Takes one item after the other; accepts each case, and answers each task."""

    deadline: float | None = 10.0

    def __init__(self, address: str, pki: Path, organ: Identity) -> None:
        own = Credentials.load(pki, organ)
        tls = grpc.ssl_channel_credentials(own.ca, own.key, own.certificate)
        self.channel = grpc.aio.secure_channel(address, tls, options=[("grpc.enable_retries", 0)])
        self.inbox, self.department = InboxServiceStub(self.channel), DepartmentServiceStub(self.channel)
        self.collaborations = CollaborationServiceStub(self.channel)
        self.taken: set[str] = set()
        self.now = Timestamp()

    async def run(self) -> None:
        wait = 0.1
        async with self.channel:
            while True:
                try:
                    await self.session()
                except RongheError as error:
                    if not self.opens_again(error):
                        return
                except Done:
                    return
                await self.pause(wait)
                wait = min(2 * wait, 2.0)

    async def session(self) -> None:
        stream = await self.opened()
        async for message in stream.messages():
            for item in message.items:
                await stream.write(inbox.OpenInboxRequest(acknowledge=await self.said(item)))

    async def opened(self) -> Stream[inbox.OpenInboxRequest, inbox.OpenInboxResponse]:
        stream = Stream[inbox.OpenInboxRequest, inbox.OpenInboxResponse](self.inbox.OpenInbox())
        await stream.write(inbox.OpenInboxRequest(open=inbox.OpenInboxRequest.Open(credit=100)))
        return stream

    async def said(self, item: inbox.InboxItem) -> inbox.OpenInboxRequest.Acknowledge:
        """Take an item; what is said of it."""
        try:
            await self.take(item)
        except RongheError as error:
            if error.reason != "ILLEGAL_STATE":
                nack = inbox.Nack(sequence=item.sequence, delay=_duration(LATER))
                return inbox.OpenInboxRequest.Acknowledge(nacks=[nack])
        return inbox.OpenInboxRequest.Acknowledge(sequences=self.acknowledged(item))

    async def take(self, item: inbox.InboxItem) -> None:
        name = item.event.fact.type_url.rpartition(".")[2]
        if self.knows(item):
            return
        self.now = item.since
        if name == "Submitted":
            await self.accept(item.event.case_id)
        elif name == "TaskAssigned":
            task = event.TaskAssigned()
            item.event.fact.Unpack(task)
            await self.answer(task.task_id)
        self.taken.add(item.event.id)

    async def accept(self, case_id: str) -> None:
        request = department.AcceptApplicationRequest(case_id=case_id, **self.act(case_id, "accept"))
        request.none.reason = "无需其他部门协同"
        await self.call(self.department.AcceptApplication, request)

    async def answer(self, task_id: str) -> None:
        signature = collaboration.SignForTaskRequest(task_id=task_id, **self.act(task_id, "sign"))
        await self.call(self.collaborations.SignForTask, signature)
        request = collaboration.AnswerTaskRequest(task_id=task_id, **self.act(task_id, "answer"))
        request.answer.opinion, request.answer.text = Answer.OPINION_AGREE, "同意"
        await self.call(self.collaborations.AnswerTask, request)

    def act(self, subject: str, name: str) -> dict[str, Any]:
        return {"request_id": str(uuid5(UUID(subject), name)), "actor": OFFICER, "occurred_at": self.now}

    async def call(self, method: Any, request: Any) -> Any:
        wait = 0.1
        while True:
            try:
                return await method(request, timeout=self.deadline)
            except grpc.aio.AioRpcError as failure:
                error = error_of(failure)
            if error.code not in REPEATED:
                raise error
            await asyncio.sleep(self.told_to_wait(error, wait))
            request, wait = self.again(request), 2 * wait

    # --- where others go wrong ---

    def opens_again(self, error: RongheError) -> bool:
        return error.code is StatusCode.UNAVAILABLE

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def knows(self, item: inbox.InboxItem) -> bool:
        return item.event.id in self.taken

    def acknowledged(self, item: inbox.InboxItem) -> Sequence[int]:
        return [item.sequence]

    def told_to_wait(self, error: RongheError, wait: float) -> float:
        return max(error.retry_after or 0.0, wait)

    def again(self, request: Any) -> Any:
        return request


class Polling(Office):
    """The same by FetchInbox and AckInbox."""

    async def session(self) -> None:
        try:
            await self.poll()
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure) from failure

    async def poll(self) -> None:
        while True:
            request = inbox.FetchInboxRequest(wait=_duration(timedelta(seconds=5)))
            fetched = await self.inbox.FetchInbox(request, timeout=10)
            for item in fetched.items:
                said = await self.said(item)
                acknowledged = inbox.AckInboxRequest(sequences=said.sequences, nacks=said.nacks)
                await self.inbox.AckInbox(acknowledged, timeout=10)


class Bulk(Office):
    """The same, with its commands on the bulk stream."""

    async def call(self, method: Any, request: Any) -> Any:
        while True:
            answers = self.department.ExecuteCommands(_one(request))
            (answer,) = (await anext(aiter(answers))).results
            answers.cancel()
            if not answer.HasField("failed"):
                return answer
            error = error_of_status(answer.failed)
            if error.code not in REPEATED:
                raise error
            await asyncio.sleep(self.told_to_wait(error, 0.1))


class Correcting(Office):
    """Asks every applicant to correct, and accepts what was supplemented."""

    async def take(self, item: inbox.InboxItem) -> None:
        name, case_id = item.event.fact.type_url.rpartition(".")[2], item.event.case_id
        self.now = item.since
        if name == "Submitted":
            request = department.RequestCorrectionRequest(case_id=case_id, **self.act(case_id, "correct"))
            request.defects.add(subject="申请表", defect="未签字", required="补签", basis="行政许可法 第三十二条")
            await self.call(self.department.RequestCorrection, request)
        elif name == "Supplemented":
            await self.accept(case_id)


async def _one(request: Any) -> AsyncIterator[department.ExecuteCommandsRequest]:
    command = department.ExecuteCommandsRequest.Command(accept_application=request)
    yield department.ExecuteCommandsRequest(commands=[command])


# --- those that do not ---


class AcknowledgesFirst(Office):
    """And dies before it acts."""

    async def session(self) -> None:
        stream = await self.opened()
        async for message in stream.messages():
            if sequences := [item.sequence for item in message.items]:
                said = inbox.OpenInboxRequest.Acknowledge(sequences=sequences)
                await stream.write(inbox.OpenInboxRequest(acknowledge=said))
                await asyncio.sleep(0.3)
                raise Done


class NewIds(Office):
    """A repetition is another request."""

    def again(self, request: Any) -> Any:
        request.request_id = str(uuid4())
        return request


class NewTimes(Office):
    """A repetition has the time of the repetition."""

    def again(self, request: Any) -> Any:
        request.occurred_at.GetCurrentTime()
        return request


class GivesUp(Office):
    """Takes a lost answer for an answer."""

    async def call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=self.deadline)
        except grpc.aio.AioRpcError:
            return None


class ActsTwice(Office):
    """Knows nothing of what it has done."""

    def knows(self, item: inbox.InboxItem) -> bool:
        return False

    def act(self, subject: str, name: str) -> dict[str, Any]:
        return super().act(subject, name) | {"request_id": str(uuid4())}


class NeverAcknowledges(Office):
    def acknowledged(self, item: inbox.InboxItem) -> Sequence[int]:
        return []


class AcknowledgesAnything(Office):
    def acknowledged(self, item: inbox.InboxItem) -> Sequence[int]:
        return [item.sequence, item.sequence + 1000]


class SkipsTheUnknown(Office):
    def acknowledged(self, item: inbox.InboxItem) -> Sequence[int]:
        return [item.sequence] if item.event.fact.type_url.rpartition(".")[2] in KNOWN else []


class Hurried(Office):
    """Opens a lost inbox in a tight loop."""

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Offended(Office):
    """Never opens a lost inbox again."""

    def opens_again(self, error: RongheError) -> bool:
        return False


class Stubborn(Office):
    """Takes the inbox back."""

    def opens_again(self, error: RongheError) -> bool:
        return True


class Impatient(Office):
    """Does not read RetryInfo."""

    def told_to_wait(self, error: RongheError, wait: float) -> float:
        return 0.05


class Repeating(Office):
    """Repeats what was refused."""

    async def call(self, method: Any, request: Any) -> Any:
        for _ in range(10):
            try:
                return await super().call(method, request)
            except RongheError as error:
                refusal = error
        raise refusal


class PutsOffAtOnce(Office):
    """For ever."""

    times = 0

    async def said(self, item: inbox.InboxItem) -> inbox.OpenInboxRequest.Acknowledge:
        self.times += 1
        if self.times < 10:
            return inbox.OpenInboxRequest.Acknowledge(nacks=[inbox.Nack(sequence=item.sequence, delay=Duration())])
        return await super().said(item)


class WithoutDeadline(Office):
    deadline = None


class OutOfOrder(Office):
    """Closes what is not decided."""

    async def accept(self, case_id: str) -> None:
        await super().accept(case_id)
        await self.call(
            self.department.CloseCase, department.CloseCaseRequest(case_id=case_id, **self.act(case_id, "close"))
        )


class OfTomorrow(Office):
    """Its clock is wrong."""

    def act(self, subject: str, name: str) -> dict[str, Any]:
        return super().act(subject, name) | {"occurred_at": datetime.now(UTC) + timedelta(days=1)}


class Nameless(Office):
    """Does not say who acts."""

    def act(self, subject: str, name: str) -> dict[str, Any]:
        return super().act(subject, name) | {"actor": Officer()}


class Unsigned(Office):
    """Answers what it has not signed for."""

    async def answer(self, task_id: str) -> None:
        request = collaboration.AnswerTaskRequest(task_id=task_id, **self.act(task_id, "answer"))
        request.answer.opinion, request.answer.text = Answer.OPINION_AGREE, "同意"
        await self.call(self.collaborations.AnswerTask, request)


def _duration(delta: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(delta)
    return duration

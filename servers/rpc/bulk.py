"""Bulk calls: many items on one stream, several in a message, each answered by itself, in any order."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import FieldViolation, Refused
from servers.rpc.fitting import bytes_of, fitting
from servers.rpc.validation import validate

Req = TypeVar("Req", bound=Message)
Item = TypeVar("Item", bound=Message)
Result = TypeVar("Result", bound=Message)

# Items of one message, as the contract has it.
MESSAGE_ITEMS = 100
# Items of one stream that are worked on at once; further ones wait in the transport, which slows the client down.
AT_ONCE = 512


async def answer_each(
    requests: AsyncIterator[Req],
    items: Callable[[Req], Sequence[Message]],
    answer: Callable[[Req], Coroutine[Any, Any, Sequence[Result]]],
) -> AsyncGenerator[Sequence[Result], None]:
    """The results of some items each time, as they are ready. Messages are begun in the order they came.

    `answer` turns what is wrong with an item into its result; an error that it raises ends the stream.
    """
    room = _Room(AT_ONCE)
    finished: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
    pending: set[asyncio.Task[Any]] = set()

    def begin(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        pending.add(task)
        task.add_done_callback(finished.put_nowait)
        return task

    async def read() -> None:
        async for request in requests:
            await room.take(len(items(request)))
            begin(answer(request))

    reading = begin(read())
    try:
        while pending:
            task = await finished.get()
            pending.discard(task)
            results = task.result()
            if task is not reading:
                room.give_back(len(results))
                for part in _parts(results):
                    yield part
    finally:
        await _cancel(pending)


async def execute_each(
    message: Message,
    items: Sequence[Item],
    command_of: Callable[[Item], Message],
    execute: Callable[[Sequence[Message]], Awaitable[Sequence[Message | Exception]]],
) -> Sequence[Message | Exception]:
    """The response to each item, or its error; raises Refused where it is the message that is wrong."""
    refusals = _refusals(message, items)
    commands = [command_of(item) for item, refused in zip(items, refusals, strict=True) if refused is None]
    outcomes = iter(await execute(commands))
    return [refused or next(outcomes) for refused in refusals]


def _refusals(message: Message, items: Sequence[Message]) -> Sequence[Refused | None]:
    """Looked at together, which is cheaper; by itself each, where something is wrong. Too many are not looked at."""
    _check_count(message, items)
    whole = _refusal(message)
    if whole is None:
        return [None] * len(items)
    refusals = [_refusal(item) for item in items]
    if not any(refusals):
        raise whole
    return refusals


def _check_count(message: Message, items: Sequence[Message]) -> None:
    if len(items) > MESSAGE_ITEMS:
        field = message.DESCRIPTOR.fields[0]
        problem = f"must contain no more than {MESSAGE_ITEMS} item(s)"
        violations = [FieldViolation(field.name, problem)]
        raise Refused(Reason.REASON_INVALID_FIELD, f"{field.name}: {problem}", violations=violations)


def _refusal(message: Message) -> Refused | None:
    try:
        validate(message)
    except Refused as refused:
        return refused
    return None


class _Room:
    """How many more items one reader may take. A message is taken whole, as soon as there is any room."""

    def __init__(self, items: int) -> None:
        self._items = items
        self._freed = asyncio.Event()

    async def take(self, items: int) -> None:
        while self._items <= 0:
            self._freed.clear()
            await self._freed.wait()
        self._items -= items

    def give_back(self, items: int) -> None:
        self._items += items
        self._freed.set()


def _parts(results: Sequence[Result]) -> Iterator[Sequence[Result]]:
    """In parts, each for a message of its own."""
    rest = iter(results)
    while part := list(fitting(rest, bytes_of)):
        yield part


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

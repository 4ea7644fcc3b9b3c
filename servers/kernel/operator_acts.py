"""Operators' acts: each is done once for a request id, and written down, whether it was done or refused."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Connection, Row, select

from clients.identity import Identity
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.operations.v1 import operations_service_pb2 as pb
from servers.kernel import tables
from servers.kernel.batch import Batch
from servers.kernel.occurred_at import check_occurred_at
from servers.kernel.stream import Refused, StreamKey
from servers.kernel.times import to_micros, to_timestamp

acts = tables.operator_act
TYPE_PREFIX = "type.googleapis.com/"


@dataclass(eq=False)
class Act:
    """A command of an operator; what it does is a function of the open transaction, and raises Refused."""

    command: Any
    caller: Identity
    deadline: float
    """time.monotonic() at which the caller gives up."""
    do: Callable[[Batch, Any], Message]
    as_refusal: Callable[[Any, Exception], Exception] = lambda _, error: error
    """What the caller is told when the transaction cannot be written with what it has done."""
    latest: Callable[[Batch], datetime] = lambda batch: batch.now
    """It may not have happened much later."""

    @property
    def key(self) -> str:
        """What makes a request the same request."""
        return f"{self.caller} {self.command.DESCRIPTOR.name} {self.command.request_id}"

    @property
    def _request(self) -> bytes:
        return self.command.SerializeToString(deterministic=True)  # type: ignore[no-any-return]

    def expects(self, batch: Batch) -> Sequence[StreamKey]:
        """It is rare: what it needs is loaded when its turn comes."""
        return ()

    def apply(self, batch: Batch) -> Message:
        """Do it, or give a repeated request its first answer."""
        if time.monotonic() >= self.deadline:
            raise Refused(Reason.REASON_DEADLINE_EXCEEDED, "the deadline passed before the command's turn came")
        before = batch.connection.execute(select(acts).where(acts.c.key == self.key)).one_or_none()
        return self._repeated(before) if before is not None else self._done(batch)

    def fail(self, batch: Batch, error: Exception) -> Message:
        """What it had begun is undone; that it was refused stays."""
        told = self.as_refusal(self.command, error)
        self._write_down(batch, refusal=_refusal(told))
        raise told from error

    def _done(self, batch: Batch) -> Message:
        before = batch.effects
        try:
            check_occurred_at(self.command.occurred_at, Timestamp(), self.latest(batch))
            response = self.do(batch, self.command)
        except Refused as refused:
            if batch.effects == before:
                self._write_down(batch, refusal=_refusal(refused))
            raise
        self._write_down(batch, key=self.key, response=response.SerializeToString())
        return response

    def _repeated(self, before: Row[Any]) -> Message:
        if before.request != self._request:
            raise Refused(
                Reason.REASON_REQUEST_ID_REUSED,
                "this request_id was used before with another body: use a new one for a new request",
            )
        return _answer_of(self.command).FromString(before.response)

    def _write_down(
        self, batch: Batch, *, key: str | None = None, response: bytes | None = None, refusal: str = ""
    ) -> None:
        batch.connection.execute(
            acts.insert().values(
                key=key,
                caller=str(self.caller),
                recorded_at=to_micros(batch.now),
                command=self.command.DESCRIPTOR.full_name,
                request=self._request,
                response=response,
                refusal=refusal,
            )
        )


def page(connection: Connection, before: int | None, limit: int) -> Sequence[pb.OperatorAct]:
    """Acts before an id, newest first."""
    statement = select(acts).order_by(acts.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(acts.c.id < before)
    return [_act(row) for row in connection.execute(statement)]


def _act(row: Row[Any]) -> pb.OperatorAct:
    act = pb.OperatorAct(
        act_id=row.id, caller=row.caller, recorded_at=to_timestamp(row.recorded_at), refusal=row.refusal
    )
    act.request.type_url, act.request.value = f"{TYPE_PREFIX}{row.command}", row.request
    if row.response is not None:
        act.response.type_url = f"{TYPE_PREFIX}{_answer_name(row.command)}"
        act.response.value = row.response
    return act


def _answer_name(command: str) -> str:
    return f"{command.removesuffix('Request')}Response"


def _answer_of(command: Message) -> type[Message]:
    return getattr(pb, _answer_name(command.DESCRIPTOR.name))  # type: ignore[no-any-return]


def _refusal(error: Exception) -> str:
    """Beginning with the reason; of a bug only its type."""
    if isinstance(error, Refused):
        return f"{Reason.Name(error.reason).removeprefix('REASON_')}: {error.message}"
    return type(error).__name__

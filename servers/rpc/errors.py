"""How failures look on the wire: the one table from reasons to gRPC codes, and the rich status made from it."""

import random
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import Any, NoReturn
from uuid import uuid4

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from bridge.ports import StoreUnavailable
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import Refused

DOMAIN = "ronghe"
PREFIX = "REASON_"
# A status travels in trailing metadata, for which many clients allow 8 KiB; its texts may quote what the caller sent.
MAX_VIOLATIONS = 20
MAX_VIOLATION_BYTES = 3500
MAX_TEXT_BYTES = 600

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Row:
    """The gRPC code of a reason, and after how many seconds a retry of the same call is worth it."""

    code: StatusCode
    retry_after: float | None = None


TABLE: Mapping["Reason.ValueType", Row] = {
    Reason.REASON_UNSPECIFIED: Row(StatusCode.INTERNAL),
    Reason.REASON_INVALID_FIELD: Row(StatusCode.INVALID_ARGUMENT),
    Reason.REASON_INVALID_PAGE_TOKEN: Row(StatusCode.INVALID_ARGUMENT),
    Reason.REASON_INVALID_FORM: Row(StatusCode.INVALID_ARGUMENT),
    Reason.REASON_INVALID_CHECK_DIGIT: Row(StatusCode.INVALID_ARGUMENT),
    Reason.REASON_OCCURRED_AT_OUT_OF_RANGE: Row(StatusCode.INVALID_ARGUMENT),
    Reason.REASON_MATERIAL_MISSING: Row(StatusCode.INVALID_ARGUMENT),
    Reason.REASON_SEQUENCE_NEVER_SENT: Row(StatusCode.INVALID_ARGUMENT),
    Reason.REASON_CASE_NOT_FOUND: Row(StatusCode.NOT_FOUND),
    Reason.REASON_ITEM_NOT_FOUND: Row(StatusCode.NOT_FOUND),
    Reason.REASON_DIVISION_NOT_FOUND: Row(StatusCode.NOT_FOUND),
    Reason.REASON_DOCUMENT_NOT_FOUND: Row(StatusCode.NOT_FOUND),
    Reason.REASON_ORGAN_NOT_FOUND: Row(StatusCode.NOT_FOUND),
    Reason.REASON_COLLABORATION_NOT_FOUND: Row(StatusCode.NOT_FOUND),
    Reason.REASON_TASK_NOT_FOUND: Row(StatusCode.NOT_FOUND),
    Reason.REASON_CENTER_NOT_FOUND: Row(StatusCode.NOT_FOUND),
    Reason.REASON_DEAD_LETTER_NOT_FOUND: Row(StatusCode.NOT_FOUND),
    Reason.REASON_BRIDGE_NOT_FOUND: Row(StatusCode.NOT_FOUND),
    Reason.REASON_CALLER_KIND_NOT_ALLOWED: Row(StatusCode.PERMISSION_DENIED),
    Reason.REASON_CALLER_UNKNOWN: Row(StatusCode.UNAUTHENTICATED),
    Reason.REASON_QUERY_CODE_WRONG: Row(StatusCode.PERMISSION_DENIED),
    Reason.REASON_QUERY_CODE_LOCKED: Row(StatusCode.PERMISSION_DENIED),
    Reason.REASON_ILLEGAL_STATE: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_CASE_CHANGED: Row(StatusCode.ABORTED),
    Reason.REASON_REQUEST_ID_REUSED: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_ITEM_NOT_IN_FORCE: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_ORGAN_NOT_RESOLVED: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_CORRECTION_OPEN: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_NOTICE_NOT_OPEN: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_WITHDRAWAL_PENDING: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_SESSION_TAKEN_OVER: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_LINE_UNANSWERED: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_APPLICANT_NOT_SERVED: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_COLLABORATION_OPEN: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_REQUIRED_COLLABORATION_MISSING: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_REQUIRED_COLLABORATOR_LEFT_OUT: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_DISAGREEMENT_NOT_EXPLAINED: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_COLLABORATION_NOT_CITED: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_ALREADY_ASKED: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_COLLABORATION_ENDED: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_TASK_ENDED: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_TASK_HELD_ELSEWHERE: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_DEFERRED_MATERIAL_MISSING: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_DEAD_LETTER_SETTLED: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_REDRIVE_FAILED: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_CLOCK_NOT_STEPPED: Row(StatusCode.FAILED_PRECONDITION),
    Reason.REASON_OVERLOADED: Row(StatusCode.RESOURCE_EXHAUSTED, retry_after=0.2),
    Reason.REASON_TOO_LARGE: Row(StatusCode.RESOURCE_EXHAUSTED),
    Reason.REASON_STORE_UNAVAILABLE: Row(StatusCode.UNAVAILABLE, retry_after=1.0),
    Reason.REASON_SHUTTING_DOWN: Row(StatusCode.UNAVAILABLE, retry_after=0.5),
    Reason.REASON_DEADLINE_EXCEEDED: Row(StatusCode.DEADLINE_EXCEEDED),
    Reason.REASON_METHOD_NOT_OFFERED: Row(StatusCode.UNIMPLEMENTED),
    Reason.REASON_BUG: Row(StatusCode.INTERNAL),
}

CROWDED = Refused(Reason.REASON_OVERLOADED, "calls wait for too long before they are looked at: try again later")
# Codes that clients retry by themselves, unless the server says when, or not at all.
RETRIED = (StatusCode.RESOURCE_EXHAUSTED, StatusCode.UNAVAILABLE)


def to_status(error: Exception, method: str) -> status_pb2.Status:
    """The status of a failed call, or of one failed item of a bulk call; an unexpected error is logged here."""
    refused = _refusal(error, method)
    return _status(refused, TABLE[refused.reason])


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception, method: str) -> NoReturn:
    """End the call with the error's code, its status as a detail, and the word on retries; raises."""
    refused = _refusal(error, method)
    await context.abort(TABLE[refused.reason].code, _cut(refused.message), trailing_metadata(refused))


async def turn_away(context: grpc.aio.ServicerContext[Any, Any], seconds: float) -> NoReturn:
    """End a call that nobody has the time to look at, by one of few answers that are made once; raises.

    It is worth a retry after about so many seconds: not after the same ones for all, or they would come together.
    """
    spread = round(seconds * random.uniform(0.75, 1.25), 1)  # noqa: S311 - it only spreads load
    left = context.time_remaining()
    metadata = _when_crowded(spread, in_time=left is None or left > spread)
    await context.abort(StatusCode.RESOURCE_EXHAUSTED, CROWDED.message, metadata)


@cache
def _when_crowded(seconds: float, *, in_time: bool) -> tuple[tuple[str, str | bytes], ...]:
    """`in_time`: the call's deadline leaves time for a retry; else its caller is told at once, and why."""
    return _metadata(CROWDED, replace(TABLE[CROWDED.reason], retry_after=seconds), pushed_back=in_time)


def trailing_metadata(refused: Refused) -> tuple[tuple[str, str | bytes], ...]:
    """What goes with the code; a push-back of -1 asks the client not to retry."""
    return _metadata(refused, TABLE[refused.reason])


def _metadata(refused: Refused, row: Row, *, pushed_back: bool = True) -> tuple[tuple[str, str | bytes], ...]:
    details = ("grpc-status-details-bin", _status(refused, row).SerializeToString())
    if row.code not in RETRIED:
        return (details,)
    pushback = round(row.retry_after * 1000) if row.retry_after is not None and pushed_back else -1
    return (details, ("grpc-retry-pushback-ms", str(pushback)))


def code_of(error: Exception) -> StatusCode:
    """The gRPC code with which a call that raised this error ends."""
    match error:
        case Refused():
            return TABLE[error.reason].code
        case StoreUnavailable():
            return StatusCode.UNAVAILABLE
        case _:
            return StatusCode.INTERNAL


def reason_name(reason: "Reason.ValueType") -> str:
    """A reason as it stands on the wire, for example "ILLEGAL_STATE"."""
    return Reason.Name(reason).removeprefix(PREFIX)


def _refusal(error: Exception, method: str) -> Refused:
    match error:
        case Refused():
            return error
        case StoreUnavailable():
            return Refused(
                Reason.REASON_STORE_UNAVAILABLE,
                "the database does not answer; repeat the call with the same request_id to find out what became of it",
            )
        case _:
            return _bug(error, method)


def _bug(error: Exception, method: str) -> Refused:
    """Keep what is needed to find the bug. The error's own text stays out of log and answer: it may quote a message."""
    error_id = uuid4().hex
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    log.error("rpc.bug", method=method, error_id=error_id, error=type(error).__qualname__, frames=frames)
    return Refused(
        Reason.REASON_BUG, f"a bug of ronghe: look for {error_id} in the server's log", {"error_id": error_id}
    )


def _status(refused: Refused, row: Row) -> status_pb2.Status:
    status = status_pb2.Status(code=row.code.value[0], message=_cut(refused.message))
    for detail in _details(refused, row):
        status.details.add().Pack(detail)
    return status


def _details(refused: Refused, row: Row) -> list[Message]:
    reason = reason_name(refused.reason)
    metadata = {name: _cut(value) for name, value in refused.metadata.items()}
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)]
    if refused.violations:
        details.append(_bad_request(refused))
    if row.retry_after is not None:
        delay = Duration()
        delay.FromTimedelta(timedelta(seconds=row.retry_after))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return details


def _bad_request(refused: Refused) -> error_details_pb2.BadRequest:
    """As many violations as fit, and always the first."""
    shown, room = error_details_pb2.BadRequest(), MAX_VIOLATION_BYTES
    for violation in refused.violations[:MAX_VIOLATIONS]:
        if room > 0:
            added = shown.field_violations.add(field=_cut(violation.field), description=_cut(violation.description))
            room -= added.ByteSize()
    return shown


def _cut(text: str) -> str:
    content = text.encode()
    return text if len(content) <= MAX_TEXT_BYTES else content[:MAX_TEXT_BYTES].decode(errors="ignore") + "…"

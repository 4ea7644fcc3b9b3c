"""What a failed call says, as exceptions: branch on the class or on `reason`, never on text."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

DETAILS = "grpc-status-details-bin"


class Violation(NamedTuple):
    """A field of the request and what is wrong with it."""

    field: str
    description: str


@dataclass(eq=False)
class RongheError(Exception):
    """A call failed."""

    reason: str
    """A name of `ronghe.error.v1.Reason` without its prefix; the gRPC code's name where the server gave no reason."""
    message: str
    """One sentence for a person."""
    code: StatusCode
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: Sequence[Violation] = ()
    retry_after: float | None = None
    """Seconds after which the same call is worth a retry, where the server says so."""

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class InvalidRequest(RongheError):
    """The request breaks a rule of the contract or of the item; `violations` names the fields."""


class NotFound(RongheError):
    """There is no such record, or it belongs to someone else."""


class Forbidden(RongheError):
    """The caller is unknown, or may not call this."""


class Refused(RongheError):
    """The command is not legal now, and changed nothing."""


class SessionTakenOver(Refused):
    """Another session of the same receiver has the inbox now."""


class CaseChanged(RongheError):
    """The case is not as the caller saw it: read it, decide again."""


class Overloaded(RongheError):
    """Too much work is waiting, or the request is too large (then there is no `retry_after`)."""


class Unavailable(RongheError):
    """The server or its database does not answer; the same request may be repeated."""


class DeadlineExceeded(RongheError):
    """No answer within the deadline; the same request may be repeated."""


class NotOffered(RongheError):
    """This server does not offer the method."""


_BY_REASON: Mapping[str, type[RongheError]] = {"SESSION_TAKEN_OVER": SessionTakenOver}
_BY_CODE: Mapping[StatusCode, type[RongheError]] = {
    StatusCode.INVALID_ARGUMENT: InvalidRequest,
    StatusCode.OUT_OF_RANGE: InvalidRequest,
    StatusCode.NOT_FOUND: NotFound,
    StatusCode.PERMISSION_DENIED: Forbidden,
    StatusCode.UNAUTHENTICATED: Forbidden,
    StatusCode.FAILED_PRECONDITION: Refused,
    StatusCode.ABORTED: CaseChanged,
    StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    StatusCode.UNAVAILABLE: Unavailable,
    # So end calls that have reached a server which stops before it has looked at them. A caller's own is no error.
    StatusCode.CANCELLED: Unavailable,
    StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    StatusCode.UNIMPLEMENTED: NotOffered,
}
_CODES = {code.value[0]: code for code in StatusCode}


def cut_off(cancelled: asyncio.CancelledError) -> Unavailable:
    """What a call says whose connection was closed under it; raises `cancelled` where the caller is cancelled.

    The library ends the calls of a channel that is closed, as one is whose certificate was renewed, in the same way as
    those of a task that is cancelled: whoever takes the one for the other ends without a word.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise cancelled
    code = StatusCode.UNAVAILABLE
    return Unavailable(code.name, "the connection was closed under the call: make it again", code)


def error_of(error: grpc.aio.AioRpcError) -> RongheError:
    """The exception for a failed call."""
    for name, value in error.trailing_metadata() or ():
        if name == DETAILS and isinstance(value, bytes):
            return error_of_status(status_pb2.Status.FromString(value))
    return _error(error.code(), error.details() or "")


def error_of_status(status: status_pb2.Status) -> RongheError:
    """The exception for a status, for example that of one item of a bulk call."""
    info, request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        for known in (info, request, retry):
            detail.Unpack(known)
    error = _error(_CODES.get(status.code, StatusCode.UNKNOWN), status.message, info.reason)
    error.metadata = dict(info.metadata)
    error.violations = [Violation(each.field, each.description) for each in request.field_violations]
    error.retry_after = retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None
    return error


def _error(code: StatusCode, message: str, reason: str = "") -> RongheError:
    kind = _BY_REASON.get(reason) or _BY_CODE.get(code, RongheError)
    return kind(reason or code.name, message, code)

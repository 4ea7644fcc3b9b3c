"""Page tokens: where a list goes on, sealed so that they can be neither made up nor used for another list."""

import base64
import binascii
import hashlib
import hmac
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from google.protobuf.message import Message

from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import FieldViolation, Refused
from servers.rpc.fitting import bytes_of, fitting

T = TypeVar("T")
M = TypeVar("M", bound=Message)

LIFETIME = 24 * 3600
DEFAULT_SIZE = 50
# Whoever asks for more gets so many: https://google.aip.dev/158.
LARGEST_SIZE = 500
SEAL = 16
EXPIRY = struct.Struct(">I")


class ListRequest(Protocol):
    """A request for a page; its other fields filter the list."""

    page_size: int
    page_token: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows of a list, and the token of the next page; empty on the last."""

    rows: Sequence[T]
    next_token: str


class Pages:
    """Makes and opens page tokens under a key that all replicas of a deployment share (16 bytes or more)."""

    def __init__(self, key: bytes, now: Callable[[], float] = time.time) -> None:
        self._key = key
        self._now = now

    def seal(self, request: Message, after: str) -> str:
        """The token with which the list of this request goes on behind `after`; good for 24 hours."""
        content = EXPIRY.pack(int(self._now()) + LIFETIME) + after.encode()
        return base64.urlsafe_b64encode(self._mac(request, content) + content).decode().rstrip("=")

    def open(self, request: Message) -> str:
        """Behind what the request's page begins; empty for the first page. Raises Refused."""
        token = cast("ListRequest", request).page_token
        if not token:
            return ""
        raw = _decode(token)
        mac, content = raw[:SEAL], raw[SEAL:]
        if len(content) < EXPIRY.size or not hmac.compare_digest(mac, self._mac(request, content)):
            raise _invalid()
        (expires,) = EXPIRY.unpack_from(content)
        if self._now() > expires:
            raise _invalid()
        return content[EXPIRY.size :].decode()

    def _mac(self, request: Message, content: bytes) -> bytes:
        return hmac.digest(self._key, _digest_of_filter(request) + content, "sha256")[:SEAL]


async def page_of(
    pages: Pages,
    request: Message,
    rows_after: Callable[[str, int], Awaitable[Sequence[T]]],
    key_of: Callable[[T], str],
    shown: Callable[[T], M],
) -> Page[M]:
    """The page a request asks for, of rows as they are `shown`.

    `rows_after(key, limit)` gives rows in order of their keys, "" from the first.
    """
    size = min(cast("ListRequest", request).page_size or DEFAULT_SIZE, LARGEST_SIZE)
    rows = await rows_after(pages.open(request), size + 1)
    lines = list(fitting(map(shown, rows[:size]), bytes_of))
    following = len(lines) < len(rows)
    return Page(lines, pages.seal(request, key_of(rows[len(lines) - 1])) if following else "")


def as_it_is(row: M) -> M:
    """For rows that are shown as they were read."""
    return row


def _digest_of_filter(request: Message) -> bytes:
    """What names a list: the type of its request, and every field but those of the paging itself."""
    bare: Any = type(request)()
    bare.CopyFrom(request)
    bare.ClearField("page_size")
    bare.ClearField("page_token")
    name = request.DESCRIPTOR.full_name.encode()
    return hashlib.sha256(name + b"\0" + bare.SerializeToString(deterministic=True)).digest()


def _decode(token: str) -> bytes:
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid() from error


def _invalid() -> Refused:
    return Refused(
        Reason.REASON_INVALID_PAGE_TOKEN,
        "the page token was altered, has expired, or belongs to another list: begin again without one",
        violations=[FieldViolation("page_token", "not a token of this list")],
    )

"""How much one message carries of what there may be much of."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from google.protobuf.message import Message

T = TypeVar("T")

# A client with the libraries' defaults takes 4 MiB, and one event or result has at most 256 KiB.
MESSAGE_BYTES = 1 << 20


def fitting(rows: Iterable[T], size_of: Callable[[T], int], most: int = MESSAGE_BYTES) -> Iterable[T]:
    """The first of the rows: at least one, and little more than so many bytes, a message's if nothing else is said."""
    size = 0
    for row in rows:
        yield row
        size += size_of(row)
        if size >= most:
            return


def bytes_of(message: Message) -> int:
    """Of it on the wire."""
    return message.ByteSize()

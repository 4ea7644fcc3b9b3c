"""Messages of the right shape with wrong contents, and bytes that are no message at all."""

import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from uuid import UUID

from google.protobuf.descriptor import Descriptor, FieldDescriptor

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
DEEPEST = 6
COUNTS = (0, 1, 1, 1, 2, 5)
MANY = (60, 500, 3_000)
"""More of a repeated field than any rule allows."""
NUMBERS = (
    0,
    1,
    2,
    7,
    100,
    127,
    128,
    255,
    2**15,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**53,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
FLOATS = (0.0, -0.0, 1.5, -1.0, float("nan"), float("inf"), float("-inf"), 5e-324, 1.7e308)
TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\u202e\u0645\u0642\u0644\u0648\u0628",
    "e\u0301" * 40,
    "\U0001f3db" * 20,
    "\ufeff\u200b\u2028",
    "%s%n{0}${jndi:x}",
    "'; DROP TABLE journal; --",
    "../../etc/passwd",
    "-1",
    "1e309",
    "NaN",
    "true",
    "2026-02-30",
    "organ/",
    "spiffe://ronghe.local/operator/local",
)
BYTES = (b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"ok\xe4")
"""No UTF-8: a lone surrogate, overlong forms, a character that is cut off."""
LONG = (300, 5_000, 120_000)


class Hostile:
    """Makes request bodies; the same ones for the same seed."""

    def __init__(self, chance: Random, known: Sequence[str]) -> None:
        self._chance = chance
        self.known = known
        """Ids and codes that exist: a guess that is right is worth more than a thousand wrong ones."""

    def request(self, descriptor: Descriptor) -> bytes:
        """The body of a request of this type, or what looks like one."""
        body = self._message(descriptor, 0)
        damage = self._chance.random()
        if damage < 0.80:
            return body
        return self._chance.choice((self._cut, self._flipped, self._lengthened, self._noise))(body)

    def spoiled(self, body: bytes, descriptor: Descriptor) -> bytes:
        """A request that was right, with some fields said again in another way: the last word counts."""
        fields = self._chance.sample(
            list(descriptor.fields), min(len(descriptor.fields), self._chance.choice((0, 1, 2)))
        )
        time = descriptor.fields_by_name["occurred_at"]
        return b"".join(
            [body, *(self._field(field, 0) for field in fields), _tag(time.number, LENGTH), _sized(self._time())]
        )

    def spoiled_once(self, body: bytes, descriptor: Descriptor, kept: Collection[str]) -> bytes:
        """A request that is right, mostly with one field said again in another way, which is none of those."""
        fields = [field for field in descriptor.fields if field.name not in kept]
        spoiled = self._chance.sample(fields, min(len(fields), self._chance.choice((0, 1, 1, 1))))
        return b"".join([body, *(self._field(field, 0) for field in spoiled)])

    # --- bytes that are damaged ---

    def _cut(self, body: bytes) -> bytes:
        return body[: self._chance.randrange(len(body) + 1)]

    def _flipped(self, body: bytes) -> bytes:
        if not body:
            return b"\xff"
        place = self._chance.randrange(len(body))
        return body[:place] + self._chance.randbytes(1) + body[place + 1 :]

    def _lengthened(self, body: bytes) -> bytes:
        return body + self._chance.randbytes(self._chance.randrange(1, 64))

    def _noise(self, body: bytes) -> bytes:
        return self._chance.randbytes(self._chance.choice((1, 10, 200, 5_000)))

    # --- messages of the right shape ---

    def _message(self, descriptor: Descriptor, depth: int) -> bytes:
        if descriptor.full_name == "google.protobuf.Timestamp":
            return self._time()
        parts = [
            self._field(field, depth) for field in descriptor.fields if self._chance.random() < (0.8, 0.5)[depth > 1]
        ]
        if self._chance.random() < 0.05:
            parts.append(_tag(self._chance.choice((999, 19_000, 536_870_911)), LENGTH) + _sized(b"later"))
        return b"".join(parts)

    def _time(self) -> bytes:
        """Never in the past: whatever else is right about a command of anybody's, it is refused for its time."""
        seconds = self._chance.choice((-1, -(2**31), 2**31, 2**40, -(2**62), 253_402_300_799, 253_402_300_800))
        nanos = self._chance.choice((0, 1, 999_999_999, 1_000_000_000, -1))
        return _tag(1, VARINT) + _varint(seconds) + _tag(2, VARINT) + _varint(nanos)

    def _field(self, field: FieldDescriptor, depth: int) -> bytes:
        count = self._chance.choice(COUNTS) if field.is_repeated else 1
        if field.is_repeated and self._chance.random() < 0.005:
            count = self._chance.choice(MANY)
        if self._chance.random() < 0.01:
            return _tag(field.number, self._chance.choice((VARINT, FIXED64, FIXED32, 3, 4, 6))) + b"\x01" * 8
        return b"".join(self._value(field, depth) for _ in range(count))

    def _value(self, field: FieldDescriptor, depth: int) -> bytes:
        if field.message_type is not None:
            inner = self._message(field.message_type, depth + 1) if depth < DEEPEST else b""
            return _tag(field.number, LENGTH) + _sized(inner)
        wire, value = KINDS[field.type](self)
        return _tag(field.number, wire) + value

    def _text(self) -> tuple[int, bytes]:
        draw = self._chance.random()
        if draw < 0.45 and self.known:
            return LENGTH, _sized(self._chance.choice(self.known).encode())
        if draw < 0.55:
            return LENGTH, _sized(str(UUID(int=self._chance.getrandbits(128), version=4)).encode())
        if draw < 0.60:
            return LENGTH, _sized(self._chance.choice(BYTES))
        if draw < 0.61:
            return LENGTH, _sized(b"x" * self._chance.choice(LONG))
        return LENGTH, _sized(self._chance.choice(TEXTS).encode())

    def _blob(self) -> tuple[int, bytes]:
        return LENGTH, _sized(self._chance.randbytes(self._chance.choice((0, 1, 16, 32, 64, 300))))

    def _number(self) -> tuple[int, bytes]:
        return VARINT, _varint(self._chance.choice(NUMBERS) * self._chance.choice((1, -1)))

    def _small(self) -> tuple[int, bytes]:
        return VARINT, _varint(self._chance.choice((0, 1, 2, 3, 4, 5, 6, 7, 99, -1, 2**31)))

    def _fixed64(self) -> tuple[int, bytes]:
        return FIXED64, struct.pack("<Q", self._chance.choice(NUMBERS))

    def _fixed32(self) -> tuple[int, bytes]:
        return FIXED32, struct.pack("<I", self._chance.choice(NUMBERS) & 0xFFFFFFFF)

    def _double(self) -> tuple[int, bytes]:
        return FIXED64, struct.pack("<d", self._chance.choice(FLOATS))

    def _float(self) -> tuple[int, bytes]:
        return FIXED32, struct.pack("<f", self._chance.choice(FLOATS[:7]))


KINDS: Mapping[int, Callable[[Hostile], tuple[int, bytes]]] = {
    FieldDescriptor.TYPE_STRING: Hostile._text,
    FieldDescriptor.TYPE_BYTES: Hostile._blob,
    FieldDescriptor.TYPE_ENUM: Hostile._small,
    FieldDescriptor.TYPE_BOOL: Hostile._small,
    FieldDescriptor.TYPE_DOUBLE: Hostile._double,
    FieldDescriptor.TYPE_FLOAT: Hostile._float,
    FieldDescriptor.TYPE_FIXED64: Hostile._fixed64,
    FieldDescriptor.TYPE_SFIXED64: Hostile._fixed64,
    FieldDescriptor.TYPE_FIXED32: Hostile._fixed32,
    FieldDescriptor.TYPE_SFIXED32: Hostile._fixed32,
    FieldDescriptor.TYPE_INT32: Hostile._number,
    FieldDescriptor.TYPE_INT64: Hostile._number,
    FieldDescriptor.TYPE_UINT32: Hostile._number,
    FieldDescriptor.TYPE_UINT64: Hostile._number,
    FieldDescriptor.TYPE_SINT32: Hostile._number,
    FieldDescriptor.TYPE_SINT64: Hostile._number,
}


def wrapped(body: bytes, numbers: Sequence[int]) -> bytes:
    """A message within others, the outermost field first."""
    for number in reversed(numbers):
        body = _tag(number, LENGTH) + _sized(body)
    return body


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _sized(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

"""A record as a Kafka message: CloudEvents 1.0, Kafka protocol binding, binary content mode."""

from collections.abc import Mapping
from datetime import UTC, datetime

from google.protobuf.message import DecodeError

from bridge.ports import Arrived, Undecodable
from bridge.record import Arrival, Record, canonical, parse_fact
from clients.telemetry import SEND, SpanContext, format_traceparent, hop_span_id, trace_id

Headers = Mapping[str, bytes]
"""Where a message has a header twice, the last one."""
SPECVERSION = "1.0"
CONTENT_TYPE = "application/protobuf"
ALWAYS = {"content-type": CONTENT_TYPE.encode(), "ce_specversion": SPECVERSION.encode()}
REQUIRED = ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject", "ce_streamversion")
TOPIC_ID = "topic-id"
MOST_VERSION = 2**63 - 1


class Malformed(ValueError):
    """A message is no event of ours; the text says why, without the message's contents."""


# What reading bytes that are no record raises.
UNREADABLE = (ValueError, OverflowError, DecodeError)


def headers_of(record: Record) -> dict[str, bytes]:
    """The headers of a record's message; its key is the case id, its value the body."""
    headers = {
        **ALWAYS,
        "ce_id": record.event_id.encode(),
        "ce_source": record.origin.encode(),
        "ce_type": record.type.encode(),
        "ce_time": record.recorded_at.isoformat(timespec="microseconds").replace("+00:00", "Z").encode(),
        "ce_subject": record.stream.encode(),
        "ce_streamversion": b"%d" % record.version,
        "ce_causes": ",".join(record.causes).encode(),
    }
    if record.is_of_case:
        headers["traceparent"] = format_traceparent(send_span(record)).encode()
    return headers


def of_topic(topic_id: str) -> dict[str, bytes]:
    """The header that says for which topic a message is meant: one that is made anew has another id."""
    return {TOPIC_ID: topic_id.encode()}


def is_meant_for(topic_id: str, headers: Headers) -> bool:
    """Whether a message was meant for this topic.

    A producer keeps what it cannot deliver while a topic is made anew, and delivers it before what was lost with the
    topic before. Its relay publishes it again, in its turn.
    """
    return _text(headers, TOPIC_ID) in ("", topic_id)


def send_span(record: Record) -> SpanContext:
    """The span of a record's publication."""
    return SpanContext(trace_id(record.case_id), hop_span_id(record.event_id, SEND))


def type_of(headers: Headers) -> str:
    """The event's type, to be looked at before anything is parsed; empty where there is none."""
    return _text(headers, "ce_type")


def source_of(headers: Headers) -> str:
    """The event's origin; empty where there is none."""
    return _text(headers, "ce_source")


def id_of(headers: Headers) -> str:
    """The event's id; empty where there is none."""
    return _text(headers, "ce_id")


def _text(headers: Headers, name: str) -> str:
    return headers.get(name, b"").decode("utf-8", "replace")


def decode(source: str, key: bytes | None, value: bytes | None, headers: Headers) -> Arrived | Undecodable:
    """The record of a message, or what could not be read as one."""
    try:
        return Arrived(_record(key, value, {name: text.decode() for name, text in headers.items()}), source)
    except UNREADABLE as error:
        return Undecodable(source, readable_case(key or b""), headers, value or b"", problem_of(error))


def problem_of(error: Exception) -> str:
    """What is wrong with a message, without its contents."""
    return str(error) if isinstance(error, Malformed) else f"{type(error).__name__} while it was decoded"


def _record(key: bytes | None, value: bytes | None, fields: Mapping[str, str]) -> Record:
    if key is None:
        raise Malformed("the key is missing: it must be the case id")
    if value is None:
        raise Malformed("the value is missing: it must be the event's bytes")
    if any("\0" in text for text in fields.values()):
        raise Malformed("a header holds a NUL character")
    for name in REQUIRED:
        if not fields.get(name):
            raise Malformed(f"the header {name} is missing")
    if fields["ce_specversion"] != SPECVERSION:
        raise Malformed("it is of another version of CloudEvents")
    return Record(
        event_id=canonical(fields["ce_id"]),
        origin=fields["ce_source"],
        case_id=_case_id(key.decode()),
        stream=fields["ce_subject"],
        version=_version(fields["ce_streamversion"]),
        causes=tuple(map(canonical, filter(None, fields.get("ce_causes", "").split(",")))),
        recorded_at=_time(fields["ce_time"]),
        type=fields["ce_type"],
        body=value,
        fact=parse_fact(fields["ce_type"], value),
        arrival=Arrival.KAFKA,
    )


def _case_id(text: str) -> str:
    if canonical(text) != text:
        raise Malformed("the key is not a case id in its canonical form")
    return text


def _version(text: str) -> int:
    version = int(text)
    if not 0 < version <= MOST_VERSION:
        raise Malformed("the stream's version is out of range")
    return version


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise Malformed("the time does not say in which zone")
    return time.astimezone(UTC)


def readable_case(key: bytes) -> str:
    """The case a broken message belongs to, so that only this case stops; empty where the key does not say."""
    try:
        return _case_id(key.decode())
    except ValueError:
        return ""

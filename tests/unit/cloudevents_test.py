from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cloudevents import Headers, decode, headers_of, send_span, type_of
from bridge.ports import Arrived, Undecodable
from bridge.record import Arrival, Record, fact_class, parse_fact
from clients.telemetry import parse_traceparent
from ronghe.event.v1 import event_pb2

SOURCE = "kafka/ronghe.cases.v1/3/1042"
KNOWN = "ronghe.event.v1.WithdrawalRequested"
CASE = "0193b2a4-6f00-7abc-8def-0123456789ab"

# No database of ours can store a NUL character in a text.
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
facts = st.builds(event_pb2.WithdrawalRequested, reason=words, lead_id=words)


@st.composite
def records(draw: st.DrawFn) -> Record:
    known = draw(st.booleans())
    name = KNOWN if known else "ronghe.event.v1." + draw(st.sampled_from(["Unheard", "加急"]))
    body = draw(facts).SerializeToString() if known else draw(st.binary(max_size=100))
    return Record(
        event_id=str(draw(st.uuids())),
        origin=draw(words),
        case_id=str(draw(st.uuids())),
        stream=draw(words),
        version=draw(st.integers(1, 2**63 - 1)),
        causes=tuple(map(str, draw(st.lists(st.uuids(), max_size=3)))),
        recorded_at=draw(st.datetimes(timezones=st.just(UTC))),
        type=name,
        body=body,
        fact=parse_fact(name, body),
    )


def message_of(record: Record) -> tuple[bytes, bytes, Headers]:
    return record.case_id.encode(), record.body, headers_of(record)


def a_record() -> Record:
    fact = event_pb2.WithdrawalRequested(reason="the shop will not open", lead_id="fire-500103")
    return Record(
        event_id=str(uuid4()),
        origin="intake-01",
        case_id=CASE,
        stream=f"application/{CASE}",
        version=2,
        causes=(str(uuid4()),),
        recorded_at=datetime(2026, 11, 23, 1, 2, 3, 4, tzinfo=UTC),
        type=KNOWN,
        body=fact.SerializeToString(),
        fact=fact,
    )


@given(records())
def test_a_record_survives_the_way_over_kafka_unchanged(record: Record) -> None:
    arrived = decode(SOURCE, *message_of(record))
    assert arrived == Arrived(record._replace(arrival=Arrival.KAFKA), SOURCE)


@given(records())
def test_the_type_is_known_before_anything_is_parsed(record: Record) -> None:
    assert type_of(message_of(record)[2]) == record.type


@given(
    st.none() | st.binary(max_size=50) | st.just(CASE.encode()),
    st.none() | st.binary(max_size=50),
    st.dictionaries(st.sampled_from([*headers_of(a_record())]), st.binary(max_size=40)),
)
def test_whatever_comes_is_a_record_or_is_handed_over_as_it_came(
    key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    found = decode(SOURCE, key, value, headers)
    if isinstance(found, Undecodable):
        assert (found.source, found.value, found.headers) == (SOURCE, value or b"", headers)


BROKEN: Mapping[str, Callable[[dict[str, bytes]], object]] = {
    "the header ce_id is missing": lambda headers: headers.pop("ce_id"),
    "the header ce_type is missing": lambda headers: headers.update(ce_type=b""),
    "it is of another version of CloudEvents": lambda headers: headers.update(ce_specversion=b"0.3"),
    "ValueError while it was decoded": lambda headers: headers.update(ce_id=b"seventeen"),
    "UnicodeDecodeError while it was decoded": lambda headers: headers.update(ce_source=b"\xff"),
    "the stream's version is out of range": lambda headers: headers.update(ce_streamversion=b"9223372036854775808"),
    "the time does not say in which zone": lambda headers: headers.update(ce_time=b"2026-11-23T09:00:00"),
    "OverflowError while it was decoded": lambda headers: headers.update(ce_time=b"0001-01-01T00:00:00+08:00"),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_a_broken_envelope_says_what_is_wrong_and_which_case_it_stops(problem: str) -> None:
    key, value, headers = message_of(a_record())
    fields = dict(headers)
    BROKEN[problem](fields)
    found = decode(SOURCE, key, value, fields)
    assert found == Undecodable(SOURCE, CASE, fields, value, problem)


def test_a_body_that_is_not_of_its_type_is_not_shown_in_the_problem() -> None:
    key, _, headers = message_of(a_record())
    found = decode(SOURCE, key, b"\xff secret", headers)
    assert found == Undecodable(SOURCE, CASE, headers, b"\xff secret", "DecodeError while it was decoded")


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"a case", CASE.upper().encode(), CASE.replace("-", "").encode()])
def test_a_key_that_is_no_canonical_case_id_stops_no_case(key: bytes | None) -> None:
    _, value, headers = message_of(a_record())
    found = decode(SOURCE, key, value, headers)
    assert isinstance(found, Undecodable)
    assert found.case_id == ""


def test_a_type_of_a_later_version_keeps_its_bytes_and_has_no_fact() -> None:
    record = a_record()._replace(type="ronghe.event.v1.Objected", body=b"\xff\x00", fact=None)
    arrived = decode(SOURCE, *message_of(record))
    assert isinstance(arrived, Arrived)
    assert (arrived.record.fact, arrived.record.body) == (None, b"\xff\x00")
    assert fact_class(arrived.record.type) is None


def test_the_time_is_that_of_the_origin_whatever_zone_it_is_told_in() -> None:
    record = a_record()
    told = record.recorded_at.astimezone(timezone(timedelta(hours=8))).isoformat().encode()
    key, value, headers = message_of(record)
    arrived = decode(SOURCE, key, value, {**headers, "ce_time": told})
    assert isinstance(arrived, Arrived)
    assert arrived.record.recorded_at == record.recorded_at


def test_the_trace_of_a_message_is_its_case() -> None:
    record = a_record()
    context = parse_traceparent(dict(message_of(record)[2])["traceparent"].decode())
    assert context == send_span(record)
    assert context.trace_id == UUID(CASE).int

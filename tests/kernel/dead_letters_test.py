"""Parked cases: what is set aside, what waits behind it, and how an operator lets it go on."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.timestamp_pb2 import Timestamp

from bridge.cloudevents import decode, headers_of
from bridge.inbox_source import decode as decode_item
from bridge.ports import Arrived, Undecodable
from bridge.record import Arrival, Record
from clients.errors import Forbidden, NotFound, Refused, RongheError
from clients.operations import OperationsClient
from clients.telemetry.metrics import Metrics
from ronghe.case.v1 import case_pb2
from ronghe.event.v1 import event_pb2 as event
from ronghe.operations.v1 import operations_service_pb2 as pb
from ronghe.party.v1.party_pb2 import Party, PersonalData
from servers.kernel import tables
from servers.kernel.kernel import Kernel
from servers.observed import observe_kernel
from tests.kernel.conftest import Start
from tests.kernel.drive import absorb, execute, foreign, new_case, rows, step, types
from tests.kernel.operator import AUDITOR, OFFICER, Door, door, told
from tests.kernel.toy import Counter


@pytest.fixture
async def front(kernel: Kernel, tmp_path: Path) -> AsyncIterator[Door]:
    async with door(kernel, tmp_path / "pki") as opened:
        yield opened


@pytest.fixture
async def operator(front: Door) -> AsyncIterator[OperationsClient]:
    async with front.open() as client:
        yield client


def said(name: str) -> event.StepRecorded:
    return event.StepRecorded(occurred_at=Timestamp(seconds=1), step=case_pb2.Step(name=name))


def poison(case_id: str, reason: str = "poison") -> Record:
    """The toy's counter cannot react to it."""
    return foreign(case_id, event.WithdrawalRequested(occurred_at=Timestamp(seconds=1), reason=reason))


def lie(case_id: str) -> Record:
    return foreign(case_id, said("lie"), origin="liar-01")


async def waiting(operator: OperationsClient, case_id: str = "") -> Sequence[pb.DeadLetter]:
    return (await operator.list_dead_letters(pb.ListDeadLettersRequest(case_id=case_id))).dead_letters


async def redrive(operator: OperationsClient, letter: pb.DeadLetter) -> pb.RedriveDeadLetterResponse:
    return await operator.redrive_dead_letter(told(pb.RedriveDeadLetterRequest, dead_letter_id=letter.dead_letter_id))


async def discard(operator: OperationsClient, letter: pb.DeadLetter) -> pb.DiscardDeadLetterResponse:
    return await operator.discard_dead_letter(told(pb.DiscardDeadLetterRequest, dead_letter_id=letter.dead_letter_id))


def message(record: Record, offset: int, **changes: Any) -> Arrived | Undecodable:
    """As the consumer reads it from the topic."""
    raw: dict[str, Any] = {
        "key": record.case_id.encode(),
        "value": record.body,
        "headers": headers_of(record),
    } | changes
    return decode(f"kafka/t/0/{offset}", raw["key"], raw["value"], raw["headers"])


async def steps(kernel: Kernel, case_id: str) -> list[str]:
    """The steps of a case, in the order of the journal."""
    found = [row for row in await rows(kernel) if row.case_id == case_id and row.type.endswith("StepRecorded")]
    return [event.StepRecorded.FromString(row.body).step.name for row in found]


def without(headers: Mapping[str, bytes], name: str) -> dict[str, bytes]:
    return {each: value for each, value in headers.items() if each != name}


# --- what is set aside ---


async def test_what_cannot_be_taken_in_stops_only_its_own_case(kernel: Kernel, operator: OperationsClient) -> None:
    cases = {name: new_case() for name in ("garbage", "header", "oversize", "impossible", "liar", "well")}
    oversize = foreign(cases["oversize"], said("x" * 300_000))
    header = foreign(cases["header"])
    await kernel.absorb(
        [
            message(foreign(cases["garbage"]), 0, value=b"\xff\xff garbage"),
            message(header, 1, headers=without(headers_of(header), "ce_time")),
            message(oversize, 2),
            message(poison(cases["impossible"]), 3),
            message(lie(cases["liar"]), 4),
            *(message(foreign(case_id), 5 + number) for number, case_id in enumerate(cases.values())),
        ],
        [],
    )
    assert {row.case_id for row in await rows(kernel)} == {cases["well"]}
    letters = await waiting(operator)
    first = {letter.case_id: letter.problem for letter in reversed(letters)}
    assert {name: first[case_id] for name, case_id in cases.items() if case_id in first} == {
        "garbage": "DecodeError while it was decoded",
        "header": "the header ce_time is missing",
        "oversize": f"it has {len(oversize.body)} bytes, at most 262144 are allowed",
        "impossible": "ValueError while it was taken in",
        "liar": f"liar-01 may not say ronghe.event.v1.StepRecorded about counter/{cases['liar']}",
    }
    assert len(letters) == 10
    assert {letter.state for letter in letters} == {pb.DeadLetter.STATE_WAITING}
    status = await operator.get_bridge_status(pb.GetBridgeStatusRequest())
    assert (status.parked, status.parked_cases) == (10, 5)
    assert status.oldest_parked == letters[0].parked_at


@pytest.mark.parametrize("key", [None, b"", b"not a case", b"\xff"])
async def test_a_record_without_a_readable_case_stops_nobody_and_can_only_be_discarded(
    kernel: Kernel, operator: OperationsClient, key: bytes | None
) -> None:
    case = new_case()
    await kernel.absorb([message(foreign(case), 0, key=key), message(foreign(case), 1)], [])
    assert await steps(kernel, case) == ["far away"]
    (letter,) = await waiting(operator)
    with pytest.raises(Refused, match="REDRIVE_FAILED"):
        await redrive(operator, letter)
    assert list((await discard(operator, letter)).waiting) == []
    assert await waiting(operator) == []


async def test_headers_that_no_database_can_store_are_set_aside_too(kernel: Kernel, operator: OperationsClient) -> None:
    case = new_case()
    record = foreign(case)
    hostile = {**headers_of(record), "ce_source": b"intake\0-01", "x": b"\xff\0"}
    await kernel.absorb([message(record, 0, headers=hostile), message(foreign(new_case()), 1)], [])
    (letter,) = await waiting(operator)
    assert letter.problem in ("a header holds a NUL character", "UnicodeDecodeError while it was decoded")
    assert len(await types(kernel)) == 2
    await operator.get_dead_letter(pb.GetDeadLetterRequest(dead_letter_id=letter.dead_letter_id))


async def test_later_records_wait_in_order_wherever_they_come_from_and_commands_go_on(
    kernel: Kernel, operator: OperationsClient
) -> None:
    """A command is decided on what its stream has taken in, as if the waiting records were still on their way."""
    case = new_case()
    await absorb(kernel, lie(case))
    await absorb(kernel, foreign(case, said("by kafka")), offset=1)
    by_inbox = foreign(case, said("by inbox"))._replace(arrival=Arrival.INBOX)
    await kernel.absorb([Arrived(by_inbox, "inbox/intake-01/1/7")], [])
    await execute(kernel, step(case, "by a person"))
    assert await steps(kernel, case) == ["by a person"]
    assert [letter.source for letter in await waiting(operator, case)] == [
        "kafka/t/0/0", "kafka/t/0/1", "inbox/intake-01/1/7",
    ]  # fmt: skip


async def test_two_records_that_came_from_one_place_are_both_set_aside(
    kernel: Kernel, operator: OperationsClient
) -> None:
    """A broker that was put back from older data gives an offset out again, on the topic with the same id."""
    case, elsewhere = new_case(), new_case()
    first, second, lost = lie(case), foreign(case), poison(elsewhere)
    await kernel.absorb([message(first, 7), message(first, 8, key=b"no case")], [])
    for _ in range(2):  # each again, as after a commit of unknown outcome
        await kernel.absorb([message(second, 7), message(lost, 7), message(second, 8, key=b"no case")], [])
    letters = await waiting(operator)
    assert [letter.event_id for letter in letters] == [
        first.event_id, first.event_id, second.event_id, lost.event_id, second.event_id,
    ]  # fmt: skip
    place, other = "kafka/t/0/7", "kafka/t/0/8"
    assert [letter.source for letter in letters] == [place, other, place, place, other]


async def test_a_record_that_waits_is_not_set_aside_again_when_it_is_published_again(
    kernel: Kernel, operator: OperationsClient
) -> None:
    case = new_case()
    bad, good = lie(case), foreign(case)
    for offset in (0, 10, 20):
        await absorb(kernel, bad, good, offset=offset)
    assert len(await waiting(operator)) == 2


async def test_alarms_see_what_is_set_aside_and_what_nobody_acknowledges(kernel: Kernel) -> None:
    metrics = Metrics("department-09", otlp=False)
    observe_kernel(metrics, kernel)
    assert metrics.snapshot()["ronghe.parked"] == 0
    await absorb(kernel, lie(new_case()), foreign(new_case()))
    figures = metrics.snapshot()
    assert (figures["ronghe.parked"], figures["ronghe.inbox.depth{ronghe.of=organ}"]) == (1, 2)
    assert 0 <= figures["ronghe.inbox.age{ronghe.of=organ}"] < 60
    metrics.close()


# --- redriving ---


async def test_a_redrive_takes_everything_of_the_case_in_in_order(
    kernel: Kernel, operator: OperationsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, other = new_case(), new_case()
    by_inbox = foreign(case, said("third"))._replace(arrival=Arrival.INBOX)
    await absorb(kernel, foreign(case, said("first"), origin="liar-01"), foreign(case, said("second")), lie(other))
    await kernel.absorb([Arrived(by_inbox, "inbox/intake-01/1/7")], [])
    monkeypatch.setattr(Counter, "may_say", lambda *_: True)  # the version with the mistake is replaced
    first, second, _, third = await waiting(operator)
    answer = await redrive(operator, second)
    assert list(answer.dead_letter_ids) == [each.dead_letter_id for each in (first, second, third)]
    assert (answer.case_id, answer.taken_in) == (case, 3)
    assert await steps(kernel, case) == ["first", "second", "third"]
    journal = [row for row in await rows(kernel) if row.type.endswith("StepRecorded")]
    assert [row.arrival for row in journal] == [Arrival.KAFKA, Arrival.KAFKA, Arrival.INBOX]
    assert (journal[2].event_id, journal[2].stream, journal[2].recorded_at) == (
        by_inbox.event_id, by_inbox.stream, int(by_inbox.recorded_at.timestamp() * 1_000_000),
    )  # fmt: skip
    assert [letter.case_id for letter in await waiting(operator)] == [other]
    await absorb(kernel, foreign(case, said("fourth")), offset=9)
    assert (await steps(kernel, case))[3:] == ["fourth"]


async def test_a_redrive_that_fails_changes_nothing_and_says_which_and_why(
    kernel: Kernel, operator: OperationsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = new_case()
    await absorb(kernel, lie(case), foreign(case, said("second")), poison(case), foreign(case, said("fourth")))
    monkeypatch.setattr(Counter, "may_say", lambda *_: True)
    letters = await waiting(operator)
    tables_before = [await rows(kernel, table) for table in (tables.journal, Counter.table, tables.inbox)]
    with pytest.raises(Refused) as failure:
        await redrive(operator, letters[0])
    assert failure.value.reason == "REDRIVE_FAILED"
    assert failure.value.metadata == {
        "dead_letter_id": str(letters[2].dead_letter_id), "problem": "ValueError while it was taken in",
    }  # fmt: skip
    assert "personal" not in failure.value.message
    assert [await rows(kernel, table) for table in (tables.journal, Counter.table, tables.inbox)] == tables_before
    assert await waiting(operator) == letters

    answer = await discard(operator, letters[2])
    assert list(answer.waiting) == [letters[number].dead_letter_id for number in (0, 1, 3)]
    assert (await redrive(operator, letters[3])).taken_in == 3
    assert await steps(kernel, case) == ["lie", "second", "fourth"]


async def test_what_could_not_be_decoded_is_read_anew(
    kernel: Kernel, operator: OperationsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = new_case()
    record = foreign(case, said("hard to read"))
    monkeypatch.setattr("bridge.cloudevents.SPECVERSION", "2.0")  # a version of ours that asked for too much
    unread = [message(record, 0, headers={**without(headers_of(record), "ce_specversion"), "ce_specversion": b"1.0"})]
    monkeypatch.undo()
    await kernel.absorb(unread, [])
    (letter,) = await waiting(operator)
    assert letter.problem == "it is of another version of CloudEvents"
    assert (await redrive(operator, letter)).taken_in == 1
    assert await steps(kernel, case) == ["hard to read"]


async def test_an_inbox_item_that_could_not_be_decoded_is_read_anew(
    kernel: Kernel, operator: OperationsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = new_case()
    item = event.Event(id=str(uuid4()), origin="intake-01", case_id=case, stream="application/1", version=3)
    item.recorded_at.FromSeconds(1_795_000_000)
    item.fact.Pack(said("from an inbox"))
    with monkeypatch.context() as broken:
        broken.setattr("bridge.inbox_source.parse_fact", lambda *_: int("a version with a mistake"))
        unread = decode_item(item, "inbox/intake-01/1/5")
    await kernel.absorb([unread], [])
    (letter,) = await waiting(operator)
    assert (letter.stream, letter.version) == ("application/1", 3)
    assert (await redrive(operator, letter)).taken_in == 1
    row = (await rows(kernel))[0]
    assert (row.event_id, row.version, row.arrival, row.recorded_at) == (
        item.id, 3, Arrival.INBOX, 1_795_000_000_000_000,
    )  # fmt: skip


async def test_a_message_without_a_value_stays_one(kernel: Kernel, operator: OperationsClient) -> None:
    await kernel.absorb([message(foreign(new_case()), 0, value=None)], [])
    (letter,) = await waiting(operator)
    with pytest.raises(Refused, match="the value is missing"):
        await redrive(operator, letter)


async def test_what_came_another_way_meanwhile_is_passed_over(
    kernel: Kernel, operator: OperationsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = new_case()
    record = foreign(case, said("once"))
    await absorb(kernel, record)
    broken = Undecodable("kafka/t/0/5", case, headers_of(record),
                         record.body, "a mistake of ours")  # fmt: skip
    await kernel.absorb([broken], [])
    (letter,) = await waiting(operator)
    answer = await redrive(operator, letter)
    assert (list(answer.dead_letter_ids), answer.taken_in) == ([letter.dead_letter_id], 0)
    assert await steps(kernel, case) == ["once"]


async def test_what_is_settled_cannot_be_settled_again(kernel: Kernel, operator: OperationsClient) -> None:
    await absorb(kernel, lie(new_case()))
    (letter,) = await waiting(operator)
    await discard(operator, letter)
    for again in (redrive, discard):
        with pytest.raises(Refused) as failure:
            await again(operator, letter)
        assert (failure.value.reason, failure.value.metadata) == ("DEAD_LETTER_SETTLED", {"state": "discarded"})
    with pytest.raises(NotFound, match="DEAD_LETTER_NOT_FOUND"):
        await redrive(operator, pb.DeadLetter(dead_letter_id=2**62))


# --- discarding ---


async def test_what_is_discarded_stays_so_when_it_comes_again_but_not_its_whole_copy(
    kernel: Kernel, operator: OperationsClient
) -> None:
    case = new_case()
    bad = lie(case)
    whole = foreign(case, said("whole"))
    await kernel.absorb([Arrived(bad, "kafka/t/0/0"), message(whole, 1, value=b"\xff\xff")], [])
    for letter in await waiting(operator):
        await discard(operator, letter)
    await kernel.absorb([Arrived(bad, "kafka/t/0/10"), message(whole, 11)], [])
    assert await waiting(operator) == []
    assert await steps(kernel, case) == ["whole"]
    everything = await operator.list_dead_letters(pb.ListDeadLettersRequest(settled=True))
    assert {letter.state for letter in everything.dead_letters} == {pb.DeadLetter.STATE_DISCARDED}


async def test_a_case_goes_on_when_its_last_dead_letter_is_discarded(
    kernel: Kernel, operator: OperationsClient
) -> None:
    case = new_case()
    await absorb(kernel, lie(case))
    await discard(operator, (await waiting(operator))[0])
    await absorb(kernel, foreign(case, said("next")), offset=1)
    assert await steps(kernel, case) == ["next"]


# --- what is shown ---


async def test_a_dead_letter_is_shown_without_personal_data(kernel: Kernel, operator: OperationsClient) -> None:
    case = new_case()
    application = case_pb2.Application(
        case_id=case, case_no="5001", personal=PersonalData(applicant=Party(name="王小明", mobile="13800000000"))
    )
    # A field of a later version: 9999 = "王小明".
    unknown = b"\xfa\xf0\x04\x09" + "王小明".encode()
    fact = event.Submitted(application=application)
    body = fact.SerializeToString() + unknown
    record = foreign(case, fact, origin="liar-01")._replace(body=body, causes=(str(uuid4()),))
    await absorb(kernel, record)
    (letter,) = await waiting(operator)
    found = await operator.get_dead_letter(pb.GetDeadLetterRequest(dead_letter_id=letter.dead_letter_id))
    assert found.dead_letter == letter
    assert (letter.size, letter.origin, letter.version) == (len(record.body), "liar-01", 1)
    assert list(found.causes) == [record.causes[0]]
    shown = event.Submitted()
    assert found.fact.Unpack(shown)
    assert shown.application.case_no == "5001"
    assert "王小明".encode() not in found.SerializeToString()
    assert b"13800000000" not in found.SerializeToString()


async def test_what_cannot_be_parsed_is_shown_without_a_fact(kernel: Kernel, operator: OperationsClient) -> None:
    await kernel.absorb([message(foreign(new_case()), 0, value=b"\xff\xff 13800000000")], [])
    (letter,) = await waiting(operator)
    found = await operator.get_dead_letter(pb.GetDeadLetterRequest(dead_letter_id=letter.dead_letter_id))
    assert found.fact == Packed()
    assert b"13800000000" not in found.SerializeToString()


async def test_dead_letters_are_listed_page_by_page(kernel: Kernel, operator: OperationsClient) -> None:
    await absorb(kernel, *(lie(new_case()) for _ in range(5)))
    request, found = pb.ListDeadLettersRequest(page_size=2), []
    for size in (2, 2, 1):
        page = await operator.list_dead_letters(request)
        assert len(page.dead_letters) == size
        found += [letter.dead_letter_id for letter in page.dead_letters]
        request.page_token = page.next_page_token
    assert not request.page_token
    assert sorted(set(found)) == found


# --- who may, once, and for the record ---


async def test_an_auditor_sees_everything_and_changes_nothing(kernel: Kernel, front: Door) -> None:
    await absorb(kernel, lie(new_case()))
    async with front.open(AUDITOR) as auditor:
        (letter,) = await waiting(auditor)
        await auditor.get_dead_letter(pb.GetDeadLetterRequest(dead_letter_id=letter.dead_letter_id))
        await auditor.list_operator_acts(pb.ListOperatorActsRequest())
        for act in (
            redrive(auditor, letter),
            discard(auditor, letter),
            auditor.pause_bridge(told(pb.PauseBridgeRequest, bridge=pb.BRIDGE_RELAY)),
            auditor.resume_bridge(told(pb.ResumeBridgeRequest, bridge=pb.BRIDGE_RELAY)),
            auditor.republish_since(told(pb.RepublishSinceRequest, position=1)),
        ):
            with pytest.raises(Forbidden, match="CALLER_KIND_NOT_ALLOWED"):
                await act


async def test_a_repeated_act_gets_its_first_answer_and_has_one_effect(
    kernel: Kernel, operator: OperationsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = new_case()
    await absorb(kernel, lie(case))
    monkeypatch.setattr(Counter, "may_say", lambda *_: True)
    (letter,) = await waiting(operator)
    request = told(pb.RedriveDeadLetterRequest, dead_letter_id=letter.dead_letter_id)
    assert await operator.redrive_dead_letter(request) == await operator.redrive_dead_letter(request)
    assert await steps(kernel, case) == ["lie"]
    request.reason = "another one"
    with pytest.raises(RongheError, match="REQUEST_ID_REUSED"):
        await operator.redrive_dead_letter(request)


async def test_a_refused_act_is_not_remembered_as_done(
    kernel: Kernel, operator: OperationsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await absorb(kernel, lie(new_case()))
    (letter,) = await waiting(operator)
    request = told(pb.RedriveDeadLetterRequest, dead_letter_id=letter.dead_letter_id)
    with pytest.raises(Refused, match="REDRIVE_FAILED"):
        await operator.redrive_dead_letter(request)
    monkeypatch.setattr(Counter, "may_say", lambda *_: True)
    assert (await operator.redrive_dead_letter(request)).taken_in == 1


async def test_an_act_of_the_future_is_refused(kernel: Kernel, operator: OperationsClient) -> None:
    await absorb(kernel, lie(new_case()))
    (letter,) = await waiting(operator)
    request = told(pb.DiscardDeadLetterRequest, dead_letter_id=letter.dead_letter_id)
    request.occurred_at.seconds += 3600
    with pytest.raises(RongheError, match="OCCURRED_AT_OUT_OF_RANGE"):
        await operator.discard_dead_letter(request)
    assert await waiting(operator) == [letter]


async def test_every_act_is_kept_with_who_did_it_and_why_the_refused_ones_too(
    kernel: Kernel, operator: OperationsClient
) -> None:
    case = new_case()
    await absorb(kernel, lie(case), poison(case), foreign(case))
    first, second, _ = await waiting(operator)
    await discard(operator, first)
    with pytest.raises(Refused):
        await redrive(operator, second)
    acts = (await operator.list_operator_acts(pb.ListOperatorActsRequest())).acts
    assert [act.request.TypeName().rpartition(".")[2] for act in acts] == [
        "RedriveDeadLetterRequest", "DiscardDeadLetterRequest",
    ]  # fmt: skip
    refused, done = acts
    assert refused.refusal.startswith("REDRIVE_FAILED: dead letter")
    assert not refused.HasField("response")
    request, response = pb.DiscardDeadLetterRequest(), pb.DiscardDeadLetterResponse()
    assert done.request.Unpack(request)
    assert done.response.Unpack(response)
    assert (done.caller, request.actor, request.dead_letter_id) == ("operator/local", OFFICER, first.dead_letter_id)
    assert response.case_id == case
    first_page = await operator.list_operator_acts(pb.ListOperatorActsRequest(page_size=1))
    second_page = await operator.list_operator_acts(
        pb.ListOperatorActsRequest(page_size=1, page_token=first_page.next_page_token)
    )
    assert [*first_page.acts, *second_page.acts] == list(acts)


# --- facts whose type was not known ---


def hidden(monkeypatch: pytest.MonkeyPatch, *type_names: str) -> None:
    """As in a version that does not have the types in its pool."""
    from bridge import record

    known = record.fact_class

    def fact_class(name: str) -> Any:
        return None if name in type_names else known(name)

    monkeypatch.setattr("bridge.record.fact_class", fact_class)
    monkeypatch.setattr("servers.kernel.late.fact_class", fact_class)


CORRECTION = event.CorrectionRequested.DESCRIPTOR.full_name


def correction(case_id: str) -> Record:
    return foreign(case_id, event.CorrectionRequested(occurred_at=Timestamp(seconds=1)))


async def test_a_fact_of_an_unknown_type_takes_effect_after_the_upgrade(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = new_case()
    late = correction(case)
    with monkeypatch.context() as older:
        hidden(older, CORRECTION)
        async with start() as kernel:
            await kernel.absorb([message(foreign(case, said("before")), 0), message(late, 1)], [])
            await absorb(kernel, foreign(case, said("after")), offset=2)
            (row,) = await rows(kernel, Counter.table)
            assert (row.version, row.taken) == (2, 2)
        async with start() as kernel:
            assert (await rows(kernel, Counter.table))[0].version == 2
    async with start() as kernel:
        (row,) = await rows(kernel, Counter.table)
        assert (row.version, row.last_event_id) == (3, late.event_id)
        inbox = await rows(kernel, tables.inbox)
        journal = await rows(kernel)
        position = next(row.position for row in journal if row.event_id == late.event_id)
        assert [each.position for each in inbox if each.receiver == "organ/all"][-1] == position
    async with start() as again:
        assert (await rows(again, Counter.table))[0].version == 3
        assert len(await rows(again)) == len(journal)


async def test_a_state_folded_anew_takes_a_late_fact_where_its_stream_took_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also before it was taken in: a version that knows a type mostly folds in another way as well."""
    case, order = new_case(), []

    class Recording(Counter):
        fold_version = 2

        def evolve(self, state: Any, record: Record, version: int) -> None:
            order.append((record.type.rpartition(".")[2], version))
            super().evolve(state, record, version)

    from servers.kernel.subsystem import Subsystem
    from tests.kernel.toy import MIGRATIONS, Shadow

    def upgraded(fold_version: int) -> Subsystem:
        rules = Recording()
        rules.fold_version = fold_version
        return Subsystem("department-09", [rules, Shadow()], MIGRATIONS)

    with monkeypatch.context() as older:
        hidden(older, CORRECTION)
        async with start() as kernel:
            await kernel.absorb([message(correction(case), 0), message(foreign(case, said("known")), 1)], [])
    taken = [("StepRecorded", 1), ("CorrectionRequested", 2)]
    async with start(upgraded(2)) as kernel:
        assert order == taken
        assert (await rows(kernel, Counter.table))[0].version == 2
    order.clear()
    async with start(upgraded(3)) as kernel:
        await execute(kernel, step(case))
        assert order == [*taken, ("StepRecorded", 3)]


async def test_a_late_fact_that_cannot_be_taken_in_is_set_aside_and_redriven(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sick, torn, well = new_case(), new_case(), new_case()
    with monkeypatch.context() as older:
        hidden(older, event.WithdrawalRequested.DESCRIPTOR.full_name)
        hidden_facts = [
            message(poison(sick), 0),
            message(poison(torn), 1, value=b"\xff"),
            message(poison(well, "so"), 2),
        ]
        async with start() as kernel:
            await kernel.absorb(hidden_facts, [])
    async with (
        start() as kernel,
        door(kernel, tmp_path / "pki") as front,
        front.open() as operator,
    ):
        letters = await waiting(operator)
        assert [(letter.source, letter.problem) for letter in letters] == [
            ("journal/1", "ValueError while it was taken in"),
            ("journal/2", "its bytes are no ronghe.event.v1.WithdrawalRequested"),
        ]
        assert [row.case_id for row in await rows(kernel, Counter.table)] == [well]
        await absorb(kernel, foreign(sick, said("behind")), offset=5)
        monkeypatch.setattr(Counter, "react", lambda *_: [])
        assert (await redrive(operator, letters[0])).taken_in == 2
        assert await steps(kernel, sick) == ["behind"]
        with pytest.raises(Refused, match="REDRIVE_FAILED"):
            await redrive(operator, letters[1])
        await discard(operator, letters[1])
    async with start() as kernel:
        assert [row for row in await rows(kernel, tables.dead_letter) if row.settled_at is None] == []


async def test_a_redrive_that_fails_behind_a_late_fact_leaves_no_state_changed(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sick, reacts = new_case(), Counter.react
    with monkeypatch.context() as older:
        hidden(older, CORRECTION, event.WithdrawalRequested.DESCRIPTOR.full_name)
        async with start() as kernel:
            await kernel.absorb([message(correction(sick), 0), message(poison(sick), 1)], [])
    monkeypatch.setattr(Counter, "react", lambda *_: 1 // 0)
    async with (
        start() as kernel,
        door(kernel, tmp_path / "pki") as front,
        front.open() as operator,
    ):
        letters = await waiting(operator)
        assert [letter.source for letter in letters] == ["journal/1", "journal/2"]
        monkeypatch.setattr(Counter, "react", reacts)
        with pytest.raises(Refused, match="REDRIVE_FAILED"):
            await redrive(operator, letters[0])
        assert await rows(kernel, Counter.table) == []
        monkeypatch.setattr(Counter, "react", lambda *_: [])
        assert (await redrive(operator, letters[0])).taken_in == 2
        assert [row.version for row in await rows(kernel, Counter.table)] == [2]

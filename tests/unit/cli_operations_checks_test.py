"""What the doctor looks for: each alarm, and when it is one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from clients.cli.certificates import Certificate
from clients.cli.checks import Finding, Level, check_certificates, check_disk, check_subsystem, worst
from ronghe.operations.v1 import operations_service_pb2 as pb
from ronghe.party.v1.party_pb2 import Officer

NOW = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)


def ago(**time: float) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(NOW - timedelta(**time))
    return found


def healthy(**changes: Any) -> pb.GetBridgeStatusResponse:
    """A center with nothing to complain about."""
    status = pb.GetBridgeStatusResponse(
        origin="governance-01",
        relay=pb.RelayStatus(position=10),
        consumers=[pb.ConsumerStatus(topic="t", partition=0, lag=0), pb.ConsumerStatus(topic="t", partition=1, lag=-1)],
        sources=[pb.SourceStatus(peer="intake-01", connected=True)],
        inboxes=[pb.InboxStatus(receiver="organ/fire-500103", unacknowledged=3, oldest_since=ago(minutes=59))],
        now=ago(),
    )
    for name in changes:
        status.ClearField(name)  # type: ignore[arg-type] # a field's name
    status.MergeFrom(pb.GetBridgeStatusResponse(**changes))
    return status


def found(status: pb.GetBridgeStatusResponse, *letters: pb.DeadLetter) -> list[Finding]:
    return list(check_subsystem("governance", status, letters, NOW))


def complaints(status: pb.GetBridgeStatusResponse, *letters: pb.DeadLetter) -> list[tuple[Level, str, str]]:
    return [(each.level, each.subject, each.helps) for each in found(status, *letters) if each.level]


def test_all_is_well() -> None:
    assert worst(found(healthy())) is Level.OK
    assert {each.subject for each in found(healthy())} == {
        "governance: clock", "governance/relay", "governance/consumer", "governance/inbox-source",
        "governance: inboxes", "governance: stuck cases",
    }  # fmt: skip
    assert all(not each.helps for each in found(healthy()))


@pytest.mark.parametrize(
    ("seconds", "level"), [(4, None), (-4, None), (6, Level.WARN), (-6, Level.WARN), (61, Level.FAIL)]
)
def test_clocks_that_differ(seconds: int, level: Level | None) -> None:
    expected = [(level, "governance: clock", "timedatectl")] if level else []
    assert complaints(healthy(now=ago(seconds=seconds))) == expected


def test_a_machines_clock_that_was_stepped_is_a_failure_until_it_is_confirmed() -> None:
    status = healthy(clock=pb.ClockStatus(step=Duration(seconds=-3600)))
    ((level, subject, helps),) = complaints(status)
    assert (level, subject) == (Level.FAIL, "governance: clock")
    assert helps.startswith("ronghe clock confirm")
    assert any("-3600 s" in each.found for each in found(status))


def test_a_simulation_that_was_advanced_is_no_alarm_and_ages_are_by_its_clock() -> None:
    later = ago(days=-2)
    status = healthy(
        now=later,
        clock=pb.ClockStatus(stepped=True, advanced=Duration(seconds=2 * 86400)),
        inboxes=[pb.InboxStatus(receiver="service/intake-01", unacknowledged=1, oldest_since=later)],
    )
    assert complaints(status) == []
    assert any("a simulation, advanced by 2 days" in each.found for each in found(status))


@pytest.mark.parametrize(("seconds", "level"), [(9, None), (11, Level.WARN), (61, Level.FAIL)])
def test_rows_that_wait_for_the_relay(seconds: int, level: Level | None) -> None:
    relay = pb.RelayStatus(lag=5, oldest_waiting=ago(seconds=seconds))
    expected = [(level, "governance/relay", "ronghe bridge status --at governance")] if level else []
    assert complaints(healthy(relay=relay)) == expected


def test_errors_of_bridges() -> None:
    broken = healthy(
        relay=pb.RelayStatus(lag=5, last_error="KafkaUnavailable: no broker"),
        consumers=[pb.ConsumerStatus(last_error="KafkaUnavailable: no broker")],
        sources=[pb.SourceStatus(peer="intake-01", last_error="UNAVAILABLE")],
    )
    assert [(level, subject) for level, subject, _ in complaints(broken)] == [
        (Level.FAIL, "governance/relay"), (Level.FAIL, "governance/consumer"), (Level.FAIL, "governance/inbox-source"),
    ]  # fmt: skip


def test_a_consumer_that_lags_or_has_no_partitions() -> None:
    lagging = healthy(consumers=[pb.ConsumerStatus(lag=600), pb.ConsumerStatus(lag=600)])
    for status in (lagging, healthy(consumers=[])):
        assert complaints(status) == [(Level.WARN, "governance/consumer", "ronghe bridge status --at governance")]


def test_a_subsystem_without_a_relay_is_not_asked_for_one() -> None:
    intake = healthy()
    intake.ClearField("relay")
    del intake.consumers[:]
    assert complaints(intake) == []


def test_a_paused_bridge_is_a_warning_and_nothing_else_is_asked_of_it() -> None:
    officer = Officer(id="1", name="王敏")
    paused = [pb.PausedBridge(bridge=bridge, since=ago(hours=1), officer=officer) for bridge in (1, 2, 3)]
    status = healthy(paused=paused, consumers=[], sources=[pb.SourceStatus(peer="intake-01")],
                     relay=pb.RelayStatus(lag=5, last_error="old"))  # fmt: skip
    assert [(level, subject) for level, subject, _ in complaints(status)] == [
        (Level.WARN, "governance/relay"), (Level.WARN, "governance/consumer"), (Level.WARN, "governance/inbox-source"),
    ]  # fmt: skip
    assert complaints(status)[0][2] == "ronghe bridge resume governance/relay"


@pytest.mark.parametrize(
    ("receiver", "minutes", "level"),
    [
        ("service/intake-01", 0.9, None),
        ("service/intake-01", 1.1, Level.WARN),
        ("service/intake-01", 11, Level.FAIL),
        ("organ/fire-500103", 11, None),
        ("organ/fire-500103", 61, Level.WARN),
        ("organ/fire-500103", 60 * 24 * 30, Level.WARN),
    ],
)
def test_inboxes_that_nobody_takes(receiver: str, minutes: float, level: Level | None) -> None:
    inbox = pb.InboxStatus(receiver=receiver, unacknowledged=1, oldest_since=ago(minutes=minutes))
    helps = "ronghe bridge status" if receiver.startswith("service/") else "ronghe bridge status --at governance"
    expected = [(level, f"governance: inbox of {receiver}", helps)] if level else []
    assert complaints(healthy(inboxes=[inbox])) == expected


def test_of_many_late_inboxes_the_oldest_are_named() -> None:
    inboxes = [pb.InboxStatus(receiver=f"organ/{number}", oldest_since=ago(hours=2 + number)) for number in range(8)]
    subjects = [subject for _, subject, _ in complaints(healthy(inboxes=inboxes))]
    assert subjects == [*(f"governance: inbox of organ/{number}" for number in (7, 6, 5, 4, 3)), "governance: inboxes"]


def test_a_case_that_stands_still_is_named_once_with_its_first_dead_letter() -> None:
    letters = [pb.DeadLetter(dead_letter_id=number, case_id=case, problem=f"p{number}", parked_at=ago(hours=1))
               for number, case in enumerate(("one", "one", "two", ""), 1)]  # fmt: skip
    assert complaints(healthy(), *letters) == [
        (Level.FAIL, "governance: stuck case", "ronghe dead-letters show governance/1"),
        (Level.FAIL, "governance: stuck case", "ronghe dead-letters show governance/3"),
        (Level.WARN, "governance: dead letters", "ronghe dead-letters list --at governance"),
    ]


def test_certificates_that_end_soon() -> None:
    def certificate(name: str, days: float) -> Certificate:
        return Certificate(name, Path(f"{name}.pem"), NOW + timedelta(days=days))

    good = certificate("organ/good", 31)
    (fine,) = check_certificates([good], NOW)
    assert fine.level is Level.OK
    ending = [certificate("organ/soon", 29), certificate("organ/gone", -1), certificate("broker/broker", 1)]
    found = list(check_certificates([good, *ending], NOW))
    assert [(each.level, each.subject, each.helps) for each in found] == [
        (Level.FAIL, "certificate of organ/gone", "ronghe certs renew organ/gone"),
        (Level.WARN, "certificate of broker/broker", "ronghe certs renew broker/broker"),
        (Level.WARN, "certificate of organ/soon", "ronghe certs renew organ/soon"),
    ]


@pytest.mark.parametrize(
    ("free", "level"), [(3_000_000_000, Level.OK), (1_900_000_000, Level.WARN), (100_000_000, Level.FAIL)]
)
def test_a_disk_that_fills_up(free: int, level: Level) -> None:
    assert check_disk(free).level is level

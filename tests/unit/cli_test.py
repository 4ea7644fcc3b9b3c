"""The command line against toy subsystems: real servers, real certificates, on 127.0.0.1."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from bridge.ports import StoreUnavailable
from clients.telemetry import SpanContext, event_span_id, trace_id
from clients.telemetry.spans import Span
from clients.telemetry.store import FileExporter
from ronghe.case.v1.case_service_pb2 import (
    Delivery,
    EventLocation,
    GetCaseResponse,
    GetCaseTimelineResponse,
    ListCasesResponse,
    LocateCaseResponse,
)
from ronghe.catalog.v1.catalog_service_pb2 import GetServiceItemResponse, ListServiceItemsResponse
from ronghe.document.v1.document_service_pb2 import GetDocumentResponse
from ronghe.event.v1.event_pb2 import JournalHead
from ronghe.inbox.v1.inbox_service_pb2 import FetchInboxResponse
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationResponse
from ronghe.operations.v1.operations_service_pb2 import (
    GetBridgeStatusResponse,
    GetSettingsResponse,
    ListJournalHeadsResponse,
    VerifyJournalResponse,
)
from ronghe.party.v1.party_pb2 import FormValue
from tests.unit.cli_support import ToyMesh, complaint, ronghe, said, toy_mesh
from tests.unit.cli_toys import CASE_ID, CASE_NO, ORGAN, VERSION
from tests.unit.rpc_support import application

AS_ORGAN = ("--as", str(ORGAN))
SIGNED = (*AS_ORGAN, "--officer", "0417:李敏")
APPLICANT = ("--applicant", "face:3")
SUBMIT = (
    *("submit", "--item", "IT-001", "--division", "500103", "--channel", "kiosk", *APPLICANT),
    *("--applicant-name", "王小明", "--id-type", "111", "--id-number", "11010519491231002X"),
)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyMesh]:
    with toy_mesh(tmp_path_factory.mktemp("data")) as mesh:
        yield mesh


def test_a_refusal_is_one_sentence_that_begins_with_its_reason(mesh: ToyMesh) -> None:
    found = complaint(ronghe(mesh.data, "case", "close", CASE_NO, *SIGNED))
    assert found == "ILLEGAL_STATE: CloseCase is legal in DECIDED, and the case is in ACCEPTED"


def test_an_unknown_case_is_one_sentence(mesh: ToyMesh) -> None:
    assert complaint(ronghe(mesh.data, "case", "show", "123")).startswith("CASE_NOT_FOUND: ")


def test_broken_rules_of_the_contract_are_named(mesh: ToyMesh) -> None:
    found = complaint(ronghe(mesh.data, "case", "decide", CASE_NO, *SIGNED, "--deny", "不符合"))
    assert found.startswith("INVALID_FIELD: denied.remedies: ")


def test_without_a_mesh_a_command_says_how_to_start_one(tmp_path: Path) -> None:
    assert complaint(ronghe(tmp_path, "case", "list")).endswith("start the mesh with `ronghe up`")


def test_a_mesh_is_started_with_as_many_brokers_as_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda _, command, environment: started.append(command))
    ronghe(tmp_path, "up", "--brokers", "3")
    assert started[0][1:] == ["-m", "servers.mesh", "--data", str(tmp_path), "--brokers", "3"]
    assert ronghe(tmp_path, "up", "--brokers", "4").exit_code == 2
    assert len(started) == 1


@pytest.mark.parametrize("level", ["NONE", "DEBUG"])
def test_a_command_is_quiet_of_its_transport_and_the_mesh_that_it_starts_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    """The servers' logs are where handshakes that fail are found."""
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda _, command, environment: started.append((command, environment)))
    monkeypatch.setenv("GRPC_VERBOSITY", level)

    ronghe(tmp_path, "up", "--port-base", "0")

    ((command, environment),) = started
    assert command[1:] == ["-m", "servers.mesh", "--data", str(tmp_path), "--port-base", "0"]
    assert environment.get("GRPC_VERBOSITY") == (None if level == "NONE" else level)


def test_a_party_without_a_certificate_is_told_so(mesh: ToyMesh) -> None:
    assert "organ/nobody.pem" in complaint(ronghe(mesh.data, "case", "list", "--as", "organ/nobody"))


def test_what_is_no_identity_is_told_so(mesh: ToyMesh) -> None:
    assert complaint(ronghe(mesh.data, "case", "list", "--as", "fire")).startswith("--as 'fire' is not an identity")


ACTS = (
    ("accept", "--no-collaboration", "无"),
    ("refuse", "--reason", "无权", "--basis", "法", "--remedies", "复议"),
    ("correct", "--defect", "表|未签|补签"),
    ("step", "--name", "审查", "--result", "passed"),
    ("decide", "--grant", "ZM-1"),
    ("close",),
)


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act[0])
def test_no_organ_acts_by_default(mesh: ToyMesh, act: tuple[str, ...]) -> None:
    found = complaint(ronghe(mesh.data, "case", act[0], CASE_NO, *act[1:], "--officer", "0417:李敏"))
    assert "--as organ/<id>" in found


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act[0])
def test_no_officer_acts_by_default(mesh: ToyMesh, act: tuple[str, ...]) -> None:
    assert "--officer ID:NAME" in complaint(ronghe(mesh.data, "case", act[0], CASE_NO, *act[1:], *AS_ORGAN))


def test_nobody_acts_for_an_applicant_by_default(mesh: ToyMesh) -> None:
    assert "--applicant METHOD:LEVEL" in complaint(ronghe(mesh.data, "case", "withdraw", CASE_NO, "--reason", "x"))


def test_an_inbox_is_nobody_s_by_default(mesh: ToyMesh) -> None:
    assert "--as organ/<id>" in complaint(ronghe(mesh.data, "inbox"))


READS: tuple[tuple[tuple[str, ...], type[Message]], ...] = (
    (("case", "list"), ListCasesResponse),
    (("case", "show", CASE_NO), GetCaseResponse),
    (("case", "timeline", CASE_ID), GetCaseTimelineResponse),
    (("document", CASE_NO, "SL-01"), GetDocumentResponse),
    (("catalog", "list"), ListServiceItemsResponse),
    (("catalog", "show", "IT-001"), GetServiceItemResponse),
    (("inbox", *AS_ORGAN), FetchInboxResponse),
)


@pytest.mark.parametrize(("read", "answer"), READS, ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_json_is_the_contract_s_message_with_its_field_names(
    mesh: ToyMesh, read: tuple[str, ...], answer: type[Message]
) -> None:
    printed = said(ronghe(mesh.data, *read, "--json"))
    message = json_format.Parse(printed, answer())
    assert message.ByteSize()
    assert json_format.MessageToDict(message, preserving_proto_field_name=True) == json.loads(printed)


BY_SUBSYSTEM: tuple[tuple[tuple[str, ...], type[Message]], ...] = (
    (("case", "locate", CASE_NO), LocateCaseResponse),
    (("bridge", "status"), GetBridgeStatusResponse),
    (("journal", "verify"), VerifyJournalResponse),
    (("settings",), GetSettingsResponse),
)


@pytest.mark.parametrize(
    ("read", "answer"), BY_SUBSYSTEM, ids=lambda value: value[0] if isinstance(value, tuple) else ""
)
def test_json_of_all_subsystems_is_an_object_by_subsystem(
    mesh: ToyMesh, read: tuple[str, ...], answer: type[Message]
) -> None:
    found = json.loads(said(ronghe(mesh.data, *read, "--json")))
    assert list(found) == ["intake", "governance", "department"]
    for each in found.values():
        assert json_format.ParseDict(each, answer()).ByteSize()


def test_one_subsystem_can_be_asked(mesh: ToyMesh) -> None:
    assert list(json.loads(said(ronghe(mesh.data, "bridge", "status", "--at", "intake", "--json")))) == ["intake"]
    assert "department-01" not in said(ronghe(mesh.data, "bridge", "status", "--at", "intake"))


def test_pages_are_put_together(mesh: ToyMesh) -> None:
    assert len(json.loads(said(ronghe(mesh.data, "catalog", "list", "--json")))["items"]) == 2
    assert len(json.loads(said(ronghe(mesh.data, "case", "timeline", CASE_NO, "--json")))["entries"]) == 2


def test_a_party_reads_where_it_belongs_unless_told_otherwise(mesh: ToyMesh) -> None:
    def asked(*options: str) -> str:
        printed = said(ronghe(mesh.data, "case", "timeline", CASE_NO, "--json", *options))
        return str(json.loads(printed)["entries"][0]["origin"])

    assert asked() == "governance-01"
    assert asked("--as", "terminal/yukuaiban") == "intake-01"
    assert asked(*AS_ORGAN) == "department-01"
    assert asked("--at", "department") == "department-01"


def test_global_options_stand_before_or_after_the_command(mesh: ToyMesh, tmp_path: Path) -> None:
    assert CASE_NO in said(ronghe(tmp_path, "--data", str(mesh.data), *AS_ORGAN, "case", "show", CASE_NO))
    assert CASE_NO in said(ronghe(tmp_path, "case", "show", CASE_NO, "--data", str(mesh.data), *AS_ORGAN))


def test_words_from_servers_are_never_markup(mesh: ToyMesh) -> None:
    assert "[red]挖掘城市道路[/red]" in said(ronghe(mesh.data, "case", "show", CASE_NO))
    assert said(ronghe(mesh.data, "document", CASE_NO, "SL-01")).endswith("\n\n受理通知书 [b]terminal/yukuaiban\n")


def test_a_list_says_how_to_go_on(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "case", "list", "--state", "correction-requested"))
    assert "correction requested" in printed
    assert "--page-token further" in printed


def test_a_word_that_is_no_choice_is_answered_with_the_choices(mesh: ToyMesh) -> None:
    assert "submitted, correction-requested, accepted" in complaint(ronghe(mesh.data, "case", "list", "--state", "x"))


# --- where a case is ---


def at(seconds: float) -> Timestamp:
    return Timestamp(seconds=1_795_000_000 + int(seconds), nanos=int(seconds % 1 * 1e9))


def location(number: int, name: str, recorded: float, **more: Any) -> EventLocation:
    event_id = f"00000000-0000-7000-8000-{number:012}"
    return EventLocation(event_id=event_id, type=name, recorded_at=at(recorded), **more)


@pytest.fixture
def underway(mesh: ToyMesh) -> Iterator[ToyMesh]:
    """The organ has not read the application yet; the center has not relayed the supplement."""
    taken = Delivery(receiver="service/governance-01", sequence=1, since=at(1), acknowledged_at=at(2))
    waiting = Delivery(receiver=str(ORGAN), sequence=1, since=at(4))
    mesh.intake.cases.events = [location(1, "Submitted", 1, deliveries=[taken]), location(2, "Supplemented", 5)]
    mesh.governance.cases.events = [
        location(1, "Submitted", 2, relay=EventLocation.RELAY_DONE),
        location(2, "Supplemented", 6, relay=EventLocation.RELAY_WAITING),
    ]
    mesh.department.cases.events = [location(1, "Submitted", 4, deliveries=[waiting])]
    yield mesh
    for each in (mesh.intake, mesh.governance, mesh.department):
        each.cases.events, each.cases.knows = [], True


def test_locating_puts_what_all_subsystems_know_in_one_table(underway: ToyMesh) -> None:
    lines = said(ronghe(underway.data, "case", "locate", CASE_NO)).splitlines()
    assert [line.split("  ")[0].rstrip() for line in lines[2:]] == [
        "Submitted",
        " journal intake-01",
        " inbox service/governance-01",
        " journal governance-01",
        " journal department-01",
        f" inbox {ORGAN}",
        "Supplemented",
        " journal intake-01",
        " journal governance-01",
        f"waiting in inbox {ORGAN}: Submitted",
        "waiting in journal governance-01: Supplemented",
    ]
    assert [line.split()[-1] for line in lines if "journal governance-01  " in line] == ["yes", "waits"]
    assert next(line for line in lines if f"inbox {ORGAN}  " in line).split()[-1] == "no"


def test_a_case_that_has_not_arrived_everywhere_is_located_all_the_same(underway: ToyMesh) -> None:
    underway.department.cases.knows = False
    result = ronghe(underway.data, "case", "locate", CASE_NO)
    assert "journal governance-01" in said(result)
    assert result.stderr.startswith("department: CASE_NOT_FOUND: ")


def test_a_case_that_nobody_knows_cannot_be_located(mesh: ToyMesh) -> None:
    assert complaint(ronghe(mesh.data, "case", "locate", "123")).startswith("CASE_NOT_FOUND: ")


# --- what organs and applicants do ---


def test_a_decision_rests_on_the_case_as_it_is_read_unless_told_otherwise(mesh: ToyMesh) -> None:
    decide = ("case", "decide", CASE_NO, *SIGNED, "--grant", "ZM-1", "--valid-from", "2026-12-01")
    said(ronghe(mesh.data, *decide))
    said(ronghe(mesh.data, *decide, "--if-version", "3"))
    first, second = mesh.department.department.decisions[-2:]
    assert (first.if_version, second.if_version) == (VERSION, 3)
    assert first.actor.name == "李敏"
    assert first.granted.valid_from == Date(year=2026, month=12, day=1)


def test_a_decision_either_grants_or_denies(mesh: ToyMesh) -> None:
    assert "--grant" in complaint(ronghe(mesh.data, "case", "decide", CASE_NO, *SIGNED))


def test_an_application_is_made_of_options_as_its_item_declares_them(mesh: ToyMesh, tmp_path: Path) -> None:
    drawing = tmp_path / "drawing.pdf"
    drawing.write_bytes(b"a drawing")
    texts = ("purpose=埋管=2", "area_m2=12.5", "city_road=false", "first_day=2026-12-01", "guardian=王大明")
    fields = [part for text in texts for part in ("--field", text)]
    printed = said(ronghe(mesh.data, *SUBMIT, *fields, "--material", f"M-01={drawing}"))
    assert all(each in printed for each in (CASE_NO, CASE_ID, "2KX9WHY5AN"))
    request = mesh.intake.intake.applications[-1]
    assert list(request.form) == [
        FormValue(name="purpose", text="埋管=2"),
        FormValue(name="area_m2", number=12.5),
        FormValue(name="city_road", flag=False),
        FormValue(name="first_day", date=Date(year=2026, month=12, day=1)),
    ]
    assert list(request.personal.form) == [FormValue(name="guardian", text="王大明")]
    material = request.materials[0]
    assert (material.code, material.size, material.media_type) == ("M-01", 9, "application/pdf")
    assert material.digest == hashlib.sha256(b"a drawing").digest()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--field", "area_m2=much"), "is a number"),
        (("--field", "city_road=maybe"), "true or false"),
        (("--field", "first_day=1.12."), "YYYY-MM-DD"),
        (("--field", "color=red"), "it has purpose, area_m2"),
        (("--field", "purpose"), "NAME=VALUE"),
        (("--material", "M-01=missing.pdf"), "cannot be read"),
        (("--kind", "again"), "new, change, renewal, cancellation"),
        (("--from", "all.json"), "leave the other options out"),
    ],
)
def test_what_makes_no_application_is_one_sentence(mesh: ToyMesh, more: tuple[str, ...], words: str) -> None:
    assert words in complaint(ronghe(mesh.data, *SUBMIT, *more))


def test_an_application_needs_its_options(mesh: ToyMesh) -> None:
    assert "--division" in complaint(ronghe(mesh.data, "submit", "--item", "IT-001"))


def test_an_application_is_taken_whole_from_a_file(mesh: ToyMesh, tmp_path: Path) -> None:
    file = tmp_path / "application.json"
    file.write_text(json_format.MessageToJson(application()))
    printed = said(ronghe(mesh.data, "submit", "--from", str(file), "--json"))
    assert json_format.Parse(printed, SubmitApplicationResponse()).case_no == CASE_NO
    assert mesh.intake.intake.applications[-1].personal == application().personal


def test_a_file_that_is_no_application_is_one_sentence(mesh: ToyMesh, tmp_path: Path) -> None:
    file = tmp_path / "application.json"
    file.write_text('{"colour": 1}')
    assert "SubmitApplicationRequest" in complaint(ronghe(mesh.data, "submit", "--from", str(file)))


def test_a_supplement_answers_the_open_notice_line_by_line(mesh: ToyMesh) -> None:
    answers = ("--answer", "1=已补签", "--answer", "2=已改", "--field", "2:area_m2=14", "--field", "2:guardian=王大明")
    said(ronghe(mesh.data, "case", "supplement", CASE_NO, *APPLICANT, *answers))
    request = mesh.intake.intake.supplements[-1]
    assert request.notice_number == f"{CASE_NO}-BZ-01"
    assert [(answer.line, answer.text) for answer in request.answers] == [(1, "已补签"), (2, "已改")]
    assert list(request.answers[1].form) == [FormValue(name="area_m2", number=14)]
    assert list(request.personal.form) == [FormValue(name="guardian", text="王大明")]


# --- what waits, and how the servers are doing ---


def test_items_are_acknowledged_only_when_that_is_said(mesh: ToyMesh) -> None:
    assert "Submitted" in said(ronghe(mesh.data, "inbox", *AS_ORGAN))
    assert mesh.department.inbox.acknowledged == []
    said(ronghe(mesh.data, "inbox", *AS_ORGAN, "--ack"))
    assert mesh.department.inbox.acknowledged == [1, 2]


def test_a_journal_is_walked_to_its_end(mesh: ToyMesh) -> None:
    found = json.loads(said(ronghe(mesh.data, "journal", "verify", "--json")))
    assert found["intake"] == {"position": "15", "rows": "15", "finished": True, "origin": "intake-01"}


def test_a_journal_that_is_not_whole_is_a_failure(mesh: ToyMesh) -> None:
    mesh.governance.operations.fault = VerifyJournalResponse.Fault(position=4, description="the hash does not match")
    result = ronghe(mesh.data, "journal", "verify")
    mesh.governance.operations.fault = None
    assert result.exit_code == 1
    assert "at 4: the hash does not match" in result.stdout
    assert result.stderr == "the journal of governance is not whole\n"


def test_a_journal_is_compared_with_what_the_others_hold(mesh: ToyMesh) -> None:
    heads = [JournalHead(position=position) for position in (3, 9)]
    mesh.department.operations.held = [ListJournalHeadsResponse.HeldHead(head=head) for head in heads]
    mesh.intake.operations.misfit = VerifyJournalResponse.Fault(position=4, to_position=9, description="not these rows")
    result = ronghe(mesh.data, "journal", "verify", "--at", "intake")
    mesh.department.operations.held, mesh.intake.operations.misfit = [], None
    assert mesh.intake.operations.compared == heads
    assert result.exit_code == 1
    assert "from 4 to 9: not these rows; department holds it" in " ".join(result.stdout.split())


@pytest.fixture
def held(mesh: ToyMesh) -> Iterator[list[ListJournalHeadsResponse.HeldHead]]:
    """What the department holds of intake's journal."""
    held: list[ListJournalHeadsResponse.HeldHead] = []
    mesh.department.operations.held = held
    mesh.intake.operations.compared.clear()
    yield held
    mesh.department.operations.held = []


def test_heads_with_long_certificates_are_compared(
    mesh: ToyMesh, held: list[ListJournalHeadsResponse.HeldHead]
) -> None:
    heads = [JournalHead(position=position, certificate=bytes(4096)) for position in range(1, 401)]
    held += [ListJournalHeadsResponse.HeldHead(head=head) for head in heads]
    assert "whole" in said(ronghe(mesh.data, "journal", "verify", "--at", "intake"))
    assert mesh.intake.operations.compared == heads


def test_a_journal_that_cannot_be_compared_is_not_called_whole(
    mesh: ToyMesh, held: list[ListJournalHeadsResponse.HeldHead]
) -> None:
    held.append(ListJournalHeadsResponse.HeldHead(head=JournalHead(position=3, certificate=bytes(1 << 20))))
    result = ronghe(mesh.data, "journal", "verify", "--at", "intake")
    assert result.exit_code == 1
    assert "whole" not in result.stdout
    assert "intake was not compared with what department holds: TOO_LARGE" in result.stderr
    assert result.stderr.endswith("the journal of intake was not verified\n")


@pytest.fixture
def failing(mesh: ToyMesh) -> Iterator[Callable[[Exception], None]]:
    """Lets the department's calls about journals fail."""

    def fail(error: Exception) -> None:
        mesh.department.operations.failure = error

    yield fail
    mesh.department.operations.failure = None


def test_a_journal_is_whole_though_a_subsystem_is_away(mesh: ToyMesh, failing: Callable[[Exception], None]) -> None:
    failing(StoreUnavailable("down"))
    result = ronghe(mesh.data, "journal", "verify")
    assert "whole" in said(result)
    assert "intake was not compared with what department holds: see above" in result.stderr


def test_a_journal_that_cannot_be_walked_is_not_called_whole(
    mesh: ToyMesh, failing: Callable[[Exception], None]
) -> None:
    failing(ValueError("a bug"))
    result = ronghe(mesh.data, "journal", "verify", "--at", "department")
    assert result.exit_code == 1
    assert "whole" not in result.stdout
    assert result.stderr.endswith("the journal of department was not verified\n")


def test_certificates_are_listed_with_their_ends(mesh: ToyMesh) -> None:
    (mesh.data / "pki" / "keystore.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    found = json.loads(said(ronghe(mesh.data, "certs", "list", "--json")))
    assert {str(ORGAN), "operator/local", "service/intake-01"} < {each["identity"] for each in found}
    assert all(each["expires_at"].endswith("Z") for each in found)
    assert str(ORGAN) in said(ronghe(mesh.data, "certs", "list"))


def test_a_trace_is_read_without_a_mesh(tmp_path: Path) -> None:
    context = SpanContext(trace_id(CASE_ID), 7)
    exporter = FileExporter(tmp_path / "spans", "intake-01")
    exporter.export([Span("ronghe.event.v1.Submitted", context, None, "internal", 1, 2, {}, (), None, "intake-01")])
    exporter.close()
    assert "Submitted intake-01" in said(ronghe(tmp_path, "trace", CASE_ID))
    found = json.loads(said(ronghe(tmp_path, "trace", CASE_ID, "--json")))
    assert [(span["span_id"], span["parent"]) for span in found] == [("0000000000000007", None)]


def test_a_span_that_died_is_filled_in_where_a_mesh_runs(mesh: ToyMesh, tmp_path: Path) -> None:
    data = shutil.copytree(mesh.data, tmp_path / "data")
    context = SpanContext(trace_id(CASE_ID), event_span_id(str(UUID(int=1))))
    exporter = FileExporter(data / "spans", "governance-01")
    exporter.export([Span("ronghe.event.v1.Closed", context, None, "internal", 1, 2, {}, (), None, "governance-01")])
    exporter.close()
    spans = json.loads(said(ronghe(data, "trace", CASE_ID, "--json")))
    assert [span["attributes"].get("ronghe.event.id") for span in spans] == [str(UUID(int=2)), None]
    assert "(from the journal)" in said(ronghe(data, "trace", CASE_NO))


def test_a_trace_that_is_not_stored_is_one_sentence(mesh: ToyMesh) -> None:
    assert complaint(ronghe(mesh.data, "trace", CASE_NO)).startswith("no spans of this case are in ")

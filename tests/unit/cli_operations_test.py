"""What operators do and see on the command line, against toy subsystems."""
# ruff: noqa: N802 - the contract's names

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from ronghe.case.v1 import case_pb2
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2 as event
from ronghe.operations.v1 import operations_service_pb2 as pb
from ronghe.party.v1.party_pb2 import Officer, Party, PersonalData
from servers.kernel.stream import Refused
from servers.rpc.call import Call
from tests.unit import cli_toys as toys
from tests.unit.cli_support import ToyMesh, complaint, ronghe, said, toy_mesh

SIGNED = ("--officer", "0042:王敏", "--reason", "上游已修复")
OFFICER = Officer(id="0042", name="王敏")
SINCE = Timestamp(seconds=1_795_000_000)


class ToyOperations(toys.ToyOperations):
    """Set two records of one case aside at the center, and keeps what it is told."""

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        self.told: list[Any] = []

    def _is_center(self) -> bool:
        return self.origin == "governance-01"

    async def GetBridgeStatus(self, request: pb.GetBridgeStatusRequest, call: Call) -> pb.GetBridgeStatusResponse:
        status = pb.GetBridgeStatusResponse(origin=self.origin, journal_position=15)
        status.now.GetCurrentTime()
        if self._is_center():
            status.clock.step.seconds = 3600
            status.parked, status.parked_cases = 2, 1
            status.paused.add(bridge=pb.BRIDGE_INBOX_SOURCE, since=SINCE, officer=OFFICER, reason="停机检修")
        return status

    async def ListDeadLetters(self, request: pb.ListDeadLettersRequest, call: Call) -> pb.ListDeadLettersResponse:
        """One on each of two pages."""
        if not self._is_center():
            return pb.ListDeadLettersResponse()
        number = 18 if request.page_token else 17
        return pb.ListDeadLettersResponse(dead_letters=[letter(number)], next_page_token="" if number == 18 else "2")

    async def GetDeadLetter(self, request: pb.GetDeadLetterRequest, call: Call) -> pb.GetDeadLetterResponse:
        found = pb.GetDeadLetterResponse(dead_letter=letter(request.dead_letter_id), recorded_at=SINCE)
        found.fact.Pack(event.StepRecorded(step=case_pb2.Step(name="[red]现场核查[/red]")))
        return found

    async def RedriveDeadLetter(self, request: pb.RedriveDeadLetterRequest, call: Call) -> Any:
        self.told.append(request)
        if request.dead_letter_id == 99:
            raise Refused(
                Reason.REASON_REDRIVE_FAILED, "dead letter 17 cannot be taken in, and nothing has changed: so"
            )
        return pb.RedriveDeadLetterResponse(case_id=toys.CASE_ID, dead_letter_ids=[17, 18], taken_in=2)

    async def DiscardDeadLetter(self, request: pb.DiscardDeadLetterRequest, call: Call) -> Any:
        self.told.append(request)
        waiting = [18] if request.dead_letter_id == 17 else []
        return pb.DiscardDeadLetterResponse(case_id=toys.CASE_ID, waiting=waiting)

    async def PauseBridge(self, request: pb.PauseBridgeRequest, call: Call) -> Any:
        self.told.append(request)
        return pb.PauseBridgeResponse()

    async def ResumeBridge(self, request: pb.ResumeBridgeRequest, call: Call) -> Any:
        self.told.append(request)
        return pb.ResumeBridgeResponse()

    async def ConfirmClock(self, request: pb.ConfirmClockRequest, call: Call) -> Any:
        self.told.append(request)
        return pb.ConfirmClockResponse(step=Duration(seconds=3600), now=SINCE)

    async def AdvanceClock(self, request: pb.AdvanceClockRequest, call: Call) -> Any:
        self.told.append(request)
        return pb.AdvanceClockResponse(now=SINCE, advanced=request.by)

    async def RepublishSince(self, request: pb.RepublishSinceRequest, call: Call) -> Any:
        self.told.append(request)
        return pb.RepublishSinceResponse(after_position=4, to_position=9)

    async def DrainInbox(self, request: pb.DrainInboxRequest, call: Call) -> Any:
        self.told.append(request)
        if request.receiver != "organ/fire-500103":
            return pb.DrainInboxResponse()
        if any(isinstance(earlier, pb.DrainInboxRequest) for earlier in self.told[:-1]):
            return pb.DrainInboxResponse(items=1, first_sequence=9)
        return pb.DrainInboxResponse(items=2, first_sequence=7, more=True)

    async def ListOperatorActs(self, request: pb.ListOperatorActsRequest, call: Call) -> pb.ListOperatorActsResponse:
        act = pb.OperatorAct(act_id=1, caller="operator/local", recorded_at=SINCE, refusal="REDRIVE_FAILED: so")
        act.request.Pack(pb.RedriveDeadLetterRequest(actor=OFFICER, reason="再试一次", dead_letter_id=17))
        return pb.ListOperatorActsResponse(acts=[act] if self._is_center() else [])


def letter(number: int) -> pb.DeadLetter:
    problem = "DecodeError while it was decoded" if number == 17 else "waits behind"
    return pb.DeadLetter(
        dead_letter_id=number,
        source="kafka/ronghe.cases.v1/3/1042",
        case_id=toys.CASE_ID,
        type="ronghe.event.v1.StepRecorded",
        problem=problem,
        state=pb.DeadLetter.STATE_WAITING,
        parked_at=SINCE,
        size=12,
    )


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyMesh]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toys, "ToyOperations", ToyOperations)
        with toy_mesh(tmp_path_factory.mktemp("data")) as started:
            yield started


def told(mesh: ToyMesh) -> Any:
    """What the center was told last."""
    operations: Any = mesh.governance.operations
    return operations.told[-1]


def test_dead_letters_are_listed_of_all_subsystems_under_names_that_can_be_copied(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "dead-letters", "list"))
    assert "governance/17" in printed
    assert "governance/18" in printed
    assert toys.CASE_ID in printed
    assert "nothing is set aside" in said(ronghe(mesh.data, "dead-letters", "list", "--at", "intake"))
    found = json.loads(said(ronghe(mesh.data, "dead-letters", "list", "--json")))
    assert [each["dead_letter_id"] for each in found["governance"]["dead_letters"]] == ["17", "18"]


def test_a_dead_letter_is_shown_with_what_it_says(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "dead-letters", "show", "governance/17"))
    assert "DecodeError while it was decoded" in printed
    assert "[red]现场核查[/red]" in printed


@pytest.mark.parametrize(("command", "request_type"), [("redrive", pb.RedriveDeadLetterRequest),
                                                       ("discard", pb.DiscardDeadLetterRequest)])  # fmt: skip
def test_settling_is_signed_and_has_a_reason(mesh: ToyMesh, command: str, request_type: Any) -> None:
    said(ronghe(mesh.data, "dead-letters", command, "governance/17", *SIGNED))
    request = told(mesh)
    assert isinstance(request, request_type)
    assert (request.dead_letter_id, request.actor, request.reason) == (17, OFFICER, "上游已修复")
    unsigned = complaint(ronghe(mesh.data, "dead-letters", command, "governance/17", "--reason", "so"))
    assert "--officer ID:NAME" in unsigned


def test_after_a_discard_the_command_for_the_rest_is_named(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "dead-letters", "discard", "governance/17", *SIGNED))
    assert "ronghe dead-letters redrive governance/18" in printed
    assert "the case goes on" in said(ronghe(mesh.data, "dead-letters", "discard", "governance/18", *SIGNED))


def test_a_redrive_that_fails_is_one_sentence(mesh: ToyMesh) -> None:
    found = complaint(ronghe(mesh.data, "dead-letters", "redrive", "governance/99", *SIGNED))
    assert found == "REDRIVE_FAILED: dead letter 17 cannot be taken in, and nothing has changed: so"


@pytest.mark.parametrize("name", ["17", "center/17", "governance/x", "governance/", "governance/-1", "governance/²"])
def test_what_is_no_name_of_a_dead_letter_is_explained(mesh: ToyMesh, name: str) -> None:
    assert "a dead letter is SUBSYSTEM/" in complaint(ronghe(mesh.data, "dead-letters", "redrive", name, *SIGNED))


@pytest.mark.parametrize(("command", "request_type"), [("pause", pb.PauseBridgeRequest),
                                                       ("resume", pb.ResumeBridgeRequest)])  # fmt: skip
def test_a_bridge_is_paused_and_resumed_by_its_name(mesh: ToyMesh, command: str, request_type: Any) -> None:
    said(ronghe(mesh.data, "bridge", command, "governance/inbox-source", *SIGNED))
    request = told(mesh)
    assert isinstance(request, request_type)
    assert (request.bridge, request.actor) == (pb.BRIDGE_INBOX_SOURCE, OFFICER)
    wrong = complaint(ronghe(mesh.data, "bridge", command, "governance/tunnel", *SIGNED))
    assert wrong == "the bridge is one of relay, consumer, inbox-source, and 'tunnel' is not"


def test_a_paused_bridge_stands_in_the_status(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "bridge", "status"))
    assert "governance/inbox-source" in printed
    assert "停机检修" in printed


def test_republishing_is_told_from_where_on(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "bridge", "republish", "governance", "--position", "5", *SIGNED))
    assert printed == "rows 5 to 9 are published again\n"
    assert told(mesh).position == 5
    said(ronghe(mesh.data, "bridge", "republish", "governance", "--since", "2026-11-23T09:30:00+08:00", *SIGNED))
    assert told(mesh).time.ToJsonString() == "2026-11-23T01:30:00Z"
    for options in ((), ("--position", "1", "--since", "2026-11-23")):
        wrong = complaint(ronghe(mesh.data, "bridge", "republish", "governance", *options, *SIGNED))
        assert wrong == "say from where on with either --position N or --since MOMENT"


def test_draining_says_how_much_and_from_where_it_can_be_had_again(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "bridge", "drain", "governance", "organ/fire-500103", *SIGNED))
    assert printed == "3 items of organ/fire-500103 are acknowledged, from sequence 7 on\n"
    center: Any = mesh.governance.operations
    drains = [each for each in center.told if isinstance(each, pb.DrainInboxRequest)]
    assert len({each.request_id for each in drains}) == 2
    assert (told(mesh).receiver, told(mesh).actor) == ("organ/fire-500103", OFFICER)
    printed = said(ronghe(mesh.data, "bridge", "drain", "governance", "intake/cq", *SIGNED))
    assert printed == "nothing waited for intake/cq\n"
    assert "receiver" in complaint(ronghe(mesh.data, "bridge", "drain", "governance", "service/intake-01", *SIGNED))


def test_a_clock_is_confirmed_at_every_subsystem(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "clock", "confirm", *SIGNED))
    assert printed.count("+3600 s") == 3
    assert told(mesh).actor == OFFICER
    assert said(ronghe(mesh.data, "clock", "confirm", "--at", "intake", *SIGNED)).count("+3600 s") == 1


def test_a_simulations_clock_is_advanced_by_days_and_hours(mesh: ToyMesh) -> None:
    said(ronghe(mesh.data, "clock", "advance", "1d12h", *SIGNED))
    assert (told(mesh).by.seconds, told(mesh).reason) == (36 * 3600, "上游已修复")
    for text in ("", "2", "0d", "2w", "-1d"):
        assert "TIME is a time as 2d" in complaint(ronghe(mesh.data, "clock", "advance", *SIGNED, "--", text))


def test_the_time_is_shown_with_how_it_comes_about(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "clock", "show"))
    assert printed.count("the machine's clock") == 3
    assert "was stepped by +3600 s" in printed


def test_acts_show_who_did_what_and_why_and_what_was_refused(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "acts"))
    for text in ("RedriveDeadLetter", "dead letter 17", "0042 王敏", "再试一次", "REDRIVE_FAILED: so"):
        assert text in printed


def test_the_doctor_names_what_is_wrong_and_the_command_that_helps(mesh: ToyMesh) -> None:
    result = ronghe(mesh.data, "doctor", "--json")
    assert result.exit_code == 2
    found = {line["subject"]: line for line in json.loads(result.stdout)}
    stuck = found["governance: stuck case"]
    assert stuck["level"] == "fail"
    assert stuck["command"] == "ronghe dead-letters show governance/17"
    assert stuck["found"].startswith(toys.CASE_ID)
    assert "2 records wait: DecodeError" in stuck["found"]
    assert found["governance/inbox-source"]["level"] == "warn"
    assert found["intake: stuck cases"]["level"] == "ok"
    table = ronghe(mesh.data, "doctor")
    assert table.exit_code == 2
    assert "ronghe dead-letters show governance/17" in table.stdout


def test_the_doctor_of_a_mesh_that_does_not_run_says_so(tmp_path: Path) -> None:
    result = ronghe(tmp_path, "doctor", "--json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert [line["level"] for line in found if line["subject"] in ("intake", "governance", "department")] == [
        "fail"
    ] * 3
    assert "Traceback" not in result.stdout + result.stderr


def test_what_is_shown_of_a_dead_letter_is_redacted_here_as_well(
    mesh: ToyMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of a later version may send what this one knows to be personal."""
    from clients.cli.dead_letters import _whole

    found = pb.GetDeadLetterResponse()
    application = case_pb2.Application(personal=PersonalData(applicant=Party(name="王小明")))
    found.fact.Pack(event.Submitted(application=application))
    assert "王小明" not in str(_whole("governance/1", found)[-1])

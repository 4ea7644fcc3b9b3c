"""Hostile requests: what they are made of, which are right but for one place, and what is seen of their answers."""

import base64
import json
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from clients.errors import InvalidRequest, Unavailable
from clients.identity import Identity
from faults.checker import disclosure, logs
from faults.checker.history import Kind
from faults.checker.marks import mark_of
from faults.fuzzing.contract import carried, methods
from faults.fuzzing.coverage import Coverage
from faults.fuzzing.messages import Hostile, wrapped
from faults.injections.fuzzed_desk import DESK, FuzzedDesk
from faults.injections.fuzzing import LINES, _Door, _Fuzzing, _known, shortened, strange
from faults.load.caller import Caller
from faults.load.case import Case
from faults.load.cast import TERMINAL, Told
from faults.load.durable import DurableLog
from faults.load.onlookers import Onlookers
from ronghe.case.v1.case_pb2 import Case as View
from ronghe.case.v1.case_service_pb2 import GetCaseRequest, GetCaseResponse, ListCasesRequest, ListCasesResponse
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.department.v1 import department_service_pb2 as pb
from ronghe.event.v1.event_pb2 import AnswerReceived
from ronghe.intake.v1 import intake_service_pb2 as intake
from tests.unit.faults_history import CASE, true_history

EVERY = {method.name: method for method in methods()}
CLOSE = pb.CloseCaseRequest(request_id="0", case_id="1")
KEPT = ("request_id", "actor", "occurred_at")


def test_a_unary_call_carries_its_own_request() -> None:
    assert carried(EVERY["CloseCase"]) == {"ronghe.department.v1.CloseCaseRequest": ()}
    assert carried(EVERY["OpenInbox"]) == {}


def test_what_is_carried_in_bulk_arrives_in_its_place() -> None:
    kinds = carried(EVERY["ExecuteCommands"])
    body = wrapped(CLOSE.SerializeToString(), kinds[CLOSE.DESCRIPTOR.full_name])
    assert pb.ExecuteCommandsRequest.FromString(body).commands[0].close_case == CLOSE
    assert collaboration.SignForTaskRequest.DESCRIPTOR.full_name in kinds
    (place,) = carried(EVERY["SubmitApplications"]).values()
    body = wrapped(intake.SubmitApplicationRequest(item_code="x").SerializeToString(), place)
    assert intake.SubmitApplicationsRequest.FromString(body).applications[0].item_code == "x"


def test_a_request_that_is_spoiled_once_differs_in_one_field_that_may_be_spoiled() -> None:
    right = pb.RecordStepRequest(request_id="0", case_id="1", if_version=2)
    hostile, differing = Hostile(Random(1), []), set[str]()
    for _ in range(300):
        body = hostile.spoiled_once(right.SerializeToString(), pb.RecordStepRequest.DESCRIPTOR, KEPT)
        try:
            spoiled = pb.RecordStepRequest.FromString(body)
        except DecodeError:  # no message at all is spoiled as well
            continue
        found = [f.name for f in right.DESCRIPTOR.fields if getattr(spoiled, f.name) != getattr(right, f.name)]
        assert len(found) <= 1
        differing |= set(found)
    assert differing == {"case_id", "if_version", "step"}


def test_a_strange_request_is_about_nothing_that_there_is() -> None:
    right = intake.SubmitApplicationRequest(request_id="0", item_code="IT-003", summary="s")
    found = strange(right)
    assert found.item_code != right.item_code
    assert found.request_id != right.request_id
    assert found.summary == right.summary
    task = collaboration.AnswerTaskRequest(task_id="t")
    assert strange(task).task_id != "t"


def test_an_rpc_is_called_where_a_server_has_it() -> None:
    coverage = Coverage.of(methods())
    coverage.calls[EVERY["CloseCase"].full_name]["UNIMPLEMENTED"] += 3
    coverage.calls[EVERY["GetCase"].full_name]["NOT_FOUND"] += 1
    assert EVERY["CloseCase"].full_name in coverage.uncalled
    assert EVERY["GetCase"].full_name not in coverage.uncalled
    assert coverage.totals == {"UNIMPLEMENTED": 3, "NOT_FOUND": 1}
    json.dumps(coverage.report())


def test_an_rpc_that_only_those_called_who_may_not_was_not_called() -> None:
    coverage = Coverage.of(methods())
    coverage.calls[EVERY["GetSummary"].full_name]["PERMISSION_DENIED"] += 3
    assert EVERY["GetSummary"].full_name in coverage.uncalled


def test_an_rpc_is_reached_where_it_was_answered_or_refused_by_the_rules() -> None:
    coverage = Coverage.of(methods())
    coverage.calls[EVERY["CloseCase"].full_name]["FAILED_PRECONDITION"] += 1
    coverage.calls[EVERY["GetCase"].full_name]["OK"] += 1
    coverage.calls[EVERY["GetTask"].full_name]["NOT_FOUND"] += 1
    coverage.calls[EVERY["ExecuteCommands"].full_name]["OK"] += 1
    coverage.items[EVERY["ExecuteCommands"].full_name]["INVALID_ARGUMENT"] += 1
    coverage.items[EVERY["SubmitApplications"].full_name]["OK"] += 1
    reached = coverage.calls.keys() - set(coverage.unreached)
    assert reached == {EVERY[name].full_name for name in ("CloseCase", "GetCase", "SubmitApplications")}


async def test_what_a_stranger_is_shown_is_written_down_and_found(tmp_path: Path) -> None:
    request, answer = GetCaseRequest(case_id=CASE.upper()), GetCaseResponse(case=View(case_id=CASE))
    with DurableLog(tmp_path / "requests") as log, DurableLog(tmp_path / "shown") as shown:
        desk = desk_of(log)
        onlookers = Onlookers(SimpleNamespace(), shown, Random(1))  # type: ignore[arg-type]
        load = SimpleNamespace(cast=SimpleNamespace(caller=desk.caller), onlookers=onlookers)
        fuzzing = _Fuzzing(
            SimpleNamespace(load=load),  # type: ignore[arg-type]
            desk.chance,
            desk.hostile,
            desk,
            Coverage.of(methods()),
            {},
        )
        stranger, insider = Identity("organ", "elsewhere"), Identity("auditor", "local")
        for party in (stranger, insider):
            await fuzzing._shown(party, EVERY["GetCase"], request, answer)
        await fuzzing._shown(stranger, EVERY["ListCases"], ListCasesRequest(), ListCasesResponse())
        await fuzzing._shown(stranger, EVERY["CloseCase"], CLOSE, pb.CloseCaseResponse(version=1))
    found = logs.shown([tmp_path / "shown"])

    assert [(each.party, each.case_id, each.answer) for each in found] == [(str(stranger), CASE, answer)]
    assert {each.kind for each in disclosure.check(replace(true_history(), shown=found))} == {Kind.DISCLOSED}


async def test_the_answer_to_a_hostile_read_is_not_thrown_away(tmp_path: Path) -> None:
    async def answered(_: bytes, **options: float) -> bytes:
        return GetCaseResponse(case=View(case_id=CASE)).SerializeToString()

    with DurableLog(tmp_path / "requests") as log, DurableLog(tmp_path / "shown") as shown:
        desk = desk_of(log)
        onlookers = Onlookers(SimpleNamespace(), shown, Random(1))  # type: ignore[arg-type]
        stage: Any = SimpleNamespace(
            load=SimpleNamespace(cast=SimpleNamespace(caller=desk.caller), onlookers=onlookers)
        )
        carrying = {method.full_name: carried(method) for method in methods()}
        fuzzing = _Fuzzing(stage, desk.chance, Hostile(Random(4), []), desk, Coverage.of(methods()), carrying)
        fuzzing.hostile.request = lambda descriptor: GetCaseRequest(case_id=CASE).SerializeToString()  # type: ignore[method-assign]
        channel: Any = SimpleNamespace(unary_unary=lambda path: answered)
        await fuzzing.call(_Door(Identity("organ", "elsewhere"), "", channel, []), EVERY["GetCase"])

    assert [each.party for each in logs.shown([tmp_path / "shown"])] == ["organ/elsewhere"]


def test_a_list_is_judged_by_a_few_of_its_lines() -> None:
    answer = ListCasesResponse(cases=[View(case_no=str(number)) for number in range(100)])
    found: Any = shortened(answer, Random(1))
    assert len(found.cases) == LINES


def test_ids_that_exist_are_those_of_the_load_as_it_goes_on() -> None:
    told: defaultdict[str, Told] = defaultdict(Told)
    for number in range(300):
        told[f"case {number}"].say("organ/x", "AnswerReceived", f"collaboration {number}")
    told["case 299"].answers["a task"] = AnswerReceived()
    cast = SimpleNamespace(told=told, items={}, organs={"x": None}, centers={})
    known = _known(SimpleNamespace(load=SimpleNamespace(cast=cast)))  # type: ignore[arg-type]
    assert {"case 0", "case 299"} <= {*known["case_id"]}
    assert "case 150" not in known["case_id"]
    assert known["task_id"] == ["a task"]
    assert "collaboration 299" in known["collaboration_id"]


async def test_half_of_the_reads_name_what_there_is(tmp_path: Path) -> None:
    with DurableLog(tmp_path / "log") as log:
        desk = desk_of(log)
        stage: Any = SimpleNamespace(load=SimpleNamespace(cast=SimpleNamespace(caller=desk.caller)))
        carrying = {method.full_name: carried(method) for method in methods()}
        fuzzing = _Fuzzing(stage, desk.chance, desk.hostile, desk, Coverage.of(methods()), carrying)
        fuzzing.learn({"task_id": ["a task"], "case_id": []})
        door = _Door(Identity("organ", "elsewhere"), "", cast(Any, None), [])
        made = [await fuzzing._made(door, EVERY["GetTask"], 1) for _ in range(100)]
    right = collaboration.GetTaskRequest(task_id="a task").SerializeToString()
    assert 30 < sum(body == right for ((_, body),) in made) < 80


async def test_the_desks_commands_get_past_the_first_checks_and_are_written_down(tmp_path: Path) -> None:
    with DurableLog(tmp_path / "log") as log:
        desk = desk_of(log)
        assert await desk.command(carried(EVERY["CloseCase"])) is None  # nothing was decided yet
        made = await desk.command(carried(EVERY["DecideApplication"]))
        assert made is not None
        request_id, body = made
        request = pb.DecideApplicationRequest()
        request.MergeFromString(body)
        assert request.request_id == request_id
        assert request.actor.id == mark_of(request_id)
        assert request.actor.name == "主办"
        age = datetime.now(UTC) - request.occurred_at.ToDatetime(UTC)
        assert timedelta(0) <= age < timedelta(seconds=10)
        assert await desk.accepted(request_id, pb.DecideApplicationResponse(version=8))
        assert not await desk.accepted(request_id, pb.DecideApplicationResponse(version=8))
    sent, answered = lines(tmp_path / "log")
    assert (sent["kind"], sent["caller"], sent["spoiled"]) == ("sent", str(DESK.organ), True)
    assert (answered["kind"], answered["caller"]) == ("answered", str(DESK.organ))


async def test_the_terminal_supplements_by_the_open_notice_and_withdraws_what_is_left_next(tmp_path: Path) -> None:
    with DurableLog(tmp_path / "log") as log:
        desk = desk_of(log)
        desk._open.append(replace(desk._open[0], case_id="the next one"))
        desk.caller.recent.append(intake.SupplementApplicationRequest(notice_number="of another case"))
        desk.caller.recent.append(intake.RequestWithdrawalRequest(case_id="other", reason="不再需要"))
        for kind in (intake.SupplementApplicationRequest, intake.RequestWithdrawalRequest):
            for _ in range(20):
                made = await desk.command({kind.DESCRIPTOR.full_name: ()})
                assert made is not None
    sent = lines(tmp_path / "log")
    found: dict[str, list[Any]] = defaultdict(list)
    for line in sent:
        with suppress(DecodeError):  # no message at all is spoiled as well
            body = base64.b64decode(line["body"])
            found[line["command"]].append(getattr(intake, line["command"]).FromString(body))
    supplements, withdrawals = found["SupplementApplicationRequest"], found["RequestWithdrawalRequest"]

    assert {line["caller"] for line in sent} == {str(TERMINAL)}
    assert all(each.actor.applicant.method == mark_of(each.request_id) for each in (*supplements, *withdrawals))
    ((notice, _),) = Counter(each.notice_number for each in supplements).most_common(1)
    assert notice == "the notice"  # but where it is what is spoiled
    assert {each.case_id for each in supplements} == {"mine", "the next one"}  # never another of the load's
    assert {each.case_id for each in withdrawals} == {"mine"}


async def test_only_a_refusal_for_good_is_written_down_as_one(tmp_path: Path) -> None:
    with DurableLog(tmp_path / "log") as log:
        desk = desk_of(log)
        for error in (
            Unavailable("SHUTTING_DOWN", "", StatusCode.UNAVAILABLE),
            InvalidRequest("INVALID_FIELD", "", StatusCode.INVALID_ARGUMENT),
        ):
            made = await desk.command(carried(EVERY["ExecuteCommands"]))
            assert made is not None
            await desk.refused(made[0], error)
    assert [line.get("reason") for line in lines(tmp_path / "log")] == [None, None, "INVALID_FIELD"]


async def test_a_bug_within_a_bulk_answer_is_seen_and_so_is_what_was_accepted(tmp_path: Path) -> None:
    with DurableLog(tmp_path / "log") as log:
        desk, method = desk_of(log), EVERY["ExecuteCommands"]
        stage: Any = SimpleNamespace(load=SimpleNamespace(cast=SimpleNamespace(caller=desk.caller)))
        fuzzing = _Fuzzing(stage, desk.chance, desk.hostile, desk, Coverage.of(methods()), {})
        answer = pb.ExecuteCommandsResponse()
        answer.results.add(failed=Status(code=13, message="oops"))
        answer.results.add(failed=Status(code=3))
        answer.results.add(close_case=pb.CloseCaseResponse(version=1))
        await fuzzing._look_at(method, answer)
    assert desk.caller.unexpected == {"ExecuteCommands INTERNAL: oops": 1}
    assert fuzzing.effects == {"ExecuteCommands": 1}
    assert fuzzing.coverage.items[method.full_name] == {"INTERNAL": 1, "INVALID_ARGUMENT": 1, "OK": 1}


def desk_of(log: DurableLog) -> FuzzedDesk:
    """With one case, of version 7, and one request of the load to go by; nothing is spoiled in its texts' encoding."""

    async def get_case(request: GetCaseRequest) -> GetCaseResponse:
        return GetCaseResponse(case=View(case_id=request.case_id, version=7, open_notice="the notice"))

    client: Any = SimpleNamespace(cases=SimpleNamespace(get_case=get_case))
    caller = Caller(log, Random(1), copied=0.0)
    right = pb.DecideApplicationRequest(request_id="0", case_id="other", if_version=3)
    right.actor.name = "主办"
    caller.recent.append(right)
    desk = FuzzedDesk(caller, client, Random(4), Hostile(Random(4), []))
    cast: Any = None
    desk._open.append(Case(1, DESK, cast, case_id="mine"))
    return desk


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]

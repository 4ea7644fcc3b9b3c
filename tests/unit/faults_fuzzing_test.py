"""Hostile requests: what they are made of, which are right but for one place, and what is seen of their answers."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from clients.errors import InvalidRequest, Unavailable
from faults.checker.marks import mark_of
from faults.fuzzing.contract import carried, methods
from faults.fuzzing.coverage import Coverage
from faults.fuzzing.messages import Hostile, wrapped
from faults.injections.fuzzed_desk import DESK, FuzzedDesk
from faults.injections.fuzzing import _Fuzzing, strange
from faults.load.caller import Caller
from faults.load.case import Case
from faults.load.durable import DurableLog
from ronghe.case.v1.case_pb2 import Case as View
from ronghe.case.v1.case_service_pb2 import GetCaseRequest, GetCaseResponse
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.department.v1 import department_service_pb2 as pb
from ronghe.intake.v1 import intake_service_pb2 as intake

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
    assert [(line["kind"], line["caller"]) for line in lines(tmp_path / "log")] == [
        ("sent", str(DESK.organ)),
        ("answered", str(DESK.organ)),
    ]


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
        return GetCaseResponse(case=View(case_id=request.case_id, version=7))

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

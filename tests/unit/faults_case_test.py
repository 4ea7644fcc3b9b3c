"""What a case of the fault campaign waits for."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.message import Message

from faults.load import case as module
from faults.load.applications import Desk
from faults.load.case import Case
from faults.load.cast import Told
from ronghe.case.v1 import case_pb2
from ronghe.case.v1.case_pb2 import (
    STATE_ACCEPTED,
    STATE_CLOSED,
    STATE_DECIDED,
    WITHDRAWAL_STATUS_REQUESTED,
)
from ronghe.intake.v1.intake_service_pb2 import GetApplicationResponse

DESK = Desk("IT-003", "500107", "urban-mgmt-500107")


def case_at_intake(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Case:
    """A case as intake shows it."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)

    async def repeated(call: object, request: Message) -> Message:
        return GetApplicationResponse(case=case_pb2.Case(**fields))

    terminal, caller = SimpleNamespace(get_application=None), SimpleNamespace(repeated=repeated)
    cast: Any = SimpleNamespace(terminal=terminal, caller=caller, told={"c": Told()})
    return Case(1, DESK, cast, case_id="c")


@pytest.mark.parametrize("state", [STATE_DECIDED, STATE_CLOSED])
async def test_a_request_that_intake_lost_before_a_decision_is_not_waited_for(
    state: "case_pb2.State.ValueType", monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(10):
        await case_at_intake(monkeypatch, state=state).withdrawal_is_answered()


@pytest.mark.parametrize(
    "fields", [{"state": STATE_ACCEPTED}, {"state": STATE_DECIDED, "withdrawal": WITHDRAWAL_STATUS_REQUESTED}]
)
async def test_a_request_that_can_still_be_answered_is_waited_for(
    fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = case_at_intake(monkeypatch, **fields)
    waiting = asyncio.create_task(case.withdrawal_is_answered())
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    case.cast.told["c"].say(str(DESK.organ), "WithdrawalDeclined")
    async with asyncio.timeout(10):
        await waiting

"""A repeated request is answered by the fact that it led to, whatever a later version has made follow from it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.message import Message

from bridge.record import Record
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.event.v1 import event_pb2 as event
from ronghe.intake.v1 import intake_service_pb2 as intake
from servers.kernel.stream import Stream
from tests import builders
from tests.machines import Clock

CASES = [
    (builders.intake_machine, "application", intake.RequestWithdrawalRequest(), event.WithdrawalRequested()),
    (builders.department_machine, "organ_case", department.CloseCaseRequest(), event.Closed()),
    (builders.department_machine, "task", collaboration.AnswerTaskRequest(), event.TaskAnswered()),
]


def recorded(version: int, fact: Message | None) -> Record:
    """None: of a type that this version does not know."""
    moment, name = datetime(2026, 11, 23, tzinfo=UTC), "ronghe.event.v9.Remarked"
    body, type_name = (b"", name) if fact is None else (fact.SerializeToString(), fact.DESCRIPTOR.full_name)
    return Record(str(uuid4()), "here-01", str(uuid4()), "any/1", version, (), moment, type_name, body, fact)


@pytest.mark.parametrize(("machine", "kind", "command", "fact"), CASES, ids=[kind for _, kind, _, _ in CASES])
def test_a_request_that_a_later_version_answered_is_answered_alike(
    machine: Any, kind: str, command: Message, fact: Message
) -> None:
    streams: Sequence[Stream[Any]] = machine(Clock()).streams
    (rules,) = (stream for stream in streams if stream.kind == kind)
    first, more = recorded(3, fact), recorded(4, None)
    assert rules.reply(command, [first, more]) == rules.reply(command, [first])

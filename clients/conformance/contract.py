"""Reads the program's calls by the contract: which method, about what, under which request id."""

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from clients.conformance.seen import Call
from ronghe.case.v1 import case_service_pb2
from ronghe.catalog.v1 import catalog_service_pb2
from ronghe.collaboration.v1 import collaboration_service_pb2
from ronghe.department.v1 import department_service_pb2
from ronghe.document.v1 import document_service_pb2
from ronghe.inbox.v1 import inbox_service_pb2

OPEN_INBOX = "/ronghe.inbox.v1.InboxService/OpenInbox"
FETCH_INBOX = "/ronghe.inbox.v1.InboxService/FetchInbox"
ACK_INBOX = "/ronghe.inbox.v1.InboxService/AckInbox"
EXECUTE_COMMANDS = "/ronghe.department.v1.DepartmentService/ExecuteCommands"

_FILES = (
    department_service_pb2,
    collaboration_service_pb2,
    case_service_pb2,
    catalog_service_pb2,
    document_service_pb2,
    inbox_service_pb2,
)
# What differs between two requests that do the same.
_ENVELOPE = ("request_id", "occurred_at", "if_version", "actor")


def unary_methods() -> Mapping[str, MethodDescriptor]:
    """The methods of one request and one response, by their path."""
    return {
        f"/{service.full_name}/{method.name}": method
        for file in _FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if not method.client_streaming and not method.server_streaming
    }


def call_of(method: MethodDescriptor, body: bytes, remaining: float | None) -> Call:
    """What a unary call asks; of a body that is no message of the contract only the method is known."""
    try:
        request = GetMessageClass(method.input_type).FromString(body)
    except DecodeError:
        return Call(time.monotonic(), method.name, has_deadline=remaining is not None)
    call = call_of_message(method.name, request)
    call.has_deadline = remaining is not None
    return call


def call_of_message(method: str, request: Any) -> Call:
    """What a request asks."""
    names = request.DESCRIPTOR.fields_by_name
    subject = next((getattr(request, name) for name in ("task_id", "case_id") if name in names), "")
    request_id = request.request_id if "request_id" in names else ""
    version = request.if_version if "if_version" in names else 0
    return Call(
        time.monotonic(), method, subject, request_id, _digest(request), _digest(_act(request)), if_version=version
    )


def command_of(command: department_service_pb2.ExecuteCommandsRequest.Command) -> Call:
    """What one command of the bulk stream asks."""
    field = command.WhichOneof("command") or ""
    method = "".join(word.capitalize() for word in field.split("_"))
    return call_of_message(method, getattr(command, field)) if field else Call(time.monotonic(), "ExecuteCommands")


def _act(request: Message) -> Message:
    act = type(request)()
    act.CopyFrom(request)
    for name in _ENVELOPE:
        if name in act.DESCRIPTOR.fields_by_name:
            act.ClearField(name)
    if "step" in act.DESCRIPTOR.fields_by_name:
        step = act.step  # type: ignore[attr-defined] # it is among the fields
        step.ClearField("started_at")
        step.ClearField("ended_at")
    return act


def _digest(request: Message) -> bytes:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()

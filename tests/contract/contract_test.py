"""The contract as a whole: what every RPC, request and field must have."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

from ronghe.access.v1 import access_pb2
from ronghe.error.v1.reason_pb2 import Reason

ROOT = Path(__file__).parent.parent.parent
BUF = Path(sys.executable).parent / "buf"
FILES = [
    import_module(".".join(path.relative_to(ROOT / "proto").with_suffix("").parts) + "_pb2")
    for path in sorted((ROOT / "proto" / "ronghe").rglob("*_service.proto"))
]
SERVICES: list[ServiceDescriptor] = [service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()]
METHODS: list[MethodDescriptor] = [method for service in SERVICES for method in service.methods]
# By its name a method reads, or else it acts. What is done to an inbox is the same twice as once, and a stream of
# commands has their ids inside.
READS = re.compile(r"(Get|List|Locate|Preview|Verify|Compare)[A-Z]")
BULK = [method for method in METHODS if method.client_streaming and method.name != "OpenInbox"]
COMMANDS = [
    method
    for method in METHODS
    if not READS.match(method.name) and method.containing_service.name != "InboxService" and method not in BULK
]
LISTS = [method for method in METHODS if method.name.startswith("List")]
# Fields that name or describe a person.
PERSONAL = re.compile(
    r"^(id_number|mobile|address|applicant|agent|legal_representative|personal|query_code|addressee)$"
)
# Named alike, but no personal data: how an applicant was authenticated, whether a form's field is personal.
NOT_PERSONAL = {"ronghe.party.v1.Actor.applicant", "ronghe.catalog.v1.FormField.personal"}


def messages(descriptor: Descriptor, seen: set[str]) -> Iterator[Descriptor]:
    if descriptor.full_name in seen or not descriptor.full_name.startswith("ronghe."):
        return
    seen.add(descriptor.full_name)
    yield descriptor
    for field in descriptor.fields:
        if field.message_type is not None:
            yield from messages(field.message_type, seen)


def every_message() -> list[Descriptor]:
    seen: set[str] = set()
    return [m for method in METHODS for end in (method.input_type, method.output_type) for m in messages(end, seen)]


def names(method: MethodDescriptor) -> str:
    return method.full_name.removeprefix("ronghe.")


def rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """What protovalidate holds a field to."""
    found: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]
    return found


def requests(message: Descriptor) -> set[str]:
    """Full names of the requests that a message of a stream carries, at any depth."""
    inside = [field.message_type for field in message.fields if field.message_type is not None]
    return {each.full_name for each in inside if each.name.endswith("Request")}.union(
        *(requests(each) for each in inside if not each.name.endswith("Request"))
    )


def source_of(method: MethodDescriptor) -> str:
    """The comment above an RPC in its file."""
    text = (ROOT / "proto" / method.containing_service.file.name).read_text()
    before = text[: text.index(f"rpc {method.name}(")]
    return before[before.rindex("\n\n") :] if "\n\n" in before else before


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_every_rpc_says_who_may_call_it(method: MethodDescriptor) -> None:
    grants = method.GetOptions().Extensions[access_pb2.access].grants
    assert grants
    assert all(grant.kind and grant.scope for grant in grants)
    assert len({grant.kind for grant in grants}) == len(grants)


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_every_rpc_is_documented_by_its_name(method: MethodDescriptor) -> None:
    assert f"// {method.name} " in source_of(method)


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_every_failure_an_rpc_names_is_a_reason(method: MethodDescriptor) -> None:
    states = {
        "SUBMITTED",
        "CORRECTION_REQUESTED",
        "ACCEPTED",
        "DECIDED",
        "CLOSED",
        "ACCEPTANCE_REFUSED",
        "ASSIGNED",
        "ANSWERED",
        "SIGNED",
        "AIP",
    }
    named = set(re.findall(r"\b[A-Z][A-Z]+(?:_[A-Z]+)*\b", source_of(method))) - states
    known = {name.removeprefix("REASON_") for name in dict(Reason.items())}
    assert named <= known | {"HMAC", "UUID", "PC", "ID"}


@pytest.mark.parametrize("method", COMMANDS, ids=names)
def test_every_command_must_have_an_id_an_actor_and_a_time(method: MethodDescriptor) -> None:
    fields = method.input_type.fields_by_name
    assert {"request_id", "actor", "occurred_at"} <= set(fields)
    assert rules(fields["request_id"]).string.uuid
    assert rules(fields["actor"]).required
    assert rules(fields["occurred_at"]).required


@pytest.mark.parametrize("method", BULK, ids=names)
def test_a_stream_carries_nothing_but_commands(method: MethodDescriptor) -> None:
    assert requests(method.input_type)
    assert requests(method.input_type) <= {command.input_type.full_name for command in COMMANDS}


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_an_auditor_may_only_read(method: MethodDescriptor) -> None:
    kinds = {grant.kind for grant in method.GetOptions().Extensions[access_pb2.access].grants}
    assert access_pb2.KIND_AUDITOR not in kinds or READS.match(method.name)


@pytest.mark.parametrize("method", LISTS, ids=names)
def test_every_list_is_paged(method: MethodDescriptor) -> None:
    assert {"page_size", "page_token"} <= set(method.input_type.fields_by_name)
    assert "next_page_token" in method.output_type.fields_by_name


@pytest.mark.parametrize("message", every_message(), ids=lambda message: message.full_name)
def test_personal_data_is_marked(message: Descriptor) -> None:
    def is_marked(field: FieldDescriptor) -> bool:
        return bool(field.GetOptions().debug_redact)

    for field in message.fields:
        if PERSONAL.match(field.name) and field.full_name not in NOT_PERSONAL:
            above = field.containing_type.full_name.endswith("Party") or is_marked(field)
            # The application's own `personal` is cleared by name of its parts.
            inside = field.message_type is not None and all(is_marked(part) for part in field.message_type.fields)
            assert above or inside, field.full_name


@pytest.mark.parametrize("message", every_message(), ids=lambda message: message.full_name)
def test_no_message_has_a_map(message: Descriptor) -> None:
    """Reading a map in Python inserts: states and events would change by being looked at."""
    for field in message.fields:
        assert field.message_type is None or not field.message_type.GetOptions().map_entry


def buf(*arguments: str, folder: Path = ROOT) -> None:
    done = subprocess.run([BUF, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_buf_finds_nothing_to_say() -> None:
    buf("lint")


def test_nothing_that_was_published_is_broken(tmp_path: Path) -> None:
    """Against the newest release tag; the imported contracts are put beside it, they are not in the tree."""
    tags = subprocess.run(
        ["git", "tag", "--list", "v*", "--sort=-version:refname"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tags:
        pytest.skip("there is no release to compare with yet")
    archive = subprocess.run(
        ["git", "archive", tags[0], "proto", "buf.yaml"], cwd=ROOT, capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", tmp_path], input=archive.stdout, check=True)
    shutil.copytree(ROOT / "third_party", tmp_path / "third_party")
    buf("breaking", "--against", str(tmp_path))

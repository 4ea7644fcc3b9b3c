"""What people read is Chinese where the locale asks for it: all of it, and nothing else changes."""

import ast
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.message import Message
from grpc import StatusCode
from rich.cells import cell_len

from clients.cli import briefs, errors, language, locate
from clients.cli.acting import SUBSYSTEMS
from clients.cli.checks import Level
from clients.conformance.judge import Result
from clients.errors import RongheError, Violation
from ronghe.case.v1.case_pb2 import Material
from ronghe.case.v1.case_service_pb2 import ListCasesRequest
from ronghe.collaboration.v1.collaboration_pb2 import Answer
from ronghe.collaboration.v1.collaboration_service_pb2 import AnswerTaskRequest, RequestCollaborationRequest
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2
from ronghe.inbox.v1.inbox_service_pb2 import AckInboxRequest
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest
from ronghe.operations.v1 import operations_service_pb2 as operations
from ronghe.operations.v1.operations_service_pb2 import GetDeadLetterRequest
from ronghe.party.v1.party_pb2 import FormValue, Party
from servers.kernel.stream import Refused
from servers.rpc.validation import validate
from tests.unit import cli_toys as toys
from tests.unit.cli_operations_test import ToyOperations
from tests.unit.cli_support import ToyMesh, complaint, ronghe, said, toy_mesh
from tests.unit.cli_toys import CASE_ID, CASE_NO, CENTER, COLLABORATOR, EVENT_NO, ORGAN, TASK_ID

ROOT = Path(__file__).parents[2]
CHINESE: Mapping[str, Mapping[str, Any]] = tomllib.loads((ROOT / "clients/cli/language/zh.toml").read_text())
PROTO = ROOT / "proto/ronghe"
LATIN = re.compile(r"[A-Za-z]{2,}")
# Enums whose values no command shows as words: typed, or told otherwise, or for servers alone.
NOT_SHOWN = {
    "ronghe.access.v1.Scope",
    "ronghe.case.v1.ApplicationKind",
    "ronghe.case.v1.EventLocation.Arrival",
    "ronghe.case.v1.EventLocation.Relay",
    "ronghe.catalog.v1.SilencePolicy",
    "ronghe.error.v1.Reason",
    "ronghe.operations.v1.Bridge",
}
# Reasons whose errors name fields.
WITH_FIELDS = {"INVALID_FIELD", "INVALID_FORM", "INVALID_CHECK_DIGIT"}
# What `say` is given by a name: values of tables, and what messages to a person call a thing.
BY_NAME = {
    *briefs.SILENCE.values(),
    *locate.RELAYED.values(),
    *(level.name.lower() for level in Level),
    *(result.value for result in Result),
    "a bridge",
    "a dead letter",
    "the bridge",
    "the tier of --ask",
}
# The applicant's personal values, which a task names: headings too, though no literals of a table.
PERSONAL = {"applicant: name", *(each.name.replace("_", " ") for each in Party.DESCRIPTOR.fields)}

AS_LEAD, AS_COLLABORATOR, AS_CENTER = ("--as", str(ORGAN)), ("--as", str(COLLABORATOR)), ("--as", str(CENTER))
SIGNED = ("--officer", "0417:李敏")
READS = (
    ("case", "list"),
    ("case", "show", CASE_NO),
    ("case", "timeline", CASE_ID),
    ("case", "locate", CASE_NO),
    ("catalog", "list"),
    ("catalog", "show", "IT-001"),
    ("inbox", *AS_LEAD),
    ("task", "list", *AS_COLLABORATOR),
    ("task", "show", TASK_ID, *AS_COLLABORATOR),
    ("collaboration", "list"),
    ("collaboration", "show", EVENT_NO),
    ("collaboration", "hops", EVENT_NO),
    ("collaboration", "summary", *AS_CENTER),
    ("bridge", "status"),
    ("clock", "show"),
    ("journal", "verify"),
    ("settings",),
    ("acts",),
    ("dead-letters", "list"),
    ("dead-letters", "show", "governance/17"),
    ("certs", "list"),
)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyMesh]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toys, "ToyOperations", ToyOperations)
        with toy_mesh(tmp_path_factory.mktemp("data")) as started:
            yield started


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RONGHE_LANG", "zh_CN")


def in_chinese(mesh: ToyMesh, *arguments: str, columns: int = 160) -> str:
    return said(ronghe(mesh.data, *arguments, RONGHE_LANG="zh_CN.UTF-8", COLUMNS=str(columns)))


# --- which language ---


@pytest.mark.parametrize(
    ("environment", "chosen"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "en_US.UTF-8", "LC_ALL": "zh_TW"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "zh_CN.UTF-8", "RONGHE_LANG": "en"}, "en"),
        ({"LANG": "en_US.UTF-8", "RONGHE_LANG": "zh"}, "zh"),
    ],
)
def test_the_first_variable_that_is_set_decides(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], chosen: str
) -> None:
    for name in language.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language.chosen() == chosen


# --- everything has its Chinese ---


def contracts_enums() -> Iterator[EnumDescriptor]:
    def inside(message: Descriptor) -> Iterator[EnumDescriptor]:
        yield from message.enum_types
        for nested in message.nested_types:
            yield from inside(nested)

    for path in PROTO.rglob("*.proto"):
        module = path.relative_to(PROTO.parent).with_suffix("").as_posix().replace("/", ".")
        file = import_module(f"{module}_pb2").DESCRIPTOR
        yield from file.enum_types_by_name.values()
        for message in file.message_types_by_name.values():
            yield from inside(message)


def words_of(enum: EnumDescriptor) -> set[str]:
    zero = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {each.name.removeprefix(zero).lower().replace("_", " ") for each in enum.values if each.number}


def test_every_word_of_every_enum_that_is_shown_has_its_chinese() -> None:
    shown = {each.full_name: words_of(each) for each in contracts_enums() if each.full_name not in NOT_SHOWN}
    assert {name: set(words) for name, words in CHINESE["words"].items()} == shown


def test_enums_that_are_told_apart_by_metadata_are_the_contract_s() -> None:
    named = {f"ronghe.{each}" for enums in errors.ENUMS.values() for each in enums}
    assert named <= set(CHINESE["words"])


def test_every_fact_and_every_act_of_an_operator_has_its_chinese() -> None:
    facts = set(event_pb2.DESCRIPTOR.message_types_by_name) - {"Event"}
    calls = operations.DESCRIPTOR.services_by_name["OperationsService"].methods
    acts = {each.name for each in calls if "actor" in each.input_type.fields_by_name}
    assert set(CHINESE["events"]) == facts | acts


def test_every_reason_has_its_chinese() -> None:
    reasons = {name.removeprefix("REASON_") for name, number in Reason.items() if number}
    assert set(CHINESE["refusals"]) == reasons | {"CREDENTIALS"}


def metadata_of_reasons() -> dict[str, set[str]]:
    """What the contract says comes with each."""
    found, comment = {}, ""
    for line in (PROTO / "error/v1/reason.proto").read_text().splitlines():
        if match := re.match(r"  REASON_(\w+) = ", line):
            said = re.sub(r"\([^)]*\)", "", comment.partition("Metadata:")[2].partition(".")[0])
            found[match[1]], comment = set(re.findall(r"\w+", said)), ""
        else:
            comment = comment + line.strip(" /") + " " if line.startswith("  //") else ""
    return found


def placeholders(text: str) -> list[tuple[str, str | None, str | None]]:
    return sorted((name, spec, kind) for _, name, spec, kind in Formatter().parse(text) if name is not None)


@pytest.mark.parametrize("reason", CHINESE["refusals"])
def test_a_reason_s_sentence_is_filled_from_what_comes_with_it(reason: str) -> None:
    there = metadata_of_reasons().get(reason, set()) | {"detail"}
    there |= {"fields"} if reason in WITH_FIELDS else set()
    assert {name for name, _, _ in placeholders(CHINESE["refusals"][reason])} <= there


def test_a_sentence_has_the_placeholders_of_its_original() -> None:
    for english, chinese in [*CHINESE["sentences"].items(), *CHINESE["rules"].items()]:
        assert set(placeholders(chinese)) == set(placeholders(english))


REQUESTS: tuple[Message, ...] = (
    SubmitApplicationRequest(),
    SubmitApplicationRequest(item_code="x" * 99, materials=[Material(digest=b"1", size=0)]),
    AnswerTaskRequest(task_id="x", answer=Answer(opinion=Answer.OPINION_DISAGREE, conditions=["x"])),
    RequestCollaborationRequest(rules=["x"] * 2, if_version=1),
    ListCasesRequest(page_size=-1, state=77),  # type: ignore[arg-type] # no such state
    GetDeadLetterRequest(),
    FormValue(name="x", number=float("nan")),
    AckInboxRequest(sequences=range(5000)),
)


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize("request_", REQUESTS, ids=lambda message: type(message).__name__)
def test_the_rules_of_the_contract_have_their_chinese(request_: Message) -> None:
    with pytest.raises(Refused) as refused:
        validate(request_)
    assert not [each for each in refused.value.violations if language.rule(each.description) == each.description]


@pytest.mark.usefixtures("chinese")
def test_the_contract_s_own_rules_have_their_chinese() -> None:
    for path in PROTO.rglob("*.proto"):
        for message in re.findall(r'message: "(.*)"', path.read_text()):
            assert language.rule(message) != message


@pytest.mark.usefixtures("chinese")
def test_a_rule_is_told_with_its_values() -> None:
    between = "must be greater than or equal to 0 and less than or equal to 500"
    assert language.rule(between) == "应在 0 与 500 之间"
    assert language.rule("must be greater than or equal to 1") == "不得小于 1"
    assert language.rule("a rule of a later version") == "a rule of a later version"


def sources() -> Iterator[ast.AST]:
    for path in (*(ROOT / "clients/cli").rglob("*.py"), ROOT / "clients/timeline.py"):
        yield from ast.walk(ast.parse(path.read_text()))


def literals(*functions: str) -> Iterator[str]:
    """What these are called with."""
    for node in sources():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            yield from (each.value for each in node.args if isinstance(each, ast.Constant))  # type: ignore[misc]


def labels() -> Iterator[str]:
    """The names of the lines of `facts`: pairs in a list that begin with a text."""
    for node in sources():
        elements = node.elts if isinstance(node, ast.List) else [node.elt] if isinstance(node, ast.GeneratorExp) else []
        for each in elements:
            match each:
                case ast.Tuple(elts=[ast.Constant(value=str(label)), _]):
                    yield label


def test_every_sentence_has_its_chinese_and_none_is_left_over() -> None:
    assert set(CHINESE["sentences"]) == {*literals("say", "Failure"), *BY_NAME}


def test_every_heading_has_its_chinese() -> None:
    used = {*(each.removesuffix("#") for each in literals("table")), *labels(), *PERSONAL} - {""}
    assert used <= set(CHINESE["headings"])


def test_nothing_is_left_without_chinese_in_the_catalog() -> None:
    for name, texts in [*CHINESE.items(), *CHINESE["words"].items()]:
        assert not [text for text, chinese in texts.items() if chinese in ("", text)], name


# --- what the commands print ---


def heads(printed: str) -> list[str]:
    """The lines above the rules of tables."""
    lines = printed.splitlines()
    return [line for line, below in pairwise(lines) if below and not below.strip(" ─")]


@pytest.mark.parametrize("read", READS, ids=lambda read: " ".join(read[:2]))
def test_no_heading_is_left_in_english(mesh: ToyMesh, read: tuple[str, ...]) -> None:
    english, printed = said(ronghe(mesh.data, *read)), in_chinese(mesh, *read)
    assert len(heads(printed)) == len(heads(english))
    assert not [line for line in heads(printed) if LATIN.search(line)]
    names = {line.partition("  ")[0] for line in english.splitlines() if "  " in line} & set(CHINESE["headings"])
    assert not [line for line in printed.splitlines() if line.partition("  ")[0] in names - {*SUBSYSTEMS}]


@pytest.mark.parametrize("read", READS, ids=lambda read: " ".join(read[:2]))
def test_chinese_tables_fit_a_narrow_terminal(mesh: ToyMesh, read: tuple[str, ...]) -> None:
    for line in in_chinese(mesh, *read, columns=80).splitlines():
        assert cell_len(line) <= 80


@pytest.mark.parametrize("read", READS, ids=lambda read: " ".join(read[:2]))
def test_json_is_the_same_in_every_language(mesh: ToyMesh, read: tuple[str, ...]) -> None:
    def timeless(printed: str) -> str:
        return re.sub(r'"now": "[^"]*"', "", printed)

    assert timeless(in_chinese(mesh, *read, "--json")) == timeless(said(ronghe(mesh.data, *read, "--json")))


def test_the_doctor_speaks_chinese_to_people_and_english_to_programs(mesh: ToyMesh) -> None:
    def found(locale: str) -> Any:
        lines = json.loads(ronghe(mesh.data, "doctor", "--json", RONGHE_LANG=locale).stdout)
        return [line for line in lines if line["subject"] != "disk"]  # others fill it meanwhile

    assert found("zh_CN") == found("en")
    printed = ronghe(mesh.data, "doctor", RONGHE_LANG="zh_CN").stdout
    assert "本机时钟跳变了 +3600 秒" in printed
    assert "停滞办件" in printed
    assert "ronghe dead-letters show governance/17" in printed


def test_a_case_is_shown_in_the_field_s_own_terms(mesh: ToyMesh) -> None:
    printed = in_chinese(mesh, "case", "show", CASE_NO)
    for told in ("状态", "待补正", "移动端", "需要征求其他部门: 涉及消防", "已结案", "附条件同意: 夜间施工", "第 1 轮"):
        assert told in printed
    assert "收件" in in_chinese(mesh, "inbox", *AS_LEAD)
    assert "签收后5个工作日" in in_chinese(mesh, "task", "show", TASK_ID, *AS_COLLABORATOR)


def test_the_same_word_above_different_columns_is_told_apart(mesh: ToyMesh) -> None:
    (line,) = heads(in_chinese(mesh, "case", "timeline", CASE_ID))
    assert line.split() == ["位置", "事件", "内容", "来源", "发生时间"]


def test_a_document_is_its_own_text_and_english_readers_get_its_contents_first(mesh: ToyMesh) -> None:
    read = ("document", CASE_NO, "SL-01")
    text = in_chinese(mesh, *read)
    contents, *rest = said(ronghe(mesh.data, *read)).split("\n\n")
    assert text.startswith("受理通知书")
    assert rest == [text]
    assert [line.strip().split(maxsplit=1) for line in contents.splitlines()] == [
        ["document", "SL-01"], ["kind", "acceptance receipt"], ["reasons", "[b]材料齐全[/b]"],
    ]  # fmt: skip


def test_what_is_copied_into_a_command_is_never_translated(mesh: ToyMesh) -> None:
    assert "governance/inbox-source" in in_chinese(mesh, "bridge", "status")
    printed = in_chinese(mesh, "task", "show", TASK_ID, *AS_COLLABORATOR)
    assert f"ronghe task sign {TASK_ID}" in printed
    assert "--officer ID:NAME" in printed


def test_a_locale_of_the_system_is_enough(mesh: ToyMesh) -> None:
    unset = {"RONGHE_LANG": None, "LC_ALL": None, "LC_MESSAGES": None}
    assert "待补正" in said(ronghe(mesh.data, "case", "list", LANG="zh_CN.UTF-8", **unset))
    assert "correction requested" in said(ronghe(mesh.data, "case", "list", LANG="en_US.UTF-8", **unset))


# --- what went wrong ---


def test_a_refusal_keeps_its_reason_and_says_in_chinese_what_to_do(mesh: ToyMesh) -> None:
    found = complaint(ronghe(mesh.data, "case", "close", CASE_NO, *AS_LEAD, *SIGNED, RONGHE_LANG="zh_CN"))
    sentence = "ILLEGAL_STATE: 当前状态是“已受理”，不能执行 CloseCase，请重新读取后再定"
    assert found == f"{sentence}（CloseCase is legal in DECIDED, and the case is in ACCEPTED）"


def test_wrong_fields_are_named(mesh: ToyMesh) -> None:
    arguments = ("case", "decide", CASE_NO, *AS_LEAD, *SIGNED, "--deny", "不符合")
    found = complaint(ronghe(mesh.data, *arguments, RONGHE_LANG="zh_CN"))
    assert found == "INVALID_FIELD: 内容不符合规定，请改正后重试：denied.remedies: 至少 1 个字符"


def test_a_command_s_own_complaint_is_chinese(mesh: ToyMesh) -> None:
    found = complaint(ronghe(mesh.data, "case", "list", "--state", "x", RONGHE_LANG="zh_CN"))
    assert found == ("--state 应为 submitted, correction-requested, accepted, decided, closed 之一，而 'x' 不是")
    assert "ronghe up" in complaint(ronghe(mesh.data / "none", "case", "list", RONGHE_LANG="zh_CN"))
    nobody = complaint(ronghe(mesh.data, "case", "list", "--as", "organ/nobody", RONGHE_LANG="zh_CN"))
    assert nobody.startswith("证书不能使用")


@pytest.mark.usefixtures("chinese")
def test_a_failure_that_lacks_what_its_sentence_needs_is_said_as_the_server_said_it() -> None:
    older = RongheError("CASE_CHANGED", "the case is at version 7", StatusCode.ABORTED)
    assert errors.sentence(older) == "CASE_CHANGED: the case is at version 7"
    later = RongheError("NEVER_HEARD_OF", "so", StatusCode.ABORTED)
    assert errors.sentence(later) == "NEVER_HEARD_OF: so"


@pytest.mark.usefixtures("chinese")
def test_metadata_that_names_a_value_of_the_contract_is_chinese_too() -> None:
    metadata = {"department": "FIRE", "division": "500103", "tier": "DISTRICT", "organs": "none"}
    error = RongheError("ORGAN_NOT_RESOLVED", "so", StatusCode.FAILED_PRECONDITION, metadata)
    assert errors.sentence(error).startswith("ORGAN_NOT_RESOLVED: 在 500103 的区县级找不到唯一一个 FIRE 部门")


@pytest.mark.usefixtures("chinese")
def test_values_are_never_taken_for_placeholders() -> None:
    violation = Violation("form[0]", "{name} is no number")
    error = RongheError("INVALID_FORM", "{0} {x}", StatusCode.INVALID_ARGUMENT, violations=[violation])
    assert errors.sentence(error).endswith("：form[0]: {name} is no number")

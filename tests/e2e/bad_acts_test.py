"""Acts that are wrong: about what does not exist or is another's, not legal, stale, too large, or said twice."""

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message
from grpc import StatusCode

from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.collaboration.v1 import collaboration_pb2
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.document.v1 import document_service_pb2 as documents
from ronghe.governance.v1 import governance_service_pb2 as governance
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.operations.v1 import operations_service_pb2 as operations
from tests import builders
from tests.e2e.bad_input import (
    EXHAUSTED,
    FIELD,
    ILLEGAL,
    INVALID,
    NOT_FOUND,
    SERVICES,
    Bad,
    check,
    each,
    refusal,
)
from tests.e2e.collaborating import now, seated
from tests.e2e.door import ASKED, CENTER, NOBODY, ORGAN, OTHER_ORGAN, Records, at_rest, knocking, refused
from tests.e2e.drive import AUDITOR, OPERATOR, Mesh


def task_of(records: Records) -> Any:
    return collaboration_pb2.Task(task_id=records.task)


def defer(*codes: str) -> Callable[[Records], Message]:
    return lambda records: builders.acceptance(records.submitted, now(), deferred_materials=codes)


def supplied(**fields: Any) -> Callable[[Records], Message]:
    def make(records: Records) -> Message:
        given = {"notice_number": records.notice, **fields}
        return builders.supplement(case_pb2.Case(case_id=records.noticed), now(), **given)

    return make


def line(number: int, **fields: Any) -> case_pb2.LineAnswer:
    return case_pb2.LineAnswer(line=number, text="已补正", **fields)


UNKNOWN = [
    Bad("accepting a case that does not exist", lambda records: builders.acceptance(NOBODY, now()),
        NOT_FOUND, "CASE_NOT_FOUND", "", "check its id", ORGAN),
    Bad("withdrawing a case that does not exist", lambda records: builders.withdrawal(NOBODY, now()),
        NOT_FOUND, "CASE_NOT_FOUND", "", "check its id"),
    Bad("reading a case that does not exist", lambda records: cases.GetCaseRequest(case_no="X"),
        NOT_FOUND, "CASE_NOT_FOUND", "", "check its id", AUDITOR),
    Bad("reading a document that does not exist",
        lambda records: documents.GetDocumentRequest(case_id=records.submitted, number="X"),
        NOT_FOUND, "DOCUMENT_NOT_FOUND", "", "see GetCase", AUDITOR),
    Bad("closing another organ's case", lambda records: builders.closing(records.submitted, now()),
        NOT_FOUND, "CASE_NOT_FOUND", "", "check its id", OTHER_ORGAN),
    Bad("asking about another organ's case",
        lambda records: builders.asking(records.asking, now(), "traffic-police"),
        NOT_FOUND, "CASE_NOT_FOUND", "", "check its id", OTHER_ORGAN),
    Bad("answering another organ's task", lambda records: builders.answering(task_of(records), now()),
        NOT_FOUND, "TASK_NOT_FOUND", "", "see ListTasks", OTHER_ORGAN),
    Bad("signing for a task that does not exist", lambda records: builders.signing(NOBODY, now()),
        NOT_FOUND, "TASK_NOT_FOUND", "", "see ListTasks", ASKED),
    Bad("another organ's collaboration",
        lambda records: collaboration.GetCollaborationRequest(collaboration_id=records.collaboration),
        NOT_FOUND, "COLLABORATION_NOT_FOUND", "", "see ListCollaborations", OTHER_ORGAN),
    Bad("routing a collaboration that does not exist",
        lambda records: builders.routing(NOBODY, NOBODY, now(), organ_id=OTHER_ORGAN.id),
        NOT_FOUND, "COLLABORATION_NOT_FOUND", "", "see ListCollaborations", CENTER),
    Bad("routing to an organ that does not exist",
        lambda records: builders.routing(records.collaboration, records.task, now(), organ_id="nobody"),
        NOT_FOUND, "ORGAN_NOT_FOUND", "", "see ListOrgans", CENTER),
    Bad("routing to a center that does not exist",
        lambda records: builders.routing(records.collaboration, records.task, now(), center_id="999999"),
        NOT_FOUND, "CENTER_NOT_FOUND", "", "see ListCenters", CENTER),
    Bad("a dead letter that does not exist", lambda records: operations.GetDeadLetterRequest(dead_letter_id=10**12),
        NOT_FOUND, "DEAD_LETTER_NOT_FOUND", "", "no dead letter", OPERATOR),
]  # fmt: skip
ILLEGAL_ACTS = [
    Bad("accepting a closed case", lambda records: builders.acceptance(records.closed, now()),
        ILLEGAL, "ILLEGAL_STATE", "", "is legal in SUBMITTED, and the case is in CLOSED: read the case again", ORGAN),
    Bad("closing a case that is not decided", lambda records: builders.closing(records.asking, now()),
        ILLEGAL, "ILLEGAL_STATE", "", "is legal in DECIDED", ORGAN),
    Bad("deciding on a case that is not accepted",
        lambda records: builders.denial(records.submitted, now(), version=1), ILLEGAL, "ILLEGAL_STATE", "", "ACCEPTED",
        ORGAN),
    Bad("a step of a case that is not accepted", lambda records: builders.step(records.submitted, now()),
        ILLEGAL, "ILLEGAL_STATE", "", "ACCEPTED", ORGAN),
    Bad("asking about a case that is not accepted",
        lambda records: builders.asking(records.submitted, now(), "traffic-police"),
        ILLEGAL, "ILLEGAL_STATE", "", "ACCEPTED", ORGAN),
    Bad("asking twice", lambda records: builders.asking(records.asking, now(), "traffic-police"),
        ILLEGAL, "ALREADY_ASKED", "", "wait for it, or recall it first", ORGAN),
    Bad("a rule that the item has not", lambda records: builders.asking(records.noticed, now(), "x"),
        INVALID, FIELD, "rules[0]", "no rule x", ORGAN),
    Bad("withdrawing a closed case", lambda records: builders.withdrawal(records.closed, now()),
        ILLEGAL, "ILLEGAL_STATE", "", "read the case again"),
    Bad("a second notice", lambda records: builders.correction(records.noticed, now()),
        ILLEGAL, "CORRECTION_OPEN", "", "wait for the supplement, or deny", ORGAN),
    Bad("signing for a task twice", lambda records: builders.signing(records.task, now()),
        ILLEGAL, "ILLEGAL_STATE", "", "is legal in ASSIGNED, and the task is in SIGNED", ASKED),
    Bad("accepting without a required material", defer("M-04"),
        INVALID, FIELD, "deferred_materials[0]", "does not let M-04 follow", ORGAN),
    Bad("deferring what is not missing", defer("M-03"),
        INVALID, FIELD, "deferred_materials[0]", "is not missing", ORGAN),
    Bad("leaving out whom the law requires",
        lambda records: builders.acceptance(records.submitted, now(), none=builders.nobody()),
        ILLEGAL, "REQUIRED_COLLABORATOR_LEFT_OUT", "", "say under left_out why not", ORGAN),
    Bad("a stale version", lambda records: builders.acceptance(records.closed, now(), if_version=1),
        StatusCode.ABORTED, "CASE_CHANGED", "", "read it again, and decide again", ORGAN),
    Bad("a version of the far future", lambda records: builders.denial(records.asking, now(), version=2**64 - 1),
        StatusCode.ABORTED, "CASE_CHANGED", "", "read it again", ORGAN),
    Bad("an answer to another notice", supplied(notice_number="X", answers=[line(1), line(2)]),
        ILLEGAL, "NOTICE_NOT_OPEN", "", "the notice that waits for an answer is"),
    Bad("a line without an answer", supplied(answers=[line(1)]), ILLEGAL, "LINE_UNANSWERED", "", "lines 2"),
    Bad("an answer to a line that is not there", supplied(answers=[line(1), line(2), line(7)]),
        INVALID, FIELD, "answers[2].line", "no line of the notice"),
    Bad("a supplement with a material that the item has not",
        supplied(answers=[line(1), line(2, materials=[builders.material("M-99")])]),
        INVALID, FIELD, "answers[1].materials[0].code", "no material M-99"),
    Bad("a wrong query code",
        lambda records: intake.GetApplicationByQueryCodeRequest(case_no=records.submitted_no, query_code="X"),
        StatusCode.PERMISSION_DENIED, "QUERY_CODE_WRONG", "", "check both"),
]  # fmt: skip
LONG = "长" * 100_000


def _long_refusal(records: Records) -> Message:
    request = builders.refusal(records.submitted, now())
    request.basis.append(LONG)
    return request


def _long_notice(records: Records) -> Message:
    """Each of its texts is as long as it may be; together they are too long."""
    request = builders.correction(records.submitted, now())
    line = department.Defect(subject="申请表", defect="长" * 1000, required="长" * 1000)
    request.defects.extend([line] * (50 - len(request.defects)))
    return request


OVERSIZE = [
    Bad("an event above the limit",
        _long_notice,
        EXHAUSTED, "TOO_LARGE", "", "send less text", ORGAN),
    Bad("a text above the limit",
        _long_refusal,
        INVALID, FIELD, "basis[1]", "at most 1000 characters", ORGAN),
    Bad("an error that would quote a long text", lambda records: builders.asking(records.noticed, now(), LONG),
        INVALID, FIELD, "rules[0]", "no rule", ORGAN),
    Bad("an error that would quote many long texts",
        lambda records: builders.asking(records.noticed, now(), *(f"{n}{'长' * 1000}" for n in range(20))),
        INVALID, FIELD, "rules[0]", "no rule", ORGAN),
]  # fmt: skip


@each(UNKNOWN, ILLEGAL_ACTS, OVERSIZE)
async def test_an_act_that_is_wrong(mesh: Mesh, records: Records, bad: Bad) -> None:
    await check(mesh, records, bad)


async def test_a_missing_material_may_follow_only_where_the_item_lets_it_and_the_lead_says_so(mesh: Mesh) -> None:
    async with seated(mesh) as table:
        without = [builders.material(code) for code in ("M-01", "M-02", "M-05")]
        case_id = await table.submitted(builders.submission(now(), materials=without))
        await at_rest(mesh)
        error = await refusal(mesh, builders.acceptance(case_id, now()), ORGAN)
        assert (error.code, error.reason) == (INVALID, "MATERIAL_MISSING")
        assert (error.violations[0].field, error.metadata["material"]) == ("deferred_materials", "M-03")
        assert "request a correction, or let it follow" in error.message
        await (await table.organ(ORGAN.id)).accept_application(
            builders.acceptance(case_id, now(), deferred_materials=["M-03"])
        )
        assert list((await table.case(case_id)).deferred_materials) == ["M-03"]
    await at_rest(mesh)


# --- the same request id ---


async def test_a_request_id_with_another_body_is_refused_and_the_first_answer_stands(
    mesh: Mesh, records: Records
) -> None:
    task = (await _held(mesh, records)).tasks[0]
    pairs: Sequence[tuple[str, Identity, Any, Any]] = [
        ("department", ORGAN, builders.step(records.asking, now()), builders.step(records.noticed, now())),
        ("governance", CENTER, _to_officer(records, task), _to_officer(records, task)),
    ]
    for server, caller, first, second in pairs:
        second.request_id = first.request_id
        service = SERVICES[first.DESCRIPTOR.full_name]
        method = f"{service.full_name}/{first.DESCRIPTOR.name.removesuffix('Request')}"
        async with knocking(mesh, server, caller) as door:
            answer = await door.unary(method, first.SerializeToString())
            await at_rest(mesh)
            error = await refused(mesh, lambda: door.unary(method, second.SerializeToString()))  # noqa: B023
            assert (error.code, error.reason) == (ILLEGAL, "REQUEST_ID_REUSED")
            assert "use a new one" in error.message
            assert await door.unary(method, first.SerializeToString()) == answer


async def _held(mesh: Mesh, records: Records) -> collaboration_pb2.Collaboration:
    async with mesh.client("governance", CENTER) as center:
        request = collaboration.GetCollaborationRequest(collaboration_id=records.held)
        found: collaboration_pb2.Collaboration = (await center.collaborations.get_collaboration(request)).collaboration
        return found


def _to_officer(records: Records, task: collaboration_pb2.Task) -> governance.RouteCollaborationRequest:
    return builders.routing(records.held, task.task_id, now(), center_id=CENTER.id)

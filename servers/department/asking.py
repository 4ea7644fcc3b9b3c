"""Asking others about a case, and taking it back."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1.catalog_pb2 import Limit, SilencePolicy
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import Ask, Collaboration
from ronghe.document.v1.document_pb2 import Document
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2 as event
from servers.case.form import as_it_stands
from servers.case.rules import check_act, invalid_fields
from servers.catalog.catalog import Catalog
from servers.catalog.disclosure import disclosed
from servers.catalog.rules import is_required
from servers.collaboration.standing import OPEN, asked, open_ones, standing_of
from servers.department.judgement import check_rules
from servers.department.request_size import check_size
from servers.kernel.occurred_at import check_occurred_at
from servers.kernel.stream import Caused, FieldViolation, Refused, Scope
from servers.law.days import legal_day


def request(
    case: case_pb2.Case, command: pb.RequestCollaborationRequest, scope: Scope, catalog: Catalog
) -> event.CollaborationRequested:
    """提出协同: legal after acceptance only, and it carries the receipt on which it rests."""
    check_act(case, command, scope.now, case_pb2.STATE_ACCEPTED)
    check_rules(case, command.rules, "rules")
    _check_asked(case, command.rules)
    application = as_it_stands(case)
    asks = [*_asks_by_rule(application, command, catalog), *_asks_beyond(application, command, scope.now, catalog)]
    check_size(asks)
    return event.CollaborationRequested(
        occurred_at=command.occurred_at,
        collaboration=Collaboration(
            collaboration_id=scope.new_id(),
            case_id=case.case_id,
            case_no=case.case_no,
            round=_round(case, asks),
            state=Collaboration.STATE_REQUESTED,
            completion=command.completion,
            lead=application.lead,
            item_code=application.item.code,
            item_name=application.item.name,
            category=application.item.event_categories[0] if application.item.event_categories else None,
            places=application.places,
            description=command.question or application.item.name,
            receipt=next(d for d in case.documents if d.kind == Document.KIND_ACCEPTANCE_RECEIPT),
            requested_by=command.actor,
            requested_at=command.occurred_at,
            asks=asks,
        ),
    )


def _check_asked(case: case_pb2.Case, rules: Iterable[str]) -> None:
    open_now = [one for one in case.collaborations if one.state in OPEN]
    again = [name for name in rules if any(name in one.rules for one in open_now)]
    if again:
        where = [one.collaboration_id for one in open_now if set(again) & set(one.rules)]
        raise Refused(
            Reason.REASON_ALREADY_ASKED,
            f"{', '.join(again)} is asked in a collaboration that is still open: wait for it, or recall it first",
            {"rules": ",".join(again), "collaborations": ",".join(where)},
        )


def _asks_by_rule(
    application: case_pb2.Application, command: pb.RequestCollaborationRequest, catalog: Catalog
) -> Iterator[Ask]:
    """A lead may ask by a rule that does not fire, too; the law wants no answer to that."""
    firing = {rule.id for rule in catalog.firing_rules(application)}
    for rule in application.item.collaborators:
        if rule.id in command.rules:
            form, personal = disclosed(application, rule.discloses)
            yield Ask(
                rule=rule.id,
                department=rule.department,
                tier=rule.tier or application.lead.tier,
                kind=rule.kind,
                question=command.question or rule.reason,
                reply_limit=rule.reply_limit,
                silence_policy=rule.silence_policy,
                silence_basis=rule.silence_basis,
                basis=rule.basis,
                required=is_required(rule) and rule.id in firing,
                places=application.places,
                form=form,
                personal=personal,
            )


def _asks_beyond(
    application: case_pb2.Application, command: pb.RequestCollaborationRequest, now: datetime, catalog: Catalog
) -> Iterator[Ask]:
    """Whom no rule names: with what of the form the lead discloses, and nothing of the applicant."""
    for index, other in enumerate(command.others):
        _check_other(other, f"others[{index}]", application, legal_day(now), catalog)
        form, _ = disclosed(application, other.discloses)
        organ = catalog.organ(other.organ_id) if other.organ_id else None
        yield Ask(
            department=organ.department if organ else other.department,
            tier=organ.tier if organ else other.tier,
            organ_id=other.organ_id,
            kind=other.kind,
            question=other.question,
            reply_limit=Limit(value=other.reply_days, unit=Limit.UNIT_WORKING_DAY),
            silence_policy=SilencePolicy.SILENCE_POLICY_ESCALATE,
            places=application.places,
            form=form,
        )


def _check_other(
    other: pb.RequestCollaborationRequest.Other,
    path: str,
    application: case_pb2.Application,
    today: Date,
    catalog: Catalog,
) -> None:
    open_fields = {field.name for field in application.item.form if not field.personal}
    violations = [
        FieldViolation(f"{path}.discloses", f"the form has no field {name} that is not personal")
        for name in other.discloses
        if name not in open_fields
    ]
    if other.organ_id and not catalog.is_organ(other.organ_id, today):
        problem = f"there is no organ {other.organ_id} today: see ListOrgans"
        violations.append(FieldViolation(f"{path}.organ_id", problem))
    if other.organ_id == application.lead.id:
        violations.append(FieldViolation(f"{path}.organ_id", "is the lead itself"))
    if other.department and all(organ.department != other.department for organ in catalog.organs.values()):
        violations.append(FieldViolation(f"{path}.department", f"there is no department type {other.department}"))
    if violations:
        raise invalid_fields(violations)


def _round(case: case_pb2.Case, asks: Iterable[Ask]) -> int:
    """One more than the last time any of them was asked."""
    names = {ask.rule or asked(ask) for ask in asks}
    earlier = [one.round for one in case.collaborations if names & {*one.rules, *one.others}]
    return max(earlier, default=0) + 1


def recall(
    case: case_pb2.Case, command: pb.RecallCollaborationRequest, now: datetime
) -> event.CollaborationRecallRequested:
    """撤销: the center ends it, unless it was concluded before."""
    check_occurred_at(command.occurred_at, case.last_act_at, now)
    standing = standing_of(case.collaborations, command.collaboration_id.lower())
    if not standing.collaboration_id:
        raise Refused(Reason.REASON_COLLABORATION_NOT_FOUND, "the case has no such collaboration")
    if standing not in open_ones(case.collaborations):
        state = "RECALLING" if standing.state in OPEN else Collaboration.State.Name(standing.state)
        raise Refused(
            Reason.REASON_COLLABORATION_ENDED,
            "the collaboration has ended, or its recall is on its way: read the case again",
            {"state": state.removeprefix("STATE_")},
        )
    return event.CollaborationRecallRequested(
        occurred_at=command.occurred_at,
        collaboration_id=standing.collaboration_id,
        lead_id=case.application.lead.id,
        officer=command.actor,
        reason=command.reason,
    )


def recall_open(case: case_pb2.Case, occurred_at: Timestamp, reason: str) -> list[Caused]:
    """What follows for the open collaborations when their case comes to an end, which is the first fact."""
    recalls = (
        event.CollaborationRecallRequested(
            occurred_at=occurred_at,
            collaboration_id=one.collaboration_id,
            lead_id=case.application.lead.id,
            reason=reason,
        )
        for one in open_ones(case.collaborations)
    )
    return [Caused(recall, [0]) for recall in recalls]

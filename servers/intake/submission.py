"""What intake checks before it receives an application (收件), and what it makes of it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from stdnum.cn import ric, uscc
from stdnum.exceptions import ValidationError

from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1.catalog_pb2 import Place, ServiceItem
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2 as event
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest
from ronghe.party.v1.party_pb2 import Party
from servers.case.documents import submission_voucher
from servers.case.rules import caller_of, invalid_fields
from servers.catalog.catalog import Catalog
from servers.intake.case_id import case_id
from servers.intake.case_number import case_number
from servers.kernel.occurred_at import check_occurred_at
from servers.kernel.stream import FieldViolation, Refused, Scope
from servers.law.days import legal_date


def submit(
    command: SubmitApplicationRequest, scope: Scope, catalog: Catalog, deployment: str, intakes: Mapping[str, str]
) -> event.Submitted:
    """收件 (art. 29): everything that can be checked by rule is checked here, once. Raises Refused.

    `intakes` has the names of intake systems; one without a name signs with its id.
    """
    check_occurred_at(command.occurred_at, Timestamp(), scope.now)
    day = legal_date(command.occurred_at)
    item = catalog.item(command.item_code, day)
    _check_applicant(item, command)
    catalog.check_form(item, command.form, command.personal.form)
    _check_materials(item, command)
    application = _application(command, scope, item, day, catalog)
    application.case_no = case_number(application, day, deployment, scope)
    return event.Submitted(
        occurred_at=command.occurred_at,
        actor=command.actor,
        application=application,
        voucher=submission_voucher(application, command, intakes.get(application.intake_id, application.intake_id)),
    )


def _application(
    command: SubmitApplicationRequest, scope: Scope, item: ServiceItem, day: Date, catalog: Catalog
) -> case_pb2.Application:
    """The item as it is in force and the lead are resolved here, once for the whole case."""
    return case_pb2.Application(
        case_id=case_id(command, scope),
        external_no=command.external_no,
        intake_id=caller_of(scope).id,
        channel=command.channel,
        application_kind=command.application_kind,
        applicant_type=command.applicant_type,
        item=catalog.carried(item),
        lead=catalog.lead(item, command.division, command.form, day),
        division=command.division,
        places=_places(command, catalog),
        form=command.form,
        materials=command.materials,
        personal=command.personal,
        submitted_at=command.occurred_at,
        parent_case_id=command.parent_case_id.lower(),
        summary=command.summary,
    )


def _places(command: SubmitApplicationRequest, catalog: Catalog) -> Sequence[Place]:
    """Where it takes effect; without another word, where it is handled."""
    places = command.places or [Place(division=command.division)]
    for place in places:
        catalog.division(place.division)
    return places


def _check_applicant(item: ServiceItem, command: SubmitApplicationRequest) -> None:
    if command.applicant_type not in item.applicant_types:
        raise Refused(
            Reason.REASON_APPLICANT_NOT_SERVED,
            f"{item.code} {item.name} does not serve this kind of applicant: see the item's applicant_types",
            {"item_code": item.code},
        )
    violations = list(_wrong_numbers(command))
    if violations:
        raise invalid_fields(violations, Reason.REASON_INVALID_CHECK_DIGIT)


def _wrong_numbers(command: SubmitApplicationRequest) -> Iterator[FieldViolation]:
    for role in ("applicant", "agent"):
        party: Party = getattr(command.personal, role)
        if not has_right_number(party):
            yield FieldViolation(f"personal.{role}.id_number", "is no valid number of its id_type: check every digit")


def has_right_number(party: Party) -> bool:
    """Whether a citizen id (GB 11643) or a credit code (GB 32100) is well formed; other kinds are not checked.

    The place in a citizen id is not looked up: people keep the code of a division that is long gone.
    """
    try:
        match party.id_type:
            case "111":  # 居民身份证, GA/T 2000.156
                return _is_citizen_id(party.id_number)
            case "001":  # 统一社会信用代码
                return bool(uscc.validate(party.id_number) == party.id_number)
            case _:
                return True
    except ValidationError:
        return False


def _is_citizen_id(number: str) -> bool:
    if len(number) != 18 or not number[:-1].isdecimal() or not number.isascii():
        return False
    ric.get_birth_date(number)
    return bool(ric.calc_check_digit(number) == number[-1])


def _check_materials(item: ServiceItem, command: SubmitApplicationRequest) -> None:
    """Whatever the item asks for must be there, save what may follow after acceptance (容缺)."""
    known = {rule.code for rule in item.materials}
    check_material_codes(known, command.materials, "materials")
    handed_in = {material.code for material in command.materials}
    for rule in item.materials:
        if rule.required and not rule.deferrable and rule.code not in handed_in:
            raise Refused(
                Reason.REASON_MATERIAL_MISSING,
                f"{rule.code} {rule.name} is required and may not follow later: hand it in",
                {"material": rule.code},
                [FieldViolation("materials", f"{rule.code} is missing")],
            )


def check_material_codes(known: Collection[str], materials: Iterable[case_pb2.Material], path: str) -> None:
    """Raises Refused, INVALID_FIELD, where a material is none of the item's."""
    violations = [
        FieldViolation(f"{path}[{index}].code", f"the item has no material {material.code}")
        for index, material in enumerate(materials)
        if material.code not in known
    ]
    if violations:
        raise invalid_fields(violations)

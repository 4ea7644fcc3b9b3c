"""What is applied for, and by whom: each applicant is unlike any other, so that his name is found wherever it leaks."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from stdnum.cn import ric

from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1.catalog_pb2 import FormField, Place, ServiceItem
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest
from ronghe.party.v1 import party_pb2


@dataclass(frozen=True, slots=True)
class Desk:
    """An item, the place it is applied for at, and the organ that leads it there."""

    item: str
    division: str
    lead: str
    form: Mapping[str, float] = field(default_factory=dict)
    """Numbers that make the rules fire that a course asks by."""

    rules: Sequence[str] = ()
    """Those rules."""

    @property
    def organ(self) -> Identity:
        """The lead."""
        return Identity("organ", self.lead)


def application(desk: Desk, item: ServiceItem, number: int) -> SubmitApplicationRequest:
    """A complete application; its personal data are this applicant's alone."""
    token = uuid4().hex[:10]
    stem = f"500103{1900 + number // 1000 % 100}0101{number % 1000:03}"
    applicant = party_pb2.Party(
        name=f"申请人{token}",
        id_type="111",
        id_number=stem + ric.calc_check_digit(f"{stem}0"),
        mobile=f"199{number % 100_000_000:08}",
        address=f"居所{token}号",
    )
    request = SubmitApplicationRequest(
        channel=case_pb2.CHANNEL_PC,
        item_code=item.code,
        application_kind=case_pb2.APPLICATION_KIND_NEW,
        applicant_type=party_pb2.APPLICANT_TYPE_NATURAL_PERSON,
        personal=party_pb2.PersonalData(applicant=applicant),
        division=desk.division,
        places=[Place(division=desk.division, description=f"{number}")],
        materials=[_material(rule.code, number) for rule in item.materials if rule.required],
        external_no=f"FAULTS-{token}",
        summary=f"{item.name} {number}",
    )
    request.actor.applicant.level = 3
    for wanted in item.form:
        if wanted.required:
            (request.personal.form if wanted.personal else request.form).append(_value(wanted, desk, token))
    return request


def _material(code: str, number: int) -> case_pb2.Material:
    content = f"{code} {number}".encode()
    digest = hashlib.sha256(content).digest()
    return case_pb2.Material(code=code, digest=digest, size=len(content), media_type="application/pdf")


def _value(wanted: FormField, desk: Desk, token: str) -> party_pb2.FormValue:
    value = party_pb2.FormValue(name=wanted.name)
    match wanted.type:
        case FormField.TYPE_NUMBER:
            value.number = desk.form.get(wanted.name, 3)
        case FormField.TYPE_FLAG:
            value.flag = False
        case FormField.TYPE_DATE:
            value.date.year, value.date.month, value.date.day = 2027, 1, 15
        case _:
            value.text = f"{wanted.name}-{token}" if wanted.personal else wanted.label
    return value

"""Applications as terminals would collect them, for any item of the catalog; the people in them are unreal."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import count
from types import MappingProxyType

from stdnum.cn import ric, uscc

from clients.demo.plan import Desk
from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1.catalog_pb2 import FormField, MaterialRule, Place, ServiceItem
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest
from ronghe.party.v1 import party_pb2

CHANNELS = (case_pb2.CHANNEL_PC, case_pb2.CHANNEL_APP, case_pb2.CHANNEL_KIOSK)
SURNAMES = "赵钱孙李周吴郑王冯陈"
NOTHING: Mapping[str, float | bool] = MappingProxyType({})
GIVEN_NAMES = ("伟", "芳", "娜", "敏", "静", "强", "磊", "洋", "艳", "勇")


class Applicants:
    """Makes one application after another."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._numbers = count(1)

    def application(
        self, desk: Desk, places: Sequence[Place] = (), form: Mapping[str, float | bool] = NOTHING
    ) -> SubmitApplicationRequest:
        """The next application for this desk; its `external_no` tells it from all others.

        Of the form it has what is required, and what is given here.
        """
        number = next(self._numbers)
        request = SubmitApplicationRequest(
            channel=CHANNELS[number % len(CHANNELS)],
            item_code=desk.item.code,
            application_kind=case_pb2.APPLICATION_KIND_NEW,
            applicant_type=_applicant_type(desk.item),
            personal=_person(number, _applicant_type(desk.item)),
            division=desk.division,
            places=places,
            materials=[_material(rule, number) for rule in desk.item.materials if rule.required],
            external_no=f"DEMO-{self._run}-{number:05}",
            summary=f"{desk.item.name}（演示 {number}）",
        )
        request.actor.applicant.method, request.actor.applicant.level = "face", 3
        for field in desk.item.form:
            if field.name in form:
                request.form.append(_given(field.name, form[field.name]))
            elif field.required:
                (request.personal.form if field.personal else request.form).append(_answer(field, number))
        return request


def _applicant_type(item: ServiceItem) -> "party_pb2.ApplicantType.ValueType":
    natural = party_pb2.APPLICANT_TYPE_NATURAL_PERSON
    return natural if natural in item.applicant_types else item.applicant_types[0]


def _person(number: int, kind: "party_pb2.ApplicantType.ValueType") -> party_pb2.PersonalData:
    name = SURNAMES[number % 10] + GIVEN_NAMES[number // 10 % 10]
    if kind == party_pb2.APPLICANT_TYPE_NATURAL_PERSON:
        # Nobody born in 1900 applies today.
        stem = f"50010319000101{number % 1000:03}"
        party = party_pb2.Party(name=name, id_type="111", id_number=stem + ric.calc_check_digit(f"{stem}0"))
    else:
        stem = f"91500103MA{number % 10_000_000:07}"
        party = party_pb2.Party(
            name=f"重庆{name}演示有限公司", id_type="001", id_number=stem + uscc.calc_check_digit(stem)
        )
    party.mobile, party.address = f"199{number % 100_000_000:08}", f"演示路{number}号"
    return party_pb2.PersonalData(applicant=party)


def _material(rule: MaterialRule, number: int) -> case_pb2.Material:
    content = f"{rule.name} {number}".encode()
    return case_pb2.Material(
        code=rule.code, digest=hashlib.sha256(content).digest(), size=len(content), media_type="application/pdf"
    )


def _given(name: str, answer: float | bool) -> party_pb2.FormValue:
    if isinstance(answer, bool):
        return party_pb2.FormValue(name=name, flag=answer)
    return party_pb2.FormValue(name=name, number=answer)


def _answer(field: FormField, number: int) -> party_pb2.FormValue:
    value = party_pb2.FormValue(name=field.name)
    match field.type:
        case FormField.TYPE_NUMBER:
            value.number = 1 + number % 20
        case FormField.TYPE_FLAG:
            value.flag = False
        case FormField.TYPE_DATE:
            value.date.year, value.date.month, value.date.day = 2026, 12, 1 + number % 28
        case _:
            value.text = f"{field.label}（演示）"
    return value

"""What of an application a collaborator may see: what its rule names, and nothing else (个人信息保护法 art. 6)."""

from collections.abc import Iterable

from ronghe.case.v1.case_pb2 import Application
from ronghe.party.v1.party_pb2 import FormValue, Party, PersonalData

APPLICANT = {
    "applicant.name": ("name",),
    "applicant.id_number": ("id_type", "id_number"),
    "applicant.mobile": ("mobile",),
    "applicant.address": ("address",),
}
"""Names of a disclosure that mean the applicant, and the fields of the party that they stand for."""


def disclosed(application: Application, names: Iterable[str]) -> tuple[list[FormValue], PersonalData | None]:
    """The form's values and the applicant's data that are named; None where nothing personal is.

    Of a case, the application is to be the one as it stands (`servers/case/form.py`), not as it was handed in.
    """
    wanted = set(names)
    form = [value for value in application.form if value.name in wanted]
    applicant = Party()
    for name in APPLICANT.keys() & wanted:
        for field in APPLICANT[name]:
            setattr(applicant, field, getattr(application.personal.applicant, field))
    personal = PersonalData(form=[value for value in application.personal.form if value.name in wanted])
    if applicant.ByteSize():
        personal.applicant.CopyFrom(applicant)
    return form, personal if personal.ByteSize() else None

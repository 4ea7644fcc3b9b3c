"""The form as it stands: what was applied for, with what the applicant has corrected since."""

from collections.abc import Iterable

from ronghe.case.v1.case_pb2 import Application, Case
from ronghe.party.v1.party_pb2 import FormValue


def as_it_stands(case: Case) -> Application:
    """The application, with its form's values, personal ones too, as the supplements that were in time have them.

    A later correction of a field replaces an earlier one. It is for reading only, and the case's own application is
    never changed: what was applied for stays what it was.
    """
    in_time = [supplement for supplement in case.supplements if not supplement.late]
    if not in_time:
        return case.application
    application = Application()
    application.CopyFrom(case.application)
    del application.form[:], application.personal.form[:]
    answered = (value for one in in_time for answer in one.answers for value in answer.form)
    application.form.extend(_corrected(case.application.form, answered))
    personal = (value for one in in_time for value in one.personal.form)
    application.personal.form.extend(_corrected(case.application.personal.form, personal))
    return application


def _corrected(form: Iterable[FormValue], corrections: Iterable[FormValue]) -> Iterable[FormValue]:
    return {value.name: value for value in (*form, *corrections)}.values()

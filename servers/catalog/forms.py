"""Whether a form is filled in as its item declares it."""

from collections.abc import Iterable, Iterator, Sequence

from ronghe.catalog.v1.catalog_pb2 import FormField
from ronghe.party.v1.party_pb2 import FormValue
from servers.kernel.stream import FieldViolation

KINDS = {
    FormField.TYPE_TEXT: "text",
    FormField.TYPE_NUMBER: "number",
    FormField.TYPE_FLAG: "flag",
    FormField.TYPE_DATE: "date",
}


def wrong_values(form: Sequence[FormField], values: Iterable[FormValue], *, personal: bool) -> Iterator[FieldViolation]:
    """Values that the form does not declare, that stand in the wrong place, twice, or are of another type."""
    declared = {field.name: field for field in form}
    path = "personal.form" if personal else "form"
    seen = set()
    for index, value in enumerate(values):
        field = declared.get(value.name)
        problem = _problem(field, value, personal=personal) or ("stands twice" if value.name in seen else "")
        seen.add(value.name)
        if problem:
            yield FieldViolation(f"{path}[{index}]", f"{value.name}: {problem}")


def missing_values(
    form: Sequence[FormField], values: Iterable[FormValue], personal: Iterable[FormValue]
) -> Iterator[FieldViolation]:
    """Required fields that were left out, or have an empty text."""
    given = {value.name for value in (*values, *personal) if value.WhichOneof("value") != "text" or value.text.strip()}
    for field in form:
        if field.required and field.name not in given:
            path = "personal.form" if field.personal else "form"
            yield FieldViolation(path, f"{field.name} ({field.label}) is required")


def _problem(field: FormField | None, value: FormValue, *, personal: bool) -> str:
    if field is None:
        return "the item's form has no such field"
    if field.personal and not personal:
        return "is personal data and belongs into personal.form"
    if personal and not field.personal:
        return "is no personal data and belongs into form"
    wanted, found = KINDS[field.type], value.WhichOneof("value")
    return "" if wanted == found else f"must be a {wanted}, and is a {found}"

"""What people type, as the contract's values. Every function raises Failure with a sentence."""

import hashlib
import re
from collections.abc import Sequence
from datetime import date, datetime
from mimetypes import guess_type
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from clients.cli.errors import Failure, no_choice
from clients.cli.language import say
from clients.cli.output import ProtoEnum, prefix
from ronghe.case.v1.case_pb2 import Material
from ronghe.catalog.v1.catalog_pb2 import FormField
from ronghe.party.v1.party_pb2 import FormValue

FLAGS = {"true": True, "yes": True, "false": False, "no": False}


def words(enum: ProtoEnum) -> Sequence[str]:
    """How the values of an enum are typed, for example "correction-requested"."""
    return [_typed(enum, name) for name, number in enum.items() if number]


def choice(enum: ProtoEnum, option: str, text: str | None) -> Any:
    """The enum's value; 0 for None."""
    if text is None:
        return 0
    for name, number in enum.items():
        if number and _typed(enum, name) == text:
            return number
    raise no_choice(option, words(enum), text)


def typed(enum: ProtoEnum, number: int) -> str:
    """A value of an enum as it is typed, the same in every language, for example "inbox-source"."""
    return _typed(enum, enum.Name(number))


def _typed(enum: ProtoEnum, name: str) -> str:
    return name.removeprefix(prefix(enum)).lower().replace("_", "-")


def pair(option: str, text: str, form: str, separator: str = "=") -> tuple[str, str]:
    """The two sides of NAME=VALUE."""
    left, found, right = text.partition(separator)
    if not left or not found:
        raise Failure("{option} is {form}, and {text!r} is not", option=option, form=form, text=text)
    return left, right


def legal_date(option: str, text: str) -> Date:
    """YYYY-MM-DD."""
    try:
        found = date.fromisoformat(text)
    except ValueError as error:
        raise Failure("{option} is a date as YYYY-MM-DD, and {text!r} is not", option=option, text=text) from error
    return Date(year=found.year, month=found.month, day=found.day)


def timestamp(option: str, text: str | None) -> Timestamp:
    """A moment as in RFC 3339, on the clock of this machine where it names no zone; now for None."""
    found = Timestamp()
    if text is None:
        found.GetCurrentTime()
        return found
    try:
        found.FromDatetime(datetime.fromisoformat(text).astimezone())
    except ValueError as error:
        raise Failure(
            "{option} is a moment as 2026-11-23T09:30:00+08:00, and {text!r} is not", option=option, text=text
        ) from error
    return found


def duration(option: str, text: str) -> Duration:
    """For example 2d, 36h, 1d12h or 90m."""
    match = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?", text, re.ASCII)
    numbers = [int(number or 0) for number in match.groups()] if match else [0]
    if not any(numbers):
        raise Failure("{option} is a time as 2d, 36h, 1d12h or 90m, and {text!r} is not", option=option, text=text)
    days, hours, minutes = numbers
    return Duration(seconds=((days * 24 + hours) * 60 + minutes) * 60)


def form_values(form: Sequence[FormField], texts: Sequence[str]) -> tuple[list[FormValue], list[FormValue]]:
    """NAME=VALUE texts as the item's form declares them: the plain ones and the personal ones."""
    declared = {field.name: field for field in form}
    plain: list[FormValue] = []
    personal: list[FormValue] = []
    for text in texts:
        name, value = pair("--field", text, "NAME=VALUE")
        if name not in declared:
            raise Failure(
                "the item's form has no field {name!r}: it has {fields}",
                name=name,
                fields=", ".join(declared) or say("none"),
            )
        (personal if declared[name].personal else plain).append(_form_value(declared[name], value))
    return plain, personal


def _form_value(field: FormField, text: str) -> FormValue:
    match field.type:
        case FormField.TYPE_NUMBER:
            return FormValue(name=field.name, number=_number(field, text))
        case FormField.TYPE_FLAG:
            return FormValue(name=field.name, flag=_flag(field, text))
        case FormField.TYPE_DATE:
            return FormValue(name=field.name, date=legal_date(say("the field {name}", name=field.name), text))
        case _:
            return FormValue(name=field.name, text=text)


def _number(field: FormField, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise Failure(
            "the field {name} ({label}) is a number, and {text!r} is not", name=field.name, label=field.label, text=text
        ) from error


def _flag(field: FormField, text: str) -> bool:
    if text.lower() not in FLAGS:
        raise Failure(
            "the field {name} ({label}) is true or false, and {text!r} is neither",
            name=field.name,
            label=field.label,
            text=text,
        )
    return FLAGS[text.lower()]


def material(text: str) -> Material:
    """CODE=FILE: the digest and the size are the file's, the media type that of its name. The file stays here."""
    code, name = pair("--material", text, "CODE=FILE")
    path = Path(name)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        size = path.stat().st_size
    except OSError as error:
        raise Failure("the material {path} cannot be read: {why}", path=path, why=error.strerror) from error
    return Material(
        code=code, digest=digest, size=size, media_type=guess_type(path.name)[0] or "application/octet-stream"
    )

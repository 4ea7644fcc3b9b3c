"""Applications that are wrong: malformed, oversize, not served, too early, too late."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import Message

from ronghe.catalog.v1.catalog_pb2 import Place
from ronghe.collaboration.v1.collaboration_pb2 import Task
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.party.v1 import party_pb2
from tests import builders
from tests.e2e.bad_input import DIGIT, EXHAUSTED, FIELD, FORM, ILLEGAL, INVALID, NOT_FOUND, TIME, Bad, check, each
from tests.e2e.collaborating import HERE, now
from tests.e2e.door import ASKED, CENTER, ORGAN, Records
from tests.e2e.drive import Mesh

WITH_DATE = "IT-003"
"""An item whose form asks for a day."""


def changed(**fields: Any) -> Callable[[Records], intake.SubmitApplicationRequest]:
    """An application with other fields."""
    return lambda records: builders.submission(now(), **fields)


def touched(touch: Callable[[Any], object], item: str = builders.ROAD_WORKS) -> Callable[[Records], Message]:
    """An application in which one thing is wrong."""

    def make(records: Records) -> Message:
        request = builders.submission(now(), item)
        touch(request)
        return request

    return make


def value(name: str, **fields: Any) -> party_pb2.FormValue:
    return party_pb2.FormValue(name=name, **fields)


def person(**fields: Any) -> party_pb2.PersonalData:
    return party_pb2.PersonalData(applicant=party_pb2.Party(**{"name": "张三", "id_type": "111", **fields}))


def set_field(name: str, content: Any) -> Callable[[Any], object]:
    return lambda request: setattr(request, name, content)


MALFORMED = [
    Bad("a request id that is no UUID", changed(request_id="1"), INVALID, FIELD, "request_id", "UUID"),
    Bad("no actor", touched(lambda r: r.ClearField("actor")), INVALID, FIELD, "actor", "required"),
    Bad("an officer without a name", touched(lambda r: r.actor.officer.MergeFrom(party_pb2.Officer(id="1"))),
        INVALID, FIELD, "actor.officer.name", "1 char"),
    Bad("no occurred_at", touched(lambda r: r.ClearField("occurred_at")), INVALID, FIELD, "occurred_at", "required"),
    Bad("a channel nobody knows", touched(set_field("channel", 77)), INVALID, FIELD, "channel", "defined"),
    Bad("no item code", touched(set_field("item_code", "")), INVALID, FIELD, "item_code", "1 char"),
    Bad("an item code that is too long", touched(set_field("item_code", "I" * 37)), INVALID, FIELD, "item_code", "36"),
    Bad("no applicant", touched(lambda r: r.personal.ClearField("applicant")),
        INVALID, FIELD, "personal.applicant", "required"),
    Bad("an applicant without a name", changed(personal=person(name="", id_number="1")),
        INVALID, FIELD, "personal.applicant.name", "1 char"),
    Bad("a name of 201 characters", changed(personal=person(name="张" * 201, id_number="1")),
        INVALID, FIELD, "personal.applicant.name", "200"),
    Bad("a division of five digits", changed(division="50010"), INVALID, FIELD, "division", "pattern"),
    Bad("21 places", changed(places=[Place(division=HERE)] * 21), INVALID, FIELD, "places", "20"),
    Bad("a digest of 31 bytes",
        touched(lambda r: setattr(r.materials[0], "digest", b"1" * 31)),
        INVALID, FIELD, "materials[0].digest", "32"),
    Bad("a material of no size", touched(lambda r: setattr(r.materials[0], "size", 0)),
        INVALID, FIELD, "materials[0].size", "1"),
    Bad("the greatest number there is", touched(lambda r: setattr(r.materials[0], "size", 2**64 - 1)),
        INVALID, FIELD, "materials[0].size", "1073741824"),
    Bad("NaN", touched(lambda r: r.form.append(value("dig_depth_m", number=float("nan")))),
        INVALID, FIELD, "form[4].number", "finite"),
    Bad("infinity", touched(lambda r: r.form.append(value("dig_depth_m", number=float("-inf")))),
        INVALID, FIELD, "form[4].number", "finite"),
    Bad("3,000 times the same form field", touched(lambda r: r.form.extend([r.form[0]] * 3000)),
        INVALID, FIELD, "form", "100"),
    Bad("3,000 times the same material", touched(lambda r: r.materials.extend([r.materials[0]] * 3000)),
        INVALID, FIELD, "materials", "100"),
    Bad("a NUL in a text", changed(summary="占\0道"), INVALID, FIELD, "summary", "U+0000: leave it out"),
    Bad("an escape sequence in a name", changed(personal=person(name="\x1b[31m张", id_number="1")),
        INVALID, FIELD, "personal.applicant.name", "U+001B: leave it out"),
    Bad("a control character deep inside",
        touched(lambda r: r.form.append(value("purpose", text="a\x7f"))), INVALID, FIELD, "form[4].text", "U+007F"),
    Bad("a day that no calendar has", touched(lambda r: setattr(r.form[2].date, "month", 13), WITH_DATE),
        INVALID, FIELD, "form[2].date", "give year, month and day"),
    Bad("a moment that no clock has", touched(lambda r: setattr(r.occurred_at, "seconds", 2**63 - 1)),
        INVALID, FIELD, "occurred_at", "years 1 to 9999"),
    Bad("negative nanos", touched(lambda r: setattr(r.occurred_at, "nanos", -1)),
        INVALID, FIELD, "occurred_at", "nanos"),
]  # fmt: skip
CHECK_DIGITS = [
    Bad("a citizen id with a wrong check digit", changed(personal=person(id_number=builders.CITIZEN[:-1] + "1")),
        INVALID, DIGIT, "personal.applicant.id_number", "check every digit"),
    Bad("a citizen id with a small x", changed(personal=person(id_number=builders.CITIZEN.lower())),
        INVALID, DIGIT, "personal.applicant.id_number", "check every digit"),
    Bad("a citizen id of 17 digits", changed(personal=person(id_number=builders.CITIZEN[:-1])),
        INVALID, DIGIT, "personal.applicant.id_number", "check every digit"),
    Bad("a citizen id in Chinese digits", changed(personal=person(id_number="一" * 17 + "X")),
        INVALID, DIGIT, "personal.applicant.id_number", "check every digit"),
    Bad("a credit code with a wrong check digit",
        changed(personal=person(id_type="001", id_number="91500103MA00000001")),
        INVALID, DIGIT, "personal.applicant.id_number", "check every digit"),
    Bad("an agent's wrong id", touched(lambda r: r.personal.agent.MergeFrom(builders.citizen(id_number="1"))),
        INVALID, DIGIT, "personal.agent.id_number", "check every digit"),
]  # fmt: skip
FORMS = [
    Bad("a form field that the item has not", touched(lambda r: r.form.append(value("color", text="红"))),
        INVALID, FORM, "form[4]", "no such field"),
    Bad("a form field that is missing", touched(lambda r: r.ClearField("form")), INVALID, FORM, "form", "is required"),
    Bad("a required text that is empty", touched(lambda r: setattr(r.form[0], "text", " ")),
        INVALID, FORM, "form", "is required"),
    Bad("a form field twice", touched(lambda r: r.form.append(r.form[0])), INVALID, FORM, "form[4]", "twice"),
    Bad("a text where a number belongs", touched(lambda r: setattr(r.form[1], "text", "三")),
        INVALID, FORM, "form[1]", "must be a number"),
    Bad("personal data outside of its place",
        touched(lambda r: r.form.append(value("bank_account", text="1")), builders.ALLOWANCE),
        INVALID, FORM, "form[2]", "belongs into personal.form"),
]  # fmt: skip
NOT_SERVED = [
    Bad("an item that nobody knows", touched(set_field("item_code", "IT-999")),
        NOT_FOUND, "ITEM_NOT_FOUND", "", "see ListServiceItems"),
    Bad("an item that is not in force",
        touched(lambda r: r.occurred_at.FromDatetime(datetime(2025, 12, 30, tzinfo=UTC))),
        ILLEGAL, "ITEM_NOT_IN_FORCE", "", "see ListServiceItems"),
    Bad("an item that is not served in the division", changed(division="500000"),
        ILLEGAL, "ORGAN_NOT_RESOLVED", "", "name a division that lies lower"),
    Bad("a division that does not exist", changed(division="999999"),
        NOT_FOUND, "DIVISION_NOT_FOUND", "", "see ListDivisions"),
    Bad("a place in a division that does not exist", changed(places=[Place(division="500103999")]),
        NOT_FOUND, "DIVISION_NOT_FOUND", "", "see ListDivisions"),
    Bad("an applicant whom the item does not serve", touched(set_field("applicant_type", 2), builders.ALLOWANCE),
        ILLEGAL, "APPLICANT_NOT_SERVED", "", "see the item's applicant_types"),
    Bad("a required material that is missing", changed(materials=[builders.material("M-02")]),
        INVALID, "MATERIAL_MISSING", "materials", "hand it in"),
    Bad("a material that the item has not", touched(lambda r: setattr(r.materials[0], "code", "M-99")),
        INVALID, FIELD, "materials[0].code", "no material M-99"),
]  # fmt: skip
TIMES = [
    Bad("an application from the future", touched(lambda r: r.occurred_at.FromDatetime(now() + timedelta(minutes=3))),
        INVALID, TIME, "occurred_at", "check the clock"),
    Bad("a withdrawal before the latest act",
        lambda records: builders.withdrawal(records.noticed, now() - timedelta(hours=1)),
        INVALID, TIME, "occurred_at", "check the clock, or read again"),
    Bad("a step before the latest act",
        lambda records: builders.step(records.asking, now() - timedelta(hours=1)),
        INVALID, TIME, "occurred_at", "check the clock, or read again", ORGAN),
    Bad("a step from the future",
        lambda records: builders.step(records.asking, now() + timedelta(hours=1)),
        INVALID, TIME, "occurred_at", "check the clock", ORGAN),
    Bad("an answer before the task was signed for",
        lambda records: builders.answering(Task(task_id=records.task), now() - timedelta(hours=1)),
        INVALID, TIME, "occurred_at", "check the clock", ASKED),
    Bad("a hand on a task before it was asked",
        lambda records: builders.routing(
            records.collaboration, records.task, now() - timedelta(days=1), center_id=CENTER.id),
        INVALID, TIME, "occurred_at", "check the clock", CENTER),
]  # fmt: skip
OVERSIZE = [
    Bad("a body above the limit", changed(summary="x" * 2_000_000), EXHAUSTED, "TOO_LARGE", "", "send less in one"),
    # Beyond four times the limit grpc itself refuses, without a reason.
    Bad("a body far above the limit", changed(summary="x" * 5_000_000), EXHAUSTED, "RESOURCE_EXHAUSTED", "", "larger"),
]


@each(MALFORMED, CHECK_DIGITS, FORMS, NOT_SERVED, TIMES, OVERSIZE)
async def test_an_application_that_is_wrong(mesh: Mesh, records: Records, bad: Bad) -> None:
    await check(mesh, records, bad)

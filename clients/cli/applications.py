"""`ronghe submit`, `ronghe case supplement` and `ronghe case withdraw`: what an applicant does at intake."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf import json_format

from clients.cli.acting import Acting
from clients.cli.asking import case_id_of, find_case
from clients.cli.command import CaseArgument, command
from clients.cli.errors import Failure, one_line
from clients.cli.output import facts, word
from clients.cli.values import choice, form_values, material, pair, words
from clients.intake import IntakeClient
from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1.catalog_pb2 import FormField, Place
from ronghe.catalog.v1.catalog_service_pb2 import GetServiceItemRequest
from ronghe.intake.v1 import intake_service_pb2 as pb
from ronghe.party.v1 import party_pb2

app = typer.Typer()
case_app = typer.Typer()

Applicant = Annotated[
    str | None,
    typer.Option(
        "--applicant", metavar="METHOD:LEVEL", help="The applicant acts, authenticated so, for example face:3."
    ),
]
FieldHelp = "An answer of the form; `ronghe catalog show CODE` lists them; repeatable."
PlaceHelp = "Where it takes effect: a division, and the place in words; repeatable, the division itself if absent."
MaterialHelp = "A material: digest, size and type are taken from the file, which stays here; repeatable."


@command(app, "submit")
async def submit(
    acting: Acting,
    from_file: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="A whole SubmitApplicationRequest as proto JSON, instead of options."
        ),
    ] = None,
    item: Annotated[str, typer.Option(metavar="CODE", help="The service item, for example IT-001.")] = "",
    division: Annotated[str, typer.Option(metavar="CODE", help="The division that handles it.")] = "",
    place: Annotated[list[str], typer.Option(metavar="CODE[:WORDS]", help=PlaceHelp)] = [],  # noqa: B006 - typer copies it
    channel: Annotated[str, typer.Option(metavar="CHANNEL", help=", ".join(words(case_pb2.Channel)))] = "",
    kind: Annotated[
        str | None,
        typer.Option(metavar="KIND", help=f"{', '.join(words(case_pb2.ApplicationKind))}; new if absent."),
    ] = None,
    applicant: Applicant = None,
    applicant_type: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help=f"{', '.join(words(party_pb2.ApplicantType))}; natural-person if absent."),
    ] = None,
    applicant_name: Annotated[str, typer.Option(metavar="NAME", help="The applicant's name.")] = "",
    id_type: Annotated[
        str, typer.Option(metavar="CODE", help="Three digits: 111 citizen id, 001 unified social credit code.")
    ] = "",
    id_number: Annotated[str, typer.Option(metavar="NUMBER", help="The number on that paper.")] = "",
    mobile: Annotated[str, typer.Option(metavar="NUMBER", help="The applicant's mobile number.")] = "",
    address: Annotated[str, typer.Option(metavar="TEXT", help="The applicant's address.")] = "",
    field: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help=FieldHelp)] = [],  # noqa: B006 - typer copies it
    material_file: Annotated[list[str], typer.Option("--material", metavar="CODE=FILE", help=MaterialHelp)] = [],  # noqa: B006
    summary: Annotated[str, typer.Option(metavar="TEXT", help="What it is about, in one line.")] = "",
    external_no: Annotated[str, typer.Option(metavar="NUMBER", help="Its number in an existing system.")] = "",
) -> None:
    """Hand an application in (收件); prints the case number and the query code that stands on the voucher.

    Either the options describe the application, or --from gives it whole.
    """
    needed = {
        "--item": item,
        "--division": division,
        "--channel": channel,
        "--applicant-name": applicant_name,
        "--id-type": id_type,
        "--id-number": id_number,
    }
    if from_file is not None:
        others = (
            *needed.values(),
            kind,
            applicant,
            applicant_type,
            mobile,
            address,
            field,
            place,
            material_file,
            summary,
        )
        _check_alone(*others, external_no, acting.officer)
        request = _read(from_file)
    else:
        _check_complete(needed)
        request = pb.SubmitApplicationRequest(
            actor=acting.actor(applicant),
            channel=choice(case_pb2.Channel, "--channel", channel),
            item_code=item,
            application_kind=choice(case_pb2.ApplicationKind, "--kind", kind or "new"),
            applicant_type=choice(party_pb2.ApplicantType, "--applicant-type", applicant_type or "natural-person"),
            division=division,
            places=[_place(text) for text in place],
            materials=[material(text) for text in material_file],
            external_no=external_no,
            summary=summary,
        )
        party = party_pb2.Party(
            name=applicant_name, id_type=id_type, id_number=id_number, mobile=mobile, address=address
        )
        request.personal.applicant.CopyFrom(party)
    async with acting.intake() as client:
        if from_file is None:
            await _fill_form(client, request, field)
        response = await client.submit_application(request)
    acting.show(
        response,
        lambda: [facts([("case", response.case_no), ("id", response.case_id), ("query code", response.query_code)])],
    )


@command(case_app, "supplement")
async def supplement(
    acting: Acting,
    case: CaseArgument,
    answer: Annotated[
        list[str], typer.Option(metavar="LINE=TEXT", help="The answer to a line of the notice; repeatable.")
    ],
    notice: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="The notice that is answered; the open one if absent.")
    ] = None,
    material_file: Annotated[list[str], typer.Option("--material", metavar="LINE:CODE=FILE", help=MaterialHelp)] = [],  # noqa: B006 - typer copies it
    field: Annotated[
        list[str], typer.Option(metavar="LINE:NAME=VALUE", help="A corrected answer of the form; repeatable.")
    ] = [],  # noqa: B006
    applicant: Applicant = None,
) -> None:
    """Answer the open correction notice (补正), every line of it."""
    actor = acting.actor(applicant)
    answers = _answers(answer)
    _add_materials(answers, material_file)
    async with acting.intake() as client:
        found = await find_case(client, case)
        personal = _add_form(answers, found.application.item.form, field)
        request = pb.SupplementApplicationRequest(
            actor=actor,
            case_id=found.case_id,
            notice_number=notice or found.open_notice,
            answers=answers.values(),
            personal=party_pb2.PersonalSupplement(form=personal) if personal else None,
        )
        if not request.notice_number:
            raise Failure("no correction notice of this case waits for an answer")
        response = await client.supplement_application(request)
    acting.show(response, lambda: [facts([("state", word(case_pb2.State, response.state))])])


@command(case_app, "withdraw")
async def withdraw(
    acting: Acting,
    case: CaseArgument,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why.")],
    applicant: Applicant = None,
) -> None:
    """Ask the lead to end a case (撤回): it ends unless it is decided already."""
    actor = acting.actor(applicant)
    async with acting.intake() as client:
        case_id = await case_id_of(client, case)
        response = await client.request_withdrawal(
            pb.RequestWithdrawalRequest(actor=actor, case_id=case_id, reason=reason)
        )
    acting.show(response, lambda: [facts([("withdrawal", word(case_pb2.WithdrawalStatus, response.withdrawal))])])


def _place(text: str) -> Place:
    code, _, description = text.partition(":")
    return Place(division=code, description=description)


def _check_alone(*others: object) -> None:
    if any(others):
        raise Failure("--from gives the whole application: leave the other options out, or leave --from out")


def _check_complete(needed: Mapping[str, str]) -> None:
    missing = [option for option, value in needed.items() if not value]
    if missing:
        raise Failure(
            "an application needs {options} too, or a file with everything: --from FILE", options=", ".join(missing)
        )


def _read(path: Path) -> pb.SubmitApplicationRequest:
    try:
        return json_format.Parse(path.read_bytes(), pb.SubmitApplicationRequest())
    except OSError as error:
        raise Failure("{path} cannot be read: {why}", path=path, why=error.strerror) from error
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise Failure(
            "{path} is no SubmitApplicationRequest in proto JSON: {why}", path=path, why=one_line(str(error))
        ) from error


async def _fill_form(client: IntakeClient, request: pb.SubmitApplicationRequest, texts: Sequence[str]) -> None:
    """The answers as the item declares them, personal ones in their place."""
    item = (await client.catalog.get_service_item(GetServiceItemRequest(code=request.item_code))).item
    plain, personal = form_values(item.form, texts)
    request.form.extend(plain)
    request.personal.form.extend(personal)


def _answers(texts: Iterable[str]) -> dict[str, case_pb2.LineAnswer]:
    answers = {}
    for text in texts:
        line, words_of_it = pair("--answer", text, "LINE=TEXT")
        if not line.isdecimal():
            raise Failure("--answer is LINE=TEXT with the line's number, and {text!r} is not", text=text)
        answers[line] = case_pb2.LineAnswer(line=int(line), text=words_of_it)
    return answers


def _add_materials(answers: Mapping[str, case_pb2.LineAnswer], texts: Iterable[str]) -> None:
    for text in texts:
        line, rest = pair("--material", text, "LINE:CODE=FILE", ":")
        _answer(answers, line).materials.append(material(rest))


def _add_form(
    answers: Mapping[str, case_pb2.LineAnswer], form: Sequence[FormField], texts: Iterable[str]
) -> Sequence[party_pb2.FormValue]:
    """Put the corrected answers into their lines; the personal ones are returned, they have a place of their own."""
    found: list[party_pb2.FormValue] = []
    for text in texts:
        line, rest = pair("--field", text, "LINE:NAME=VALUE", ":")
        plain, personal = form_values(form, [rest])
        _answer(answers, line).form.extend(plain)
        found.extend(personal)
    return found


def _answer(answers: Mapping[str, case_pb2.LineAnswer], line: str) -> case_pb2.LineAnswer:
    if line not in answers:
        raise Failure("line {line} has no --answer {line}=TEXT", line=line)
    return answers[line]

"""`ronghe dead-letters list`, `show`, `redrive`, `discard`: what was set aside, and how its case goes on."""

from collections.abc import Mapping
from typing import Annotated

import typer

from clients.cli.acting import Acting
from clients.cli.asking import ask, case_id_of
from clients.cli.command import AtOption, command
from clients.cli.language import event, say
from clients.cli.output import Shown, facts, instant, moment, rows, show, show_json, table, word
from clients.cli.places import Reason, numbered, told
from clients.render import render
from clients.subsystem import SubsystemClient
from ronghe.operations.v1 import operations_service_pb2 as pb

app = typer.Typer(no_args_is_help=True, help="Records that were set aside with their case (搁置记录), and what to do.")

PAGE = 500
LetterArgument = Annotated[
    str, typer.Argument(metavar="SUBSYSTEM/ID", help="As `dead-letters list` shows it, for example governance/17.")
]


@command(app, "list")
async def list_dead_letters(
    acting: Acting,
    case: Annotated[str, typer.Option(metavar="CASE", help="Only those of this case, by number or id.")] = "",
    settled: Annotated[bool, typer.Option("--settled", help="Those that were redriven or discarded as well.")] = False,
    at: AtOption = None,
) -> None:
    """List what was set aside, in the order in which it came; --json is an object by subsystem.

    The first one of a case is why the case stands still; the others wait behind it.
    """
    request = pb.ListDeadLettersRequest(settled=settled, page_size=PAGE)
    if case:
        async with acting.subsystem(at, acting.reader) as client:
            request.case_id = await case_id_of(client, case)
    answers = await ask(acting, at, lambda client: _all(client, request))
    if acting.json:
        show_json(answers)
    else:
        show(_listed(answers))


@command(app, "show")
async def show_dead_letter(acting: Acting, letter: LetterArgument) -> None:
    """Show one with its envelope and, where it can be read, what it says, without personal data."""
    subsystem, number = numbered(letter)
    async with acting.subsystem(subsystem, acting.reader) as client:
        found = await client.operations.get_dead_letter(pb.GetDeadLetterRequest(dead_letter_id=number))
    acting.show(found, lambda: _whole(letter, found))


@command(app, "redrive")
async def redrive(acting: Acting, letter: LetterArgument, reason: Reason) -> None:
    """Take in everything of its case that waits, in order (重新处理): all of it, or, when one fails again, nothing.

    Do it when the cause is gone, for example after an upgrade. --officer says who acts.
    """
    subsystem, number = numbered(letter)
    request = told(acting, pb.RedriveDeadLetterRequest(dead_letter_id=number), reason)
    async with acting.subsystem(subsystem, acting.reader) as client:
        done = await client.operations.redrive_dead_letter(request)
    settled = ", ".join(f"{subsystem}/{each}" for each in done.dead_letter_ids)
    acting.show(
        done,
        lambda: [say("settled {letters}; {count} taken in, the case goes on", letters=settled, count=done.taken_in)],
    )


@command(app, "discard")
async def discard(acting: Acting, letter: LetterArgument, reason: Reason) -> None:
    """Give one up for good (作废). What waits behind it waits on until it is redriven. --officer says who acts."""
    subsystem, number = numbered(letter)
    request = told(acting, pb.DiscardDeadLetterRequest(dead_letter_id=number), reason)
    async with acting.subsystem(subsystem, acting.reader) as client:
        done = await client.operations.discard_dead_letter(request)
    acting.show(done, lambda: [_after(subsystem, done)])


async def _all(client: SubsystemClient, request: pb.ListDeadLettersRequest) -> pb.ListDeadLettersResponse:
    """All pages in one answer."""
    found = pb.ListDeadLettersResponse()
    further = pb.ListDeadLettersRequest()
    further.CopyFrom(request)
    while True:
        page = await client.operations.list_dead_letters(further)
        found.dead_letters.extend(page.dead_letters)
        if not page.next_page_token:
            return found
        further.page_token = page.next_page_token


def _listed(answers: Mapping[str, pb.ListDeadLettersResponse]) -> Shown:
    lines = [
        (
            f"{name}/{letter.dead_letter_id}",
            letter.case_id or say("unknown"),
            event(letter.type.rpartition(".")[2]),
            moment(letter.parked_at),
            word(pb.DeadLetter.State, letter.state),
            letter.problem,
        )
        for name, answer in answers.items()
        for letter in answer.dead_letters
    ]
    if not lines:
        return [say("nothing is set aside")]
    return [rows(table("dead letter", "case", "type", "since", "state", "problem", whole=("case",)), lines)]


def _whole(name: str, found: pb.GetDeadLetterResponse) -> Shown:
    letter = found.dead_letter
    envelope = facts(
        [
            ("dead letter", name),
            ("state", word(pb.DeadLetter.State, letter.state)),
            ("problem", letter.problem),
            ("set aside", instant(letter.parked_at)),
            ("settled", instant(letter.settled_at)),
            ("came from", letter.source),
            ("case", letter.case_id),
            ("event", letter.event_id),
            ("type", letter.type),
            ("said by", letter.origin),
            ("stream", letter.stream),
            ("version", letter.version),
            ("recorded", instant(found.recorded_at)),
            ("caused by", ", ".join(found.causes)),
            ("bytes", letter.size),
            ("SHA-256", letter.digest.hex()),
        ]
    )
    if not found.HasField("fact"):
        return [envelope, say("what it says cannot be read")]
    return [envelope, say("what it says, without personal data:"), render(found.fact)]


def _after(subsystem: str, done: pb.DiscardDeadLetterResponse) -> str:
    if not done.waiting:
        if done.case_id:
            return say("discarded; nothing else waits, the case goes on")
        return say("discarded; it held nothing up")
    waiting = say("discarded; {count} more wait: take them in with", count=len(done.waiting))
    return f"{waiting}\n  ronghe dead-letters redrive {subsystem}/{done.waiting[0]}"

"""`ronghe journal verify`: each journal by itself, and against what the other subsystems hold of it."""

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass

import typer

from clients.cli.acting import SUBSYSTEMS, Acting
from clients.cli.asking import ask
from clients.cli.command import AtOption, command
from clients.cli.errors import Failure, note, sentence
from clients.cli.language import say
from clients.cli.output import instant, rows, show, show_json, table
from clients.errors import RongheError, Unavailable
from clients.subsystem import SubsystemClient
from ronghe.event.v1.event_pb2 import JournalHead
from ronghe.operations.v1 import operations_service_pb2 as pb

app = typer.Typer()
journal = typer.Typer(no_args_is_help=True, help="The record of everything that was decided.")
app.add_typer(journal, name="journal")

# With their certificates, whatever authority these are of, so many heads fit in a request of 1 MiB.
PAGE = 100


@dataclass(slots=True)
class _Journal:
    """What was found in one."""

    found: pb.VerifyJournalResponse
    is_verified: bool = True
    """Whether nothing failed on the way but for a subsystem that is away."""


@command(journal, "verify")
async def verify_journal(acting: Acting, at: AtOption = None) -> None:
    """Walk the hash chain of each journal, and compare it with the signed heads of it that the others hold.

    Exit status 1 when one is not whole, with the first bad place, or could not be verified. --json is an object by
    subsystem.
    """
    journals = await ask(acting, at, _examine)
    away = [] if at else [name for name in SUBSYSTEMS if name not in journals]
    for name, each in journals.items():
        await _compare(acting, name, each, away)
    if acting.json:
        show_json({name: each.found for name, each in journals.items()})
    else:
        lines = [(name, each.found.rows, each.found.position, _verdict(each)) for name, each in journals.items()]
        show([rows(table("journal", "rows#", "to position#", "found"), lines)])
    bad = [name for name, each in journals.items() if each.found.HasField("fault")]
    if bad:
        raise Failure("the journal of {subsystems} is not whole", subsystems=", ".join(bad))
    unverified = [name for name, each in journals.items() if not each.is_verified]
    if unverified:
        raise Failure("the journal of {subsystems} was not verified", subsystems=", ".join(unverified))


async def _examine(client: SubsystemClient) -> _Journal:
    """By itself. Raises Unavailable."""
    try:
        return _Journal(await _walk(client))
    except Unavailable:
        raise
    except RongheError as error:
        note(sentence(error))
        return _Journal(pb.VerifyJournalResponse(), is_verified=False)


async def _walk(client: SubsystemClient) -> pb.VerifyJournalResponse:
    """The whole journal, stretch by stretch."""
    whole = await client.operations.verify_journal(pb.VerifyJournalRequest())
    while not whole.finished and not whole.HasField("fault"):
        before = whole
        whole = await client.operations.verify_journal(pb.VerifyJournalRequest(after_position=before.position))
        whole.rows += before.rows
        whole.restored.MergeFrom(before.restored)
    return whole


async def _compare(acting: Acting, name: str, examined: _Journal, away: Collection[str]) -> None:
    """Add the first fault that the others' heads show; one that does not answer is noted, and not asked again."""
    found = examined.found
    for holder in SUBSYSTEMS:
        if holder == name or found.HasField("fault") or not found.finished:
            continue
        if holder in away:
            _note_uncompared(name, holder, say("see above"))
            continue
        try:
            async with (
                acting.subsystem(name, acting.reader) as client,
                acting.subsystem(holder, acting.reader) as other,
            ):
                fault = await _first_misfit(client, other, found.origin)
        except RongheError as error:
            _note_uncompared(name, holder, sentence(error))
            examined.is_verified &= isinstance(error, Unavailable)
            continue
        if fault is not None:
            found.fault.CopyFrom(fault)
            found.fault.description = say("{what}; {holder} holds it", what=fault.description, holder=holder)


def _note_uncompared(name: str, holder: str, why: str) -> None:
    note(say("{journal} was not compared with what {holder} holds: {why}", journal=name, holder=holder, why=why))


async def _first_misfit(
    client: SubsystemClient, holder: SubsystemClient, origin: str
) -> pb.VerifyJournalResponse.Fault | None:
    after = 0
    async for heads in _held(holder, origin):
        answer = await client.operations.compare_journal(pb.CompareJournalRequest(heads=heads, after_position=after))
        if answer.HasField("fault"):
            return answer.fault
        after = answer.fits_to
    return None


async def _held(holder: SubsystemClient, origin: str) -> AsyncIterator[Sequence[JournalHead]]:
    """Page by page, in the order in which they were signed."""
    request = pb.ListJournalHeadsRequest(origin=origin, page_size=PAGE)
    while True:
        page = await holder.operations.list_journal_heads(request)
        if page.heads:
            yield [each.head for each in page.heads]
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _verdict(examined: _Journal) -> str:
    return "\n".join([*_restored(examined.found), _finding(examined)])


def _finding(examined: _Journal) -> str:
    if examined.found.HasField("fault"):
        return _fault(examined.found)
    return say("whole") if examined.is_verified else say("not verified")


def _fault(found: pb.VerifyJournalResponse) -> str:
    fault = found.fault
    if fault.to_position > fault.position:
        return say(
            "from {first} to {last}: {what}", first=fault.position, last=fault.to_position, what=fault.description
        )
    return say("at {position}: {what}", position=fault.position, what=fault.description)


def _restored(found: pb.VerifyJournalResponse) -> Iterator[str]:
    for each in sorted(found.restored, key=lambda restored: restored.position):
        yield say("put back from a backup before row {position}, {when}", position=each.position, when=instant(each.at))

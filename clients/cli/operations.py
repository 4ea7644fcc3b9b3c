"""`ronghe bridge status`, `ronghe journal verify`, `ronghe settings`: how the subsystems are doing."""

from collections.abc import Iterator, Mapping

import typer
from rich.table import Table

from clients.cli.acting import Acting
from clients.cli.asking import ask
from clients.cli.command import AtOption, command
from clients.cli.errors import Failure
from clients.cli.output import moment, rows, show, show_json, table
from clients.subsystem import SubsystemClient
from ronghe.operations.v1 import operations_service_pb2 as pb

app = typer.Typer()
bridge = typer.Typer(no_args_is_help=True, help="What carries events between the subsystems.")
journal = typer.Typer(no_args_is_help=True, help="The record of everything that was decided.")
app.add_typer(bridge, name="bridge")
app.add_typer(journal, name="journal")

Status = Mapping[str, pb.GetBridgeStatusResponse]


@command(bridge, "status")
async def bridge_status(acting: Acting, at: AtOption = None) -> None:
    """Show positions, lags and last errors of everything that carries events; --json is an object by subsystem."""
    answers = await ask(acting, at, lambda client: client.operations.get_bridge_status(pb.GetBridgeStatusRequest()))
    if acting.json:
        show_json(answers)
    else:
        show([_journals(answers), _bridges(answers), _inboxes(answers)])


@command(journal, "verify")
async def verify_journal(acting: Acting, at: AtOption = None) -> None:
    """Walk the hash chain of each journal; exit status 1 when one is not whole. --json is an object by subsystem."""
    answers = await ask(acting, at, _verify)
    if acting.json:
        show_json(answers)
    else:
        lines = [(name, found.rows, found.position, _verdict(found)) for name, found in answers.items()]
        show([rows(table("journal", "rows#", "to position#", "found"), lines)])
    bad = [name for name, found in answers.items() if found.HasField("fault")]
    if bad:
        raise Failure(f"the journal of {', '.join(bad)} is not whole")


@command(app, "settings")
async def settings(acting: Acting, at: AtOption = None) -> None:
    """Show the settings in force, without secrets; --json is an object by subsystem."""
    answers = await ask(acting, at, lambda client: client.operations.get_settings(pb.GetSettingsRequest()))
    if acting.json:
        show_json(answers)
        return
    lines = [
        (name, each.name, each.value, each.default_value if each.default_value != each.value else "", each.description)
        for name, found in answers.items()
        for each in found.settings
    ]
    show([rows(table("subsystem", "setting", "value", "default", "what it is"), lines)])


async def _verify(client: SubsystemClient) -> pb.VerifyJournalResponse:
    """The whole journal, stretch by stretch."""
    whole = await client.operations.verify_journal(pb.VerifyJournalRequest())
    while not whole.finished and not whole.HasField("fault"):
        before = whole.rows
        request = pb.VerifyJournalRequest(after_position=whole.position)
        whole = await client.operations.verify_journal(request)
        whole.rows += before
    return whole


def _verdict(found: pb.VerifyJournalResponse) -> str:
    return f"at {found.fault.position}: {found.fault.description}" if found.HasField("fault") else "whole"


def _journals(answers: Status) -> Table:
    lines = [
        (
            each.origin,
            each.journal_epoch,
            each.journal_position,
            f"{each.items_per_commit:.1f}",
            each.parked,
            each.dropped_spans,
        )
        for each in answers.values()
    ]
    return rows(table("deployment", "epoch#", "journal at#", "items a commit#", "parked#", "spans dropped#"), lines)


def _bridges(answers: Status) -> Table:
    lines = [line for each in answers.values() for line in _ways(each)]
    return rows(table("deployment", "carries", "at#", "lag#", "last error"), lines)


def _ways(status: pb.GetBridgeStatusResponse) -> Iterator[tuple[object, ...]]:
    if status.HasField("relay"):
        relay = status.relay
        yield status.origin, "journal to Kafka", relay.position, relay.lag, relay.last_error
    for consumer in status.consumers:
        lag = consumer.lag if consumer.lag >= 0 else "unknown"
        name = f"Kafka {consumer.topic}/{consumer.partition}"
        yield status.origin, name, consumer.next_offset, lag, consumer.last_error
    for source in status.sources:
        connected = "" if source.connected else ", not connected"
        yield status.origin, f"inbox at {source.peer}{connected}", source.last_sequence, "", source.last_error


def _inboxes(answers: Status) -> Table:
    lines = [
        (each.origin, inbox.receiver, inbox.unacknowledged, moment(inbox.oldest_since))
        for each in answers.values()
        for inbox in each.inboxes
    ]
    return rows(table("deployment", "inbox of", "unacknowledged#", "oldest since"), lines)

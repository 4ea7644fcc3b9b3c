"""`ronghe bridge status`, `pause`, `resume`, `republish`, `drain`: what carries events between the subsystems."""

from collections.abc import Iterator, Mapping
from typing import Annotated

import typer
from rich.table import Table

from clients.cli.acting import SUBSYSTEMS, Acting
from clients.cli.asking import ask, subsystem_of
from clients.cli.command import AtOption, command
from clients.cli.errors import Failure
from clients.cli.language import say
from clients.cli.output import moment, rows, show, show_json, table, word
from clients.cli.places import Reason, place, told
from clients.cli.values import choice, timestamp, typed
from ronghe.operations.v1 import operations_service_pb2 as pb

app = typer.Typer(no_args_is_help=True, help="What carries events between the subsystems.")

Status = Mapping[str, pb.GetBridgeStatusResponse]
BridgeArgument = Annotated[
    str,
    typer.Argument(
        metavar="SUBSYSTEM/BRIDGE",
        help="For example governance/relay: relay (journal to Kafka), consumer (Kafka to journal) or inbox-source.",
    ),
]


@command(app, "status")
async def bridge_status(acting: Acting, at: AtOption = None) -> None:
    """Show positions, lags and last errors of everything that carries events; --json is an object by subsystem."""
    answers = await ask(acting, at, lambda client: client.operations.get_bridge_status(pb.GetBridgeStatusRequest()))
    if acting.json:
        show_json(answers)
    else:
        paused = [_paused(answers)] if any(each.paused for each in answers.values()) else []
        show([_journals(answers), _bridges(answers), *paused, _inboxes(answers)])


@command(app, "pause")
async def pause(acting: Acting, bridge: BridgeArgument, reason: Reason) -> None:
    """Let a bridge stand still until it is resumed, restarts included; nothing is lost. --officer says who acts."""
    subsystem, which = _bridge(bridge)
    request = told(acting, pb.PauseBridgeRequest(bridge=which), reason)
    async with acting.subsystem(subsystem, acting.reader) as client:
        done = await client.operations.pause_bridge(request)
    acting.show(done, lambda: [say("{bridge} stands still within two seconds", bridge=bridge)])


@command(app, "resume")
async def resume(acting: Acting, bridge: BridgeArgument, reason: Reason) -> None:
    """Let a paused bridge go on where it stopped. --officer says who acts."""
    subsystem, which = _bridge(bridge)
    request = told(acting, pb.ResumeBridgeRequest(bridge=which), reason)
    async with acting.subsystem(subsystem, acting.reader) as client:
        done = await client.operations.resume_bridge(request)
    acting.show(done, lambda: [say("{bridge} goes on", bridge=bridge)])


@command(app, "republish")
async def republish(
    acting: Acting,
    subsystem: Annotated[str, typer.Argument(metavar="|".join(SUBSYSTEMS[1:]), help="Whose relay.")],
    reason: Reason,
    position: Annotated[int | None, typer.Option(min=1, help="Since this position of its journal.")] = None,
    since: Annotated[str | None, typer.Option(metavar="MOMENT", help="Since this moment, as in RFC 3339.")] = None,
) -> None:
    """Publish to Kafka again what was published since a position or a moment; receivers know what they have.

    It begins at the newest checkpoint before. --officer says who acts.
    """
    if (position is None) == (since is None):
        raise Failure("say from where on with either --position N or --since MOMENT")
    request = told(acting, pb.RepublishSinceRequest(), reason)
    if position is not None:
        request.position = position
    else:
        request.time.CopyFrom(timestamp("--since", since))
    async with acting.subsystem(subsystem_of(subsystem), acting.reader) as client:
        done = await client.operations.republish_since(request)
    first, last = done.after_position + 1, done.to_position
    acting.show(done, lambda: [say("rows {first} to {last} are published again", first=first, last=last)])


@command(app, "drain")
async def drain(
    acting: Acting,
    subsystem: Annotated[str, typer.Argument(metavar="|".join(SUBSYSTEMS), help="Whose inbox it is.")],
    receiver: Annotated[str, typer.Argument(metavar="KIND/ID", help="For example organ/fire-500103.")],
    reason: Reason,
) -> None:
    """Acknowledge whatever waits for a receiver that does not come any more; it can be had again by its sequence.

    --officer says who acts.
    """
    drained = pb.DrainInboxResponse(more=True)
    async with acting.subsystem(subsystem_of(subsystem), acting.reader) as client:
        while drained.more:
            request = told(acting, pb.DrainInboxRequest(receiver=receiver), reason)
            done = await client.operations.drain_inbox(request)
            drained.items, drained.more = drained.items + done.items, done.more
            drained.first_sequence = drained.first_sequence or done.first_sequence
    acting.show(drained, lambda: [_drained(receiver, drained)])


def _drained(receiver: str, done: pb.DrainInboxResponse) -> str:
    if not done.items:
        return say("nothing waited for {receiver}", receiver=receiver)
    return say(
        "{items} items of {receiver} are acknowledged, from sequence {first} on",
        items=done.items,
        receiver=receiver,
        first=done.first_sequence,
    )


def _bridge(text: str) -> tuple[str, "pb.Bridge.ValueType"]:
    subsystem, name = place(text, "a bridge")
    return subsystem, choice(pb.Bridge, "the bridge", name)


def _journals(answers: Status) -> Table:
    lines = [
        (
            each.origin,
            each.journal_epoch,
            each.journal_position,
            f"{each.items_per_commit:.1f}",
            each.parked,
            each.parked_cases,
            each.dropped_spans,
            _clock(each.clock),
        )
        for each in answers.values()
    ]
    headings = (
        "deployment",
        "epoch#",
        "journal at#",
        "items a commit#",
        "parked#",
        "of cases#",
        "spans dropped#",
        "clock",
    )
    return rows(table(*headings), lines)


def _clock(clock: pb.ClockStatus) -> str:
    if clock.stepped:
        return say("simulated")
    return say("stepped") if clock.HasField("step") else ""


def _bridges(answers: Status) -> Table:
    lines = [line for each in answers.values() for line in _ways(each)]
    return rows(table("deployment", "carries", "at#", "lag#", "last error"), lines)


def _ways(status: pb.GetBridgeStatusResponse) -> Iterator[tuple[object, ...]]:
    for bridge in status.standing_by:
        yield status.origin, word(pb.Bridge, bridge), "", "", say("another replica runs it")
    if status.HasField("relay") and pb.BRIDGE_RELAY not in status.standing_by:
        relay = status.relay
        yield status.origin, say("journal to Kafka"), relay.position, relay.lag, relay.last_error
    for consumer in status.consumers:
        lag = consumer.lag if consumer.lag >= 0 else say("unknown")
        name = f"Kafka {consumer.topic}/{consumer.partition}"
        yield status.origin, name, consumer.next_offset, lag, consumer.last_error
    for source in () if pb.BRIDGE_INBOX_SOURCE in status.standing_by else status.sources:
        name = say("inbox at {peer}", peer=source.peer)
        connected = "" if source.connected else f", {say('not connected')}"
        yield status.origin, f"{name}{connected}", source.last_sequence, "", source.last_error


def _paused(answers: Status) -> Table:
    lines = [
        (f"{name}/{typed(pb.Bridge, one.bridge)}", moment(one.since), one.officer.name, one.reason)
        for name, each in answers.items()
        for one in each.paused
    ]
    return rows(table("paused", "since", "by", "because"), lines)


def _inboxes(answers: Status) -> Table:
    lines = [
        (each.origin, inbox.receiver, inbox.unacknowledged, moment(inbox.oldest_since))
        for each in answers.values()
        for inbox in each.inboxes
    ]
    return rows(table("deployment", "inbox of", "unacknowledged#", "oldest since"), lines)

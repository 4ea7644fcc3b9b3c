"""`ronghe clock show`, `confirm`, `advance`: the time that the subsystems go by."""

from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration

from clients.cli.acting import SUBSYSTEMS, Acting
from clients.cli.asking import ask, subsystem_of
from clients.cli.command import AtOption, command
from clients.cli.language import say
from clients.cli.output import instant, rows, show, show_json, table
from clients.cli.places import Reason, told
from clients.cli.values import duration
from ronghe.operations.v1 import operations_service_pb2 as pb

app = typer.Typer(no_args_is_help=True, help="The time that the subsystems go by.")


@command(app, "show")
async def clock_show(acting: Acting, at: AtOption = None) -> None:
    """Show each subsystem's time, and how it comes about; --json is an object by subsystem."""
    answers = await ask(acting, at, lambda client: client.operations.get_bridge_status(pb.GetBridgeStatusRequest()))
    if acting.json:
        show_json({name: each.clock for name, each in answers.items()})
        return
    lines = [(name, instant(each.now), how(each.clock)) for name, each in answers.items()]
    show([rows(table("subsystem", "time", "how it comes about"), lines)])


@command(app, "confirm")
async def confirm(acting: Acting, reason: Reason, at: AtOption = None) -> None:
    """Go by the machine's clock again after it was stepped: only when its time is right. --officer says who acts."""
    request = told(acting, pb.ConfirmClockRequest(), reason)
    answers = await ask(acting, at, lambda client: client.operations.confirm_clock(request))
    if acting.json:
        show_json(answers)
        return
    lines = [(name, instant(each.now), signed(each.step) or say("it was trusted")) for name, each in answers.items()]
    show([rows(table("subsystem", "time now", "step confirmed"), lines)])


@command(app, "advance")
async def advance(
    acting: Acting,
    by: Annotated[str, typer.Argument(metavar="TIME", help="How much time passes: 2d, 36h, 1d12h, 90m.")],
    reason: Reason,
    at: AtOption = None,
) -> None:
    """Let time pass in a simulation, which `ronghe up --stepped-clock` starts. --officer says who acts."""
    request = told(acting, pb.AdvanceClockRequest(by=duration("TIME", by)), reason)
    for name in [subsystem_of(at)] if at else SUBSYSTEMS:
        async with acting.subsystem(name, acting.reader) as client:
            await client.operations.get_bridge_status(pb.GetBridgeStatusRequest())  # all of them, or none
    answers = await ask(acting, at, lambda client: client.operations.advance_clock(request))
    if acting.json:
        show_json(answers)
        return
    lines = [(name, instant(each.now), signed(each.advanced)) for name, each in answers.items()]
    show([rows(table("subsystem", "time now", "advanced in all"), lines)])


def how(clock: pb.ClockStatus) -> str:
    """In a few words."""
    said = []
    if clock.stepped:
        said.append(say("a simulation, advanced by {time}", time=signed(clock.advanced) or "0 s"))
    if clock.HasField("step"):
        said.append(say("goes on evenly: the machine's clock was stepped by {time}", time=signed(clock.step)))
    return "; ".join(said) or say("the machine's clock")


def signed(time: Duration) -> str:
    """For example "+3600 s" or "-90 s"; "" for none."""
    seconds = round(time.ToTimedelta().total_seconds())
    return f"{seconds:+} s" if seconds else ""

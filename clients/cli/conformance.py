"""`ronghe conformance`: whether an organ's program does what a client must."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer

from clients.cli.acting import Acting
from clients.cli.command import command
from clients.cli.errors import Failure, note
from clients.cli.language import say
from clients.cli.mesh import PortBase
from clients.cli.output import rows, show, show_plain_json, table
from clients.conformance.errors import CannotPlay
from clients.conformance.judge import GUIDE, Result, Verdict
from clients.conformance.run import Trial, examine
from clients.conformance.scenes import scenes
from clients.demo.stage import StageError, stage

app = typer.Typer()

PORT = 7150


@command(app, "conformance")
async def conformance(
    acting: Acting,
    program: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- COMMAND...]",
            help="Starts the program, which is then also killed and restarted; {address} is where it connects.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the program shall connect; 0: anywhere.")] = PORT,
    port_base: PortBase = None,
    cases: Annotated[
        int | None, typer.Option(min=1, help="Cases to play; one for each scene if absent.", show_default=False)
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="To wait for the program, and then for its acts.")] = 120.0,
) -> None:
    """Play cases with faults to an organ's own program, and say what it did wrong: --as organ/<id>.

    The mesh that runs on the data directory is used; where none does, one is started, and stopped at the end. The
    program connects to this command instead of to the department server. The exit status is 1 when a check failed.
    """
    wanted = scenes(cases, kills=bool(program))
    trial = Trial(acting.organ, wanted, seconds, port, program or ())
    try:
        with stage(acting.data, port_base) as here:
            verdicts = await examine(here.addresses, here.pki, trial, lambda address: _announce(acting, address))
    except (StageError, CannotPlay) as error:
        raise Failure(str(error)) from error
    _report(acting, verdicts)
    raise typer.Exit(int(any(verdict.result is Result.FAILED for verdict in verdicts)))


def _announce(acting: Acting, address: str) -> None:
    path = acting.data / "pki" / str(acting.organ)
    note(say("department server for the program: {address}", address=address))
    files = f"{acting.data / 'pki' / 'ca.pem'}, {path}.pem, {path}.key"
    note(say("certificates: {files}", files=files))


def _report(acting: Acting, verdicts: Sequence[Verdict]) -> None:
    if acting.json:
        show_plain_json([_to_json(verdict) for verdict in verdicts])
        return
    show([rows(table("check", "result", "seen", whole=("result",)), map(_line, verdicts))])
    counts = Counter(verdict.result for verdict in verdicts)
    show([", ".join(f"{counts[result]} {say(result.value)}" for result in Result)])


def _line(verdict: Verdict) -> tuple[str, str, str]:
    check = verdict.check
    if verdict.result is not Result.FAILED:
        return check.name, say(verdict.result.value), verdict.seen
    wanted = say("expected: {what}; see {guide}, {section}", what=check.expected, guide=GUIDE, section=check.section)
    return check.name, say(verdict.result.value), f"{verdict.seen}\n{wanted}"


def _to_json(verdict: Verdict) -> dict[str, str]:
    return {
        "check": verdict.check.name,
        "result": verdict.result.value,
        "seen": verdict.seen,
        "expected": verdict.check.expected,
        "see": f"{GUIDE} {verdict.check.section}",
    }

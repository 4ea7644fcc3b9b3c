"""One way to make a command: an async function that is given who acts, with the global options among its own."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from clients.cli.acting import SUBSYSTEMS, Acting
from clients.cli.errors import Failure, one_sentence
from clients.identity import Identity
from ronghe.party.v1.party_pb2 import Officer

P = ParamSpec("P")
Action = Callable[Concatenate[Acting, P], Coroutine[Any, Any, None]]

# What grpc's core says on standard error is no sentence of a command's.
QUIET_TRANSPORT = ("GRPC_VERBOSITY", "NONE")
DATA = Path(".ronghe")
PANEL = "Global options"
DATA_HELP = "Data directory of the mesh: certificates, addresses, spans."
AS_HELP = "Who acts, as KIND/ID, for example organ/fire-500103; its certificate is taken from the data directory."
OFFICER_HELP = "Which member of staff acts, as ID:NAME; department commands require it."

CaseArgument = Annotated[str, typer.Argument(metavar="CASE", help="Case number or case id.")]
AtOption = Annotated[
    str | None,
    typer.Option("--at", metavar="|".join(SUBSYSTEMS), help="Which subsystem is asked.", show_default=False),
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help=DATA_HELP, rich_help_panel=PANEL, show_default=str(DATA))
]


@dataclass(frozen=True, slots=True)
class Globals:
    """The global options as they stand before the command."""

    data: Path
    said: str | None
    officer: str | None


def remember(
    context: typer.Context,
    data: Annotated[Path, typer.Option("--data", envvar="RONGHE_DATA", help=DATA_HELP)] = DATA,
    said: Annotated[str | None, typer.Option("--as", metavar="KIND/ID", help=AS_HELP, show_default=False)] = None,
    officer: Annotated[str | None, typer.Option(metavar="ID:NAME", help=OFFICER_HELP, show_default=False)] = None,
) -> None:
    """Join unified service (一网通办) and unified governance (一网统管): run a mesh, act in it, look into it."""
    context.obj = Globals(data, said, officer)


def data_of(context: typer.Context, data: Path | None) -> Path:
    """The data directory: said after the command, or before it, or the default."""
    return data or context.obj.data


def acting_of(
    context: typer.Context,
    data: DataOption = None,
    said: Annotated[
        str | None,
        typer.Option("--as", metavar="KIND/ID", help=AS_HELP, rich_help_panel=PANEL, show_default=False),
    ] = None,
    officer: Annotated[
        str | None, typer.Option(metavar="ID:NAME", help=OFFICER_HELP, rich_help_panel=PANEL, show_default=False)
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print proto JSON, with the contract's field names.", rich_help_panel=PANEL)
    ] = False,
) -> Acting:
    """Who acts; its parameters are options of every command. What stands after the command wins."""
    before: Globals = context.obj
    return Acting(
        data_of(context, data), _identity(said or before.said), _officer(officer or before.officer), json=json
    )


def command(app: typer.Typer, name: str) -> Callable[[Action[P]], Action[P]]:
    """Register an async function as a command; its docstring is the help."""

    def register(action: Action[P]) -> Action[P]:
        app.command(name)(_wrapped(action))
        return action

    return register


def _wrapped(action: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    shared = inspect.signature(acting_of).parameters
    own = list(inspect.signature(action).parameters.values())[1:]

    def run(**values: Any) -> None:
        with one_sentence():
            acting = acting_of(**{name: values.pop(name) for name in shared})
            asyncio.run(action(acting, **values))

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *shared.values())]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # what typer reads
    run.__doc__ = action.__doc__
    return run


def _identity(text: str | None) -> Identity | None:
    try:
        return Identity.parse(text) if text else None
    except ValueError as error:
        raise Failure("--as {problem}", problem=error) from error


def _officer(text: str | None) -> Officer | None:
    if text is None:
        return None
    number, _, name = text.partition(":")
    if not number or not name:
        raise Failure("--officer is ID:NAME, for example 0417:李敏, and {text!r} is not", text=text)
    return Officer(id=number, name=name)

"""How operators name what is in one subsystem: SUBSYSTEM/NAME, as the lists show it."""

from typing import Annotated, Any

import typer

from clients.cli.acting import SUBSYSTEMS, Acting
from clients.cli.errors import Failure
from clients.cli.language import say

Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept with the act.")]


def place(text: str, what: str) -> tuple[str, str]:
    """The subsystem and the name in it. Raises Failure."""
    subsystem, _, name = text.partition("/")
    if subsystem not in SUBSYSTEMS or not name:
        raise Failure(
            "{what} is SUBSYSTEM/NAME with one of {subsystems}, and {text!r} is not",
            what=say(what),
            subsystems=", ".join(SUBSYSTEMS),
            text=text,
        )
    return subsystem, name


def numbered(text: str) -> tuple[str, int]:
    """The subsystem and the id of a dead letter. Raises Failure."""
    subsystem, name = place(text, "a dead letter")
    if not (name.isascii() and name.isdigit()):
        raise Failure("a dead letter is SUBSYSTEM/ID, for example governance/17, and {text!r} is not", text=text)
    return subsystem, int(name)


def told(acting: Acting, request: Any, reason: str) -> Any:
    """The request with who acts, and why."""
    request.actor.CopyFrom(acting.signer)
    request.reason = reason
    return request

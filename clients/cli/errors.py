"""Every failure of a command is one sentence on standard error, and exit status 1."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from clients.credentials import CredentialsError
from clients.errors import RongheError
from clients.faults import fault

INTERRUPTED = 130
# More violations than these make no readable sentence.
MOST_VIOLATIONS = 5


class Failure(Exception):
    """A command cannot go on; the text is one sentence that says why and what to do."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turns whatever ends a command early into its sentence and its exit status."""
    try:
        yield
    except RongheError as error:
        _fail(sentence(error))
    except (Failure, CredentialsError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except typer.Exit:
        raise  # the command has said what there is to say
    except BrokenPipeError:
        raise  # whoever reads the output has seen enough
    except Exception as error:
        found = fault(error)
        _fail(f"a bug of ronghe: {found['error']} at {found['where'][-1]}")


def sentence(error: RongheError) -> str:
    """What a failed call says, beginning with its reason."""
    if error.reason == "UNAVAILABLE":
        # The server itself said nothing: the words are grpc's, about sockets.
        return "UNAVAILABLE: the server does not answer: see whether the mesh is up, and the log of that server"
    further = [each for each in error.violations if each.description not in error.message]
    named = "; ".join(f"{each.field}: {each.description}" for each in further[:MOST_VIOLATIONS])
    return one_line(f"{error} ({named})" if named else str(error))


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())


def note(text: str) -> None:
    """Say something beside the output."""
    sys.stderr.write(f"{one_line(text)}\n")


def _fail(text: str) -> NoReturn:
    note(text)
    raise typer.Exit(1)

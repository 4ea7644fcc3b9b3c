"""Every failure of a command is one sentence on standard error, and exit status 1."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import typer

from clients.cli.language import refusal, rule, say, term
from clients.credentials import CredentialsError
from clients.errors import RongheError, Violation
from clients.telemetry.unexpected import unexpected

INTERRUPTED = 130
# More violations than these make no readable sentence.
MOST_VIOLATIONS = 5
# What metadata names by values of the contract's enums.
ENUMS = {
    "state": ("case.v1.State", "collaboration.v1.Collaboration.State", "collaboration.v1.Task.State",
              "operations.v1.DeadLetter.State"),
    "tier": ("catalog.v1.Tier",),
    "kind": ("access.v1.Kind",),
}  # fmt: skip


class Failure(Exception):
    """A command cannot go on; the sentence says why and what to do, in English with `{placeholders}` for the values."""

    def __init__(self, sentence: str, /, **values: object) -> None:
        super().__init__(say(sentence, **values))


def no_choice(option: str, choices: Iterable[str], text: str) -> Failure:
    """For a value that is none of the choices."""
    return Failure(
        "{option} is one of {choices}, and {text!r} is not", option=say(option), choices=", ".join(choices), text=text
    )


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turns whatever ends a command early into its sentence and its exit status."""
    try:
        yield
    except RongheError as error:
        _fail(sentence(error))
    except CredentialsError as error:
        _fail(of_credentials(error))
    except Failure as error:
        _fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except typer.Exit:
        raise  # the command has said what there is to say
    except BrokenPipeError:
        raise  # whoever reads the output has seen enough
    except Exception as error:
        found = unexpected(error)
        _fail(say("a bug of ronghe: {error} at {where}", error=found["error"], where=found["where"][-1]))


def sentence(error: RongheError) -> str:
    """What a failed call says, beginning with its reason."""
    if error.reason == "UNAVAILABLE":
        # The server itself said nothing: the words are grpc's, about sockets.
        return (
            f"UNAVAILABLE: {say('the server does not answer: see whether the mesh is up, and the log of that server')}"
        )
    detail = _detail(error)
    return one_line(f"{error.reason}: {refusal(error.reason, _values(error, detail)) or detail}")


def of_credentials(error: CredentialsError) -> str:
    """What is wrong with a certificate."""
    return refusal("CREDENTIALS", {"detail": str(error)}) or str(error)


def _detail(error: RongheError) -> str:
    """What the server said."""
    further = [each for each in error.violations if each.description not in error.message]
    named = "; ".join(f"{each.field}: {each.description}" for each in further[:MOST_VIOLATIONS])
    return f"{error.message} ({named})" if named else error.message


def _values(error: RongheError, detail: str) -> Mapping[str, str]:
    """What may stand in a sentence on the error: its metadata, what is wrong with which fields, the server's words."""
    values = {name: _translated(name, value) for name, value in error.metadata.items()} | {"detail": detail}
    fields = "; ".join(map(_broken, error.violations[:MOST_VIOLATIONS]))
    return values | {"fields": fields} if fields else values


def _broken(violation: Violation) -> str:
    return ": ".join(filter(None, (violation.field, rule(violation.description))))


def _translated(name: str, value: str) -> str:
    word = value.lower().replace("_", " ")
    found = (term(f"ronghe.{enum}", word) for enum in ENUMS.get(name, ()))
    return next((each for each in found if each != word), value)


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())


def note(text: str) -> None:
    """Say something beside the output."""
    sys.stderr.write(f"{one_line(text)}\n")


def _fail(text: str) -> NoReturn:
    note(text)
    raise typer.Exit(1)

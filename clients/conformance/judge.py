"""Judges what was seen: one verdict a check, and never "passed" for what did not happen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from clients.conformance.seen import Seen

GUIDE = "docs/integrators.md"
# More of the same mistake tell nothing new.
SHOWN = 3


class Result(Enum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_EXERCISED = "not exercised"


@dataclass
class Look:
    """What a check found: how often the program was right, and each of its mistakes."""

    right: int = 0
    mistakes: list[str] = field(default_factory=list)
    hint: str = ""
    """Why the check could not be made, or how it could."""

    def note(self, mistake: str) -> None:
        """One occasion: a mistake, or none where the text is empty."""
        if mistake:
            self.mistakes.append(mistake)
        else:
            self.right += 1


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a program must do."""

    name: str
    expected: str
    section: str
    """Where the guide explains it."""
    look: Callable[[Seen], Look]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A check as it ended."""

    check: Check
    result: Result
    seen: str


def judge(checks: Sequence[Check], seen: Seen) -> Sequence[Verdict]:
    """A verdict for every check."""
    return [_verdict(check, check.look(seen)) for check in checks]


def _verdict(check: Check, look: Look) -> Verdict:
    if look.mistakes:
        return Verdict(check, Result.FAILED, _told(look.mistakes))
    if look.right:
        return Verdict(check, Result.PASSED, f"right {look.right} time{'s' * (look.right > 1)}")
    return Verdict(check, Result.NOT_EXERCISED, look.hint or "nothing that the program met or did tells")


def _told(mistakes: Sequence[str]) -> str:
    further = len(mistakes) - SHOWN
    return "; ".join(mistakes[:SHOWN]) + (f"; and {further} more" if further > 0 else "")

"""What is to become of each case, and what its parties must have been told in the end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import cycle

from ronghe.case.v1.case_pb2 import Outcome
from ronghe.catalog.v1.catalog_pb2 import Organ, ServiceItem

DECIDED = ("Accepted", "StepRecorded", "Decided", "Closed")


@dataclass(frozen=True, slots=True)
class Course:
    """How a case goes: the facts that intake is told of, in order, its outcome, and what its lead is told."""

    title: str
    facts: Sequence[str]
    outcome: "Outcome.ValueType"
    lead: Sequence[str] = ("Submitted",)


class Ending(Enum):
    """Every way a plain case can end."""

    GRANTED = Course("granted", DECIDED, Outcome.OUTCOME_GRANTED)
    DENIED = Course("denied", DECIDED, Outcome.OUTCOME_DENIED)
    REFUSED = Course("acceptance refused", ("AcceptanceRefused",), Outcome.OUTCOME_ACCEPTANCE_REFUSED)
    CORRECTED = Course(
        "corrected, then granted",
        ("CorrectionRequested", "SupplementReceived", *DECIDED),
        Outcome.OUTCOME_GRANTED,
        ("Submitted", "Supplemented", "SupplementReceived"),
    )
    PAUSED = Course(
        "corrected after acceptance, then granted",
        ("Accepted", "CorrectionRequested", "SupplementReceived", "StepRecorded", "Decided", "Closed"),
        Outcome.OUTCOME_GRANTED,
        ("Submitted", "Supplemented", "SupplementReceived"),
    )
    WITHDRAWN = Course(
        "withdrawn",
        ("Accepted", "Withdrawn"),
        Outcome.OUTCOME_WITHDRAWN,
        ("Submitted", "WithdrawalRequested", "Withdrawn"),
    )
    WITHDRAWAL_DECLINED = Course(
        "withdrawal declined: already decided",
        ("Accepted", "StepRecorded", "Decided", "WithdrawalDeclined", "Closed"),
        Outcome.OUTCOME_GRANTED,
        ("Submitted", "WithdrawalRequested", "WithdrawalDeclined"),
    )


# Out of twenty cases.
SHARES = {
    Ending.GRANTED: 8,
    Ending.DENIED: 3,
    Ending.REFUSED: 2,
    Ending.CORRECTED: 2,
    Ending.PAUSED: 1,
    Ending.WITHDRAWN: 2,
    Ending.WITHDRAWAL_DECLINED: 2,
}


@dataclass(frozen=True, slots=True)
class Desk:
    """An item that can be applied for at a division, and the organ that leads it there."""

    item: ServiceItem
    division: str
    organ: Organ


def endings() -> Iterator[Ending]:
    """Endings without end, mixed in their shares."""
    spread = [ending for ending, share in SHARES.items() for _ in range(share)]
    # A stride that has no common factor with twenty mixes them without chance.
    return cycle([spread[number * 7 % len(spread)] for number in range(len(spread))])

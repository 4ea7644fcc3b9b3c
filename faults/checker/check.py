"""All checks."""

from collections.abc import Iterator, Sequence

from faults.checker import (
    chains,
    connected,
    contents,
    decisions,
    disclosure,
    inboxes,
    once,
    order,
    outcomes,
    poison,
    requests,
    settled,
    signatures,
    spread,
    unsent,
)
from faults.checker.history import History, Problem

CHECKS = (
    requests,
    contents,
    once,
    spread,
    order,
    chains,
    signatures,
    inboxes,
    outcomes,
    decisions,
    settled,
    connected,
    disclosure,
    poison,
    unsent,
)


def check(history: History) -> Sequence[Problem]:
    """Everything that is wrong; nothing, where all that is promised was kept."""
    return list(problems(history))


def problems(history: History) -> Iterator[Problem]:
    """The same, one after another as they are found."""
    for module in CHECKS:
        yield from module.check(history)

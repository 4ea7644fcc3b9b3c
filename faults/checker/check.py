"""All checks."""

from collections.abc import Sequence

from faults.checker import chains, connected, disclosure, inboxes, order, outcomes, requests, settled, spread
from faults.checker.history import History, Problem

CHECKS = (requests, spread, order, chains, inboxes, outcomes, settled, connected, disclosure)


def check(history: History) -> Sequence[Problem]:
    """Everything that is wrong; nothing, where all that is promised was kept."""
    return [problem for module in CHECKS for problem in module.check(history)]

"""What can happen once happens once: in its case, in its collaboration, in an organ's time with a task."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from faults.checker.history import Event, History, Kind, Problem

Place = tuple[str, ...]
"""Where in its case a fact belongs."""


def check(history: History) -> Iterator[Problem]:
    """Count the facts of each case as their origins' journals have them, whatever their ids and marks."""
    for case_id, events in history.by_case.items():
        found = Counter(place for event in events if (place := _place(event)) is not None)
        for (what, *where), count in found.items():
            if count > 1:
                yield Problem(Kind.DOUBLED, "case", " ".join([f"{count} x {what}", *where]), case_id)


def _place(event: Event) -> Place | None:
    """None where there may be any number of it."""
    found = _ONCE.get(event.name)
    if found is None:
        return None
    what, where = found
    return (what, *where(event.fact))


def _in_its_case(fact: Any) -> Place:
    return ()


def _of_its_notice(fact: Any) -> Place:
    return (fact.notice_number,)


def _in_its_collaboration(fact: Any) -> Place:
    return (fact.collaboration_id,)


def _in_its_assignment(fact: Any) -> Place:
    return fact.task_id, str(fact.assignment)


# Outcomes are counted with all others (outcomes.py). Steps, and a task's waiting for an officer, may come again.
ONCE: Mapping[tuple[str, ...], Callable[[Any], Place]] = {
    ("Submitted",): _in_its_case,
    ("Accepted",): _in_its_case,
    ("Closed",): _in_its_case,
    # There is another notice only once this one is answered, and each is answered once.
    ("CorrectionRequested",): lambda fact: (fact.notice.number,),
    ("Supplemented",): lambda fact: (fact.supplement.notice_number,),
    ("SupplementReceived", "SupplementLate"): _of_its_notice,
    # A withdrawal is declined only where the case has ended otherwise.
    ("WithdrawalRequested",): _in_its_case,
    ("WithdrawalDeclined",): _in_its_case,
    ("CollaborationRequested",): lambda fact: (fact.collaboration.collaboration_id,),
    ("CollaborationOpened",): _in_its_collaboration,
    ("CollaborationRecallRequested",): _in_its_collaboration,
    ("CollaborationConcluded", "CollaborationRecalled"): _in_its_collaboration,
    ("RecallDeclined",): _in_its_collaboration,
    ("TaskRouted",): lambda fact: (fact.task_id, str(fact.hop.number)),
    # However often a task is routed anew: an organ that gets it again gets it under another number.
    ("TaskAssigned",): _in_its_assignment,
    ("TaskSigned",): _in_its_assignment,
    ("TaskReminded",): _in_its_assignment,
    ("TaskOverdue",): _in_its_assignment,
    ("TaskAnswered", "OpinionDeemed", "TaskReturned"): _in_its_assignment,
    ("TaskRecalled",): _in_its_assignment,
    ("AnswerReceived",): _in_its_assignment,
    ("AnswerLate",): _in_its_assignment,
}
"""Facts of which there is one at most -> in what: one of any of them, where several are named."""

_ONCE = {name: (" or ".join(names), where) for names, where in ONCE.items() for name in names}

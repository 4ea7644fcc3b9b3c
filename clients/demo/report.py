"""What the demo shows of all its cases."""

from collections import Counter
from collections.abc import Sequence
from statistics import quantiles

from rich.console import Console

from clients.cli.output import rows, table
from clients.demo.courses import Shared
from clients.demo.ear import Ear
from clients.demo.plan import Ending
from clients.demo.shared import SharedStory
from clients.demo.story import Story

Waits = Sequence[float | None]
"""Seconds; None where it did not come to that."""


def show_reach(console: Console, stories: Sequence[Story]) -> None:
    """How many organs, divisions, items and channels took part."""
    organs, divisions = {story.desk.organ.id for story in stories}, {story.desk.division for story in stories}
    items, channels = {story.desk.item.code for story in stories}, {story.request.channel for story in stories}
    console.print(
        f"{len(stories)} applications: {len(items)} items, {len(channels)} kinds of terminal, "
        f"{len(organs)} leads in {len(divisions)} divisions"
    )
    shared = [story for story in stories if isinstance(story, SharedStory)]
    asked = {organ_id for story in shared for organ_id in story.scene.organs}
    centers = {story.scene.center for story in shared}
    console.print(f"{len(shared)} of them ask others: {len(asked)} organs, coordinated by {len(centers)} centers\n")


def show_outcomes(console: Console, stories: Sequence[Story]) -> None:
    """One row for each ending: planned, ended so, missed."""
    made = table("planned ending", "cases#", "ended so#", "missed#")
    for kind in (Ending, Shared):
        for ending in kind:
            planned = [story for story in stories if story.ending is ending]
            missed = sum(bool(story.problem) for story in planned)
            made.add_row(ending.value.title, str(len(planned)), str(len(planned) - missed), str(missed))
        made.add_section()
    console.print(made)
    for problem, count in Counter(story.problem for story in stories if story.problem).most_common(5):
        console.print(f"{count} x {problem}", style="red")


def show_latencies(console: Console, stories: Sequence[Story]) -> None:
    """How long the parties waited for what others did."""
    shared = [story for story in stories if isinstance(story, SharedStory)]
    alone = [story for story in stories if not isinstance(story, SharedStory)]
    waits = [
        ("submission", "the terminal has the voucher", [one.voucher_at - one.submitted_at for one in stories]),
        ("submission", "intake has the acceptance receipt", _since_submission(stories, "Accepted")),
        ("submission", "intake has the refusal of acceptance", _since_submission(stories, "AcceptanceRefused")),
        ("submission", "intake has the decision, nobody asked", _since_submission(alone, "Decided")),
        ("submission", "intake has the decision, others asked", _since_submission(shared, "Decided")),
        ("request", "the lead has the event number", [_opening(story) for story in shared]),
        ("request", "an organ that is asked has its task", [wait for story in shared for wait in _routing(story)]),
        ("last answer", "the lead has the conclusion", [_conclusion(story) for story in shared]),
    ]
    console.print()
    made = table("from", "until", "count#", "p50 ms#", "p99 ms#")
    console.print(rows(made, (_row(*each) for each in waits)))


def _since_submission(stories: Sequence[Story], fact: str) -> Waits:
    return [_wait(story.submitted_at, story.intake, fact) for story in stories]


def _opening(story: SharedStory) -> float | None:
    return _wait(story.asked_at, story.lead, "CollaborationOpened")


def _routing(story: SharedStory) -> Waits:
    """Of the organs to which the first ways lead."""
    organs = (story.scene.chain[0], *story.scene.others)
    return [_wait(story.asked_at, story.ears[f"organ/{organ_id}"], "TaskAssigned") for organ_id in organs]


def _conclusion(story: SharedStory) -> float | None:
    return _wait(story.answered_at, story.lead, "CollaborationConcluded")


def _wait(since: float, ear: Ear, fact: str) -> float | None:
    moment = ear.moment(fact)
    return None if moment is None else moment - since


def _row(start: str, end: str, waits: Waits) -> Sequence[object]:
    known = [1000 * wait for wait in waits if wait is not None]
    if len(known) < 2:
        return start, end, len(known), "", ""
    cuts = quantiles(known, n=100)
    return start, end, len(known), f"{cuts[49]:.0f}", f"{cuts[98]:.0f}"

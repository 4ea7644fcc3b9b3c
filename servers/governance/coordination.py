"""What follows at the centers when others act: answers are fed back, returned tasks routed anew, recalls done."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ronghe.catalog.v1.catalog_pb2 import Organ, Tier
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration, Hop, Task
from ronghe.event.v1 import event_pb2 as event
from servers.catalog.catalog import Catalog
from servers.collaboration.fold import ENDED, deemed, holds, task_of
from servers.governance.opening import resolve
from servers.governance.routing import Cause, Router
from servers.governance.ways import Way, is_bound
from servers.kernel.stream import Caused, Facts

MOST_BOUNCES = 3
"""After so many returns no rule is trusted any more: an officer decides."""


def on_answer(
    known: Collaboration, fact: event.TaskAnswered | event.OpinionDeemed, earlier: Sequence[str], now: Timestamp
) -> Facts:
    """反馈: the lead gets it; it counts while the task is open and this organ's. The last answer concludes the event.

    `earlier` are the answers that were received before.
    """
    task = task_of(known, fact.task_id)
    counts = holds(task, fact)
    received = event.AnswerReceived(
        occurred_at=now,
        collaboration_id=known.collaboration_id,
        lead_id=known.lead.id,
        task_id=task.task_id,
        organ=_assigned(task, fact.assignment),
        answer=deemed(fact) if isinstance(fact, event.OpinionDeemed) else fact.answer,
        late=not counts,
        assignment=fact.assignment,
    )
    others_are_done = all(other.state in ENDED for other in known.tasks if other.task_id != task.task_id)
    if not (counts and others_are_done):
        return [received]
    concluded = event.CollaborationConcluded(
        occurred_at=now, collaboration_id=known.collaboration_id, lead_id=known.lead.id
    )
    return [received, Caused(concluded, [0, *earlier])]


def _assigned(task: Task, number: int) -> Organ:
    return next(one.organ for one in task.assignments if one.number == number)


def on_recall(known: Collaboration, fact: event.CollaborationRecallRequested, now: Timestamp) -> Facts:
    """撤销: whoever has a task is told; after the conclusion it comes too late."""
    if known.state == Collaboration.STATE_CONCLUDED:
        return [event.RecallDeclined(occurred_at=now, collaboration_id=known.collaboration_id, lead_id=known.lead.id)]
    if known.state == Collaboration.STATE_RECALLED:
        return []
    recalled = event.CollaborationRecalled(
        occurred_at=now, collaboration_id=known.collaboration_id, lead_id=known.lead.id, reason=fact.reason
    )
    open_tasks = [task for task in known.tasks if task.state in (Task.STATE_ASSIGNED, Task.STATE_SIGNED)]
    taken = [Caused(take_from(known, task, fact.reason, now)) for task in open_tasks]
    return [*taken, Caused(recalled)]


def take_from(known: Collaboration, task: Task, reason: str, at: Timestamp) -> event.TaskRecalled:
    """The organ that has the task loses it."""
    return event.TaskRecalled(
        occurred_at=at,
        collaboration_id=known.collaboration_id,
        lead_id=known.lead.id,
        task_id=task.task_id,
        assignment=task.assignment,
        organ_id=task.organ.id,
        reason=reason,
    )


@dataclass(frozen=True, slots=True)
class Return:
    """A task that an organ has just given back, to be routed anew."""

    known: Collaboration
    task: Task
    catalog: Catalog
    now: datetime
    at: Timestamp

    def routed(self) -> Sequence[Message]:
        """退回: to the organ that was suggested, else by rule; where neither will do, or no longer, to an officer."""
        router = Router(self.catalog)
        suggested = self._suggested()
        why_not = self._why_not(suggested)
        organ = None if why_not else suggested or self._by_rule()
        end = organ.division if organ else self.known.center_id
        way = Way(
            self.known,
            self.task,
            f"organ/{self.task.organ.id}",
            router.between(self.task.organ.division, end),
            Cause(Hop.REASON_RETURNED, self.at, self.task.assignments[-1].return_reason),
        )
        if organ:
            return way.to_organ(router, organ)
        none_left = "returned, and neither the suggestion nor a rule names another organ"
        return way.to_officer(router, why_not or none_left)

    def _why_not(self, suggested: Organ | None) -> str:
        """Why no suggestion and no rule is to be followed; empty where one may be."""
        if self.task.bounces >= MOST_BOUNCES:
            return f"returned {self.task.bounces} times"
        brief = self.task.brief
        if suggested is not None and suggested.department != brief.department and is_bound(brief, self.known):
            return (
                f"returned with the suggestion {suggested.id}, but the law means {brief.department}: who is competent?"
            )
        return ""

    def _suggested(self) -> Organ | None:
        organ = self.catalog.organs.get(self.task.assignments[-1].suggested_organ_id)
        return organ if organ is not None and self._may_get(organ) else None

    def _by_rule(self) -> Organ | None:
        """The same department one tier up, where this one's tier will not have it."""
        brief = self.task.brief
        for tier in (Tier.TIER_DISTRICT, Tier.TIER_MUNICIPAL):
            if tier < self.task.organ.tier:
                organ = resolve(self.known, brief.department, brief.places[0].division, tier, self.catalog, self.now)
                if organ is not None and self._may_get(organ):
                    return organ
        return None

    def _may_get(self, organ: Organ) -> bool:
        """Not the lead, nobody who had it before, and nobody who no longer exists."""
        had_it = {one.organ.id for one in self.task.assignments}
        here = resolve(self.known, organ.department, organ.division, organ.tier, self.catalog, self.now)
        return organ.id not in had_it and here is not None and here.id == organ.id

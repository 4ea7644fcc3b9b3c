"""The facts by which a task travels: routed from center to center, then assigned to an organ or held for an officer."""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from ronghe.catalog.v1.catalog_pb2 import SILENCE_POLICY_DEEMED_AGREED, SILENCE_POLICY_ESCALATE, Organ
from ronghe.collaboration.v1.collaboration_pb2 import Brief, Collaboration, Hop, Task
from ronghe.event.v1 import event_pb2 as event
from servers.governance.routing import Cause, Router


@dataclass(frozen=True, slots=True)
class Way:
    """Where a task sets out, and why."""

    known: Collaboration
    task: Task
    """As it stands before: its hops and assignments are counted on."""
    start: str
    """ "organ/..." or "center/..."."""
    centers: Sequence[str]
    """The centers it goes through; none where it is at the right one already."""
    cause: Cause

    def to_organ(self, router: Router, organ: Organ) -> Sequence[Message]:
        """派遣: the last center gives it to the organ. Without a center on the way that hop has the way's own cause."""
        hops = self._hops(router)
        cause = Cause(Hop.REASON_DISPATCHED, self.cause.at) if hops else self.cause
        assigned = event.TaskAssigned(
            occurred_at=self.cause.at,
            collaboration_id=self.task.collaboration_id,
            lead_id=self.known.lead.id,
            task_id=self.task.task_id,
            assignment=self.task.assignment + 1,
            organ=organ,
            hop=router.dispatch(len(self.task.hops) + len(hops) + 1, self._last(organ.division), organ, cause),
            brief=brief_for(organ, self.task.brief, self.known),
        )
        return [*self._routed(hops), assigned]

    def to_officer(self, router: Router, reason: str) -> Sequence[Message]:
        """待人工派遣: the last center's officer must say how it goes on."""
        held = event.TaskHeld(
            occurred_at=self.cause.at,
            collaboration_id=self.task.collaboration_id,
            lead_id=self.known.lead.id,
            task_id=self.task.task_id,
            center_id=self._last(self.start.removeprefix("center/")),
            reason=reason,
        )
        return [*self._routed(self._hops(router)), held]

    def _last(self, otherwise: str) -> str:
        return self.centers[-1] if self.centers else otherwise

    def _hops(self, router: Router) -> Sequence[Hop]:
        return router.hops(len(self.task.hops) + 1, self.start, self.centers, self.cause)

    def _routed(self, hops: Sequence[Hop]) -> Sequence[Message]:
        return [
            event.TaskRouted(
                occurred_at=hop.at,
                collaboration_id=self.task.collaboration_id,
                lead_id=self.known.lead.id,
                task_id=self.task.task_id,
                hop=hop,
            )
            for hop in hops
        ]


def is_bound(brief: Brief, known: Collaboration) -> bool:
    """Whether the law means the department asked and no other: it must agree, may agree by silence, or sees of whom.

    By what was asked: the brief of whom an officer gave the task says less (`brief_for`).
    """
    return any(
        ask.required or ask.HasField("personal") or ask.silence_policy == SILENCE_POLICY_DEEMED_AGREED
        for ask in known.asks
        if brief.rule and ask.rule == brief.rule  # beyond the rules there is none of it
    )


def brief_for(organ: Organ, brief: Brief, known: Collaboration) -> Brief:
    """What this organ is told: the applicant's data, and silence that agrees, are for the department asked alone.

    Where the task comes back to that department after another one had it, they are there again.
    """
    told = Brief()
    told.CopyFrom(brief)
    if organ.department != brief.department:
        told.ClearField("personal")
        if told.silence_policy == SILENCE_POLICY_DEEMED_AGREED:
            told.silence_policy = SILENCE_POLICY_ESCALATE
            told.ClearField("silence_basis")
        return told
    for ask in known.asks:
        if brief.rule and ask.rule == brief.rule:  # beyond the rules there is neither
            told.silence_policy, told.silence_basis = ask.silence_policy, ask.silence_basis
            if ask.HasField("personal"):
                told.personal.CopyFrom(ask.personal)
    return told

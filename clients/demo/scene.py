"""Who takes part in a case that asks others, and what they are asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clients.demo.courses import SharedCourse
from clients.demo.plan import Desk
from ronghe.collaboration.v1.collaboration_service_pb2 import RequestCollaborationRequest
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest

Other = RequestCollaborationRequest.Other


@dataclass(frozen=True, slots=True)
class Scene:
    """The parties of one case, and what the lead asks them."""

    course: SharedCourse
    desk: Desk
    request: SubmitApplicationRequest
    rules: Sequence[str]
    beyond: Sequence[Other]
    """Whom no rule names."""
    chain: Sequence[str]
    """Organs that get the first one's task, in turn."""
    others: Sequence[str]
    """Organs that get the other tasks."""
    center: str
    """The center that coordinates."""
    discloses: Mapping[str, Sequence[str]]
    """By rule; "" for whom no rule names."""

    @property
    def organs(self) -> Sequence[str]:
        """Everybody who is asked."""
        return [*self.chain, *self.others]

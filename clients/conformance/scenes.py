"""What is done to the program under test: each case is one scene, and most scenes have one fault that comes once."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from ronghe.event.v1.event_pb2 import Submitted
from ronghe.inbox.v1.inbox_service_pb2 import InboxItem

# Seconds during which an inbox that was cut cannot be opened, from the first attempt on.
CLOSED = 3.0
HELD = 1.0
SLOW = 2.0
# What RetryInfo says where a call is refused for load.
RETRY_AFTER = 1.5


class Scene(Enum):
    """The title says what happens."""

    PLAIN = "nothing unusual"
    GIVEN_TWICE = "the item comes twice"
    GIVEN_AGAIN = "the item comes again after its acknowledgement"
    CUT_WHEN_GIVEN = "the connection is lost when the item has come"
    ACK_LOST = "the connection and the acknowledgement are lost"
    CUT_AFTER_ACK = "the connection is lost after the acknowledgement, and the server stays away"
    ACK_HELD = "the acknowledgement arrives late"
    ANSWER_LOST = "the answer to a command is lost"
    OVERLOADED = "a command is refused for load"
    SLOW = "a command takes long"
    WITHDRAWN = "the applicant has withdrawn, and a fact of an unknown type comes"
    ASKED = "another organ asks"
    KILLED_ACTING = "the program is killed before the answer to a command"
    KILLED_ACKNOWLEDGING = "the program is killed when it acknowledges"


KILLS = (Scene.KILLED_ACTING, Scene.KILLED_ACKNOWLEDGING)
WITHOUT_KILLS = tuple(scene for scene in Scene if scene not in KILLS)


def scenes(count: int | None, *, kills: bool) -> Sequence[Scene]:
    """Each once, or as many as wanted, in turn; the program is killed only where it can be started again."""
    every = [scene for scene in Scene if kills or scene not in KILLS]
    return [every[number % len(every)] for number in range(count or len(every))]


@dataclass(eq=False)
class Script:
    """Which scene each case is in, and what has been done of it."""

    _scenes: dict[str, Scene] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)
    _closed_until: float = 0.0

    def cast(self, key: str, scene: Scene) -> None:
        """Put a case in a scene, by the external number of its application or by its id."""
        self._scenes[key] = scene

    def meet(self, item: InboxItem) -> Scene | None:
        """The scene of an item's case, which may come here before its voucher has reached the applicant."""
        fact = Submitted()
        if item.event.fact.Unpack(fact) and (scene := self._scenes.get(fact.application.external_no)):
            self._scenes[item.event.case_id] = scene
        return self._scenes.get(item.event.case_id)

    def do(self, case_id: str, scene: Scene) -> bool:
        """Whether the case is in this scene and its fault is still to come, which it does now."""
        due = self._scenes.get(case_id) is scene and case_id not in self._done
        if due:
            self._done.add(case_id)
        return due

    def close(self) -> None:
        """The inbox cannot be opened until a while after the first attempt: the program may have its hands full."""
        self._closed_until = math.inf

    def meet_attempt(self, now: float) -> tuple[float, float] | None:
        """From when to when the inbox stays closed, where this is the first attempt to open it."""
        if self._closed_until != math.inf:
            return None
        self._closed_until = now + CLOSED
        return now, self._closed_until

    @property
    def is_closed(self) -> bool:
        """Whether the inbox cannot be opened now."""
        return time.monotonic() < self._closed_until

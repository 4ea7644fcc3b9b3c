"""Adaptive pacing: work at once while there is little, in fuller batches while there is much."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

# From this many items on average a pass is worth waiting for.
BUSY_ITEMS = 3.0
BUSY_SECONDS = 0.020
# From this many on it waits longer in proportion, up to so many times: what a pass costs by itself stays a small part.
FULL_ITEMS = 10.0
LONGEST = 2.5
# How much the newest pass counts in the average.
WEIGHT = 0.2


@dataclass(slots=True)
class Pacer:
    """Says how long to wait before the next pass; the caller does the waiting, on a thread or a loop."""

    seconds: float = BUSY_SECONDS
    clock: Callable[[], float] = time.monotonic
    average: float = 1.0
    begun: float = -math.inf
    """When the pass began for which `delay` was asked last."""

    def passed(self, items: int) -> None:
        """A pass over so many items has just ended."""
        self.average += WEIGHT * (items - self.average)

    def delay(self) -> float:
        """Seconds until the next pass should begin; 0 while there is little to do.

        Passes begin so far apart. One that took longer is followed at once: what came meanwhile is a batch already, and
        a pause would be lost where everybody else has one as well.
        """
        now = self.clock()
        self.begun = max(now, self.begun + self._apart())
        return self.begun - now

    def _apart(self) -> float:
        if self.average < BUSY_ITEMS:
            return 0.0
        return self.seconds * min(max(self.average / FULL_ITEMS, 1.0), LONGEST)

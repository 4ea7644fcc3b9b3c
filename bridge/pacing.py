"""Adaptive pacing: work at once while there is little, in fuller batches while there is much."""

import time
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
    average: float = 1.0
    last: float = 0.0

    def passed(self, items: int) -> None:
        """A pass over so many items has just ended."""
        self.average += WEIGHT * (items - self.average)
        self.last = time.monotonic()

    def delay(self) -> float:
        """Seconds until the next pass should begin; 0 while there is little to do."""
        if self.average < BUSY_ITEMS:
            return 0.0
        seconds = self.seconds * min(max(self.average / FULL_ITEMS, 1.0), LONGEST)
        return max(0.0, self.last + seconds - time.monotonic())

"""How long to wait before the next attempt."""

import asyncio
import random

# What is waited out may last for days: no number grows with it.
MOST_DOUBLINGS = 64


class Backoff:
    """Waits that double from `first` to `longest` seconds, each cut by chance so that clients do not march in step."""

    def __init__(self, first: float = 0.1, longest: float = 10.0) -> None:
        self._first = first
        self._longest = longest
        self.attempts = 0
        """Up to 64 are counted."""

    def reset(self) -> None:
        """It went well: begin with the first wait again."""
        self.attempts = 0

    async def wait(self, at_least: float | None = None) -> None:
        """Wait for the next attempt."""
        longest = min(self._first * 2**self.attempts, self._longest)
        self.attempts = min(self.attempts + 1, MOST_DOUBLINGS)
        # Chance here only spreads load.
        await asyncio.sleep(max(at_least or 0.0, longest * random.uniform(0.5, 1.0)))  # noqa: S311

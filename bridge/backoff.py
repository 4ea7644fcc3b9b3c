"""Pauses between attempts that grow."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Seconds to wait: `first`, then twice as long each time, up to `longest`."""

    first: float
    longest: float
    _next: float = field(init=False, default=0.0)

    def fail(self) -> float:
        """After another failure: how long to wait."""
        self._next = min(max(self.first, self._next * 2), self.longest)
        return self._next

    def succeed(self) -> None:
        """Begin anew."""
        self._next = 0.0

"""The journal's newest rows, kept in memory: whoever keeps up with the journal need not read them from the database."""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from bridge.record import Record

MOST = 1_000


class Recent:
    """Rows without a gap, up to the last one that this process wrote."""

    def __init__(self) -> None:
        self._rows: deque[Record] = deque(maxlen=MOST)

    def add(self, rows: Sequence[Record]) -> None:
        """Rows of one commit, in order; where another replica wrote before them, what was kept is dropped."""
        if self._rows and rows and rows[0].position != self._rows[-1].position + 1:
            self._rows.clear()
        self._rows.extend(rows)

    def behind(self, position: int, limit: int) -> Sequence[Record]:
        """The rows that follow a position; none where they are not kept."""
        if not self._rows or position + 1 < self._rows[0].position:
            return ()
        first = position + 1 - self._rows[0].position
        return list(islice(self._rows, first, first + limit))

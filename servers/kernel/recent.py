"""The journal's newest rows, kept in memory: whoever keeps up with the journal need not read them from the database."""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from bridge.record import Record

MOST, MOST_BYTES = 1_000, 8 << 20


class Recent:
    """Rows without a gap, up to the last one that this process wrote."""

    def __init__(self) -> None:
        self._rows: deque[Record] = deque()
        self._bytes = 0

    def add(self, rows: Sequence[Record]) -> None:
        """Rows of one commit, in order; where another replica wrote before them, what was kept is dropped."""
        if self._rows and rows and rows[0].position != self._rows[-1].position + 1:
            self._rows.clear()
            self._bytes = 0
        self._rows.extend(rows)
        self._bytes += sum(len(row.body) for row in rows)
        while len(self._rows) > MOST or self._bytes > MOST_BYTES:
            self._bytes -= len(self._rows.popleft().body)

    def behind(self, position: int, limit: int) -> Sequence[Record]:
        """The rows that follow a position; none where they are not kept."""
        if not self._rows or position + 1 < self._rows[0].position:
            return ()
        first = position + 1 - self._rows[0].position
        return list(islice(self._rows, first, first + limit))

"""A journal compared with signed heads of it: what was removed from its end, or computed anew, shows here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from sqlalchemy import Connection, Row, select

from bridge.record import HEAD
from ronghe.event.v1.event_pb2 import JournalHead
from ronghe.operations.v1 import operations_service_pb2 as pb
from servers.kernel import tables
from servers.kernel.journal import COLUMNS, Fault, to_record
from servers.kernel.signing import Authorities, case_id_of

HeldHead = pb.ListJournalHeadsResponse.HeldHead


def held(connection: Connection, origin: str, after: int, limit: int) -> Sequence[HeldHead]:
    """The heads of a deployment's journal that stand here behind a position, in order."""
    journal = tables.journal
    statement = (
        select(*COLUMNS)
        .where(journal.c.case_id == case_id_of(origin), journal.c.type == HEAD, journal.c.origin == origin)
        .where(journal.c.position > after)
        .order_by(journal.c.position)
        .limit(limit)
    )
    return [_held(row) for row in connection.execute(statement)]


def _held(row: Row[Any]) -> HeldHead:
    """One whose bytes are none stays empty: nobody will believe it."""
    fact = to_record(row).fact
    return HeldHead(position=row.position, head=fact if isinstance(fact, JournalHead) else None)


@dataclass(frozen=True)
class Comparison:
    """Of the journal of `origin`, in this database."""

    connection: Connection
    origin: str
    authorities: Authorities

    def of(self, heads: Sequence[JournalHead], after: int) -> tuple[int, Fault | None]:
        """Up to where the journal is what these heads say, and where it is not. `after`: heads up to there fit."""
        for head in heads:
            problem = self.authorities.problem(self.origin, head)
            if problem:
                return after, Fault(after + 1, f"a head of row {head.position} is not to be believed: {problem}")
        rows = self._rows([head.position for head in heads])
        for head in heads:
            row = rows.get(head.position)
            if row is not None and row.hash == head.hash:
                after = max(after, head.position)
            elif not self._was_restored(head, row):
                return after, Fault(after + 1, self._broken(head, row), head.position)
        return after, None

    def _rows(self, positions: Sequence[int]) -> Mapping[int, Any]:
        columns = tables.journal.c
        statement = select(columns.position, columns.epoch, columns.hash).where(columns.position.in_(positions))
        return {row.position: row for row in self.connection.execute(statement)}

    def _was_restored(self, head: JournalHead, row: Any) -> bool:
        """Whether the row was lost when a backup was put back: its place was given again, or not yet.

        Only who has the service's key is believed that there was a restore: a head of the later epoch must be signed.
        """
        columns = tables.journal_head.c
        epoch = row.epoch if row is not None else self.connection.scalar(select(columns.epoch)) or 0
        return epoch > head.epoch and self._has_begun(head.epoch)

    def _has_begun(self, before: int) -> bool:
        """Whether a head of an epoch later than this one is signed, and fits."""
        journal = tables.journal
        statement = (
            select(*COLUMNS)
            .where(journal.c.case_id == case_id_of(self.origin), journal.c.type == HEAD)
            .order_by(journal.c.position.desc())
            .limit(1)
        )
        found = [_held(row).head for row in self.connection.execute(statement)]
        return any(
            head.epoch > before
            and not self.authorities.problem(self.origin, head)
            and (row := self._rows([head.position]).get(head.position)) is not None
            and row.hash == head.hash
            for head in found
        )

    def _broken(self, head: JournalHead, row: Any) -> str:
        signed = f"{head.occurred_at.ToDatetime(UTC):%Y-%m-%dT%H:%M:%SZ}"
        if row is None:
            last = self.connection.scalar(select(tables.journal_head.c.position))
            return (
                f"rows are missing: the head signed at {signed} names row {head.position}, the journal ends at {last}"
            )
        return f"these rows are not those of the head signed at {signed}"

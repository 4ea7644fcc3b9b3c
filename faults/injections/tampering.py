"""Journals that somebody changes by plain SQL: `ronghe journal verify` names the first bad place."""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

from faults.checker.history import Journal
from faults.checker.journals import read
from faults.checker.mutations import rechained
from faults.injections.stage import Injection, NotInjected, Stage, until
from faults.mesh import SUBSYSTEMS
from faults.meshes.evidence import EvidenceMesh
from ronghe.operations.v1 import operations_service_pb2 as pb

LEAST_HEADS = 4
HEADS_SECONDS = 60.0

Change = Callable[[sqlite3.Connection], None]


@dataclass(frozen=True, slots=True)
class Attack:
    """What is done to a journal, and the stretch in which verify must name the first bad row."""

    change: Change
    first: int
    last: int


Plan = Callable[[Journal, Sequence[int]], Attack]
"""Given the untouched journal, and the positions that heads name which other subsystems hold."""


Verify = Callable[[EvidenceMesh], Awaitable[pb.VerifyJournalResponse]]


def tampered(name: str, plan: Plan) -> Injection:
    """Do this to a copy of a subsystem's database: whoever serves it says where the chain breaks."""
    return _done(name, plan, EvidenceMesh.walk)


def computed_anew(name: str, plan: Plan) -> Injection:
    """Do this to the copy: `ronghe journal verify` says where it is not what the others hold."""

    async def verify(mesh: EvidenceMesh) -> pb.VerifyJournalResponse:
        return (await mesh.verify(mesh.folder, "--at", name))[name]

    return _done(name, plan, verify)


def _done(name: str, plan: Plan, verify: Verify) -> Injection:
    async def inject(stage: Stage) -> None:
        mesh = await _with_copy(stage, name)
        journal = read(mesh.untouched, name)
        attack = plan(journal, _heads(journal))
        await mesh.tampered(attack.change)
        try:
            fault = (await verify(mesh)).fault
        finally:
            await mesh.undo()
        named = fault.position, fault.to_position or fault.position
        if named != (attack.first, attack.last):
            raise NotInjected(f"{named} was named instead of {attack.first} to {attack.last}: {fault.description}")

    return inject


async def untouched(stage: Stage) -> None:
    """The journals of the running mesh are whole to `ronghe journal verify`."""
    found = await _evidence(stage).verify(stage.mesh.data)
    bad = [
        name for name in SUBSYSTEMS if name not in found or not found[name].finished or found[name].HasField("fault")
    ]
    if bad:
        raise NotInjected(f"{', '.join(bad)}: {found}")


def _evidence(stage: Stage) -> EvidenceMesh:
    assert isinstance(stage.mesh, EvidenceMesh)  # noqa: S101 - of the scene
    return stage.mesh


async def _with_copy(stage: Stage, name: str) -> EvidenceMesh:
    mesh = _evidence(stage)
    if mesh.of != name:
        database = mesh.database(name)
        await until(lambda: len(_heads(read(database, name))) > LEAST_HEADS, HEADS_SECONDS, "signed heads")
        await mesh.serve_copy(name)
    return mesh


def _heads(journal: Journal) -> Sequence[int]:
    """All but the last, which may not have come to anybody yet."""
    return [
        row.event.fact.position
        for row in journal.rows
        if row.event.is_head and row.event.origin.partition("-")[0] == journal.subsystem
    ][:-1]


# --- what the chain shows ---


def row_altered(journal: Journal, heads: Sequence[int]) -> Attack:
    """An act is said to have happened a second earlier."""
    middle = _middle(journal)
    return _attack(middle, "UPDATE journal SET recorded_at = recorded_at - 1000000 WHERE position = ?", middle)


def body_altered(journal: Journal, heads: Sequence[int]) -> Attack:
    """What was said is another thing."""
    middle = _middle(journal)
    return _attack(middle, "UPDATE journal SET body = substr(body, 2) WHERE position = ?", middle)


def row_removed(journal: Journal, heads: Sequence[int]) -> Attack:
    """One row is gone, and the gap is closed."""
    middle = _middle(journal)

    def change(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM journal WHERE position = ?", (middle,))
        _shift(connection, middle, -1)

    return Attack(change, middle, middle)


def row_inserted(journal: Journal, heads: Sequence[int]) -> Attack:
    """A row that was never decided, in between."""
    middle = _middle(journal)
    columns = [name for name in COLUMNS if name not in ("position", "event_id")]

    def change(connection: sqlite3.Connection) -> None:
        _shift(connection, middle, 1)
        names = ", ".join(columns)
        copied = f"INSERT INTO journal (position, event_id, {names}) SELECT ?, ?, {names} FROM journal"  # noqa: S608
        connection.execute(f"{copied} WHERE position = ?", (middle, str(uuid4()), middle - 1))

    return Attack(change, middle, middle)


def row_moved(journal: Journal, heads: Sequence[int]) -> Attack:
    """A later row comes first."""
    middle = _middle(journal)

    def change(connection: sqlite3.Connection) -> None:
        for old, new in ((middle, 0), (middle + 2, middle), (0, middle + 2)):
            connection.execute("UPDATE journal SET position = ? WHERE position = ?", (new, old))

    return Attack(change, middle, middle)


# --- what only signed heads show ---


def tail_removed(journal: Journal, heads: Sequence[int]) -> Attack:
    """The last rows are gone, and the journal's own head names the row before."""
    first, last = heads[-3] + 1, heads[-2]

    def change(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM journal WHERE position > ?", (first,))
        connection.execute(
            "UPDATE journal_head SET (position, hash) = (SELECT position, hash FROM journal WHERE position = ?)",
            (first,),
        )

    return Attack(change, first, last)


def case_removed(journal: Journal, heads: Sequence[int]) -> Attack:
    """A whole case is gone, as if it had never been; all rows behind it are chained anew."""
    begun = next(row for row in journal.rows if row.event.name == "Submitted" and row.position > heads[0])
    kept = [row for row in journal.rows if row.event.case_id != begun.event.case_id]
    return Attack(_anew(replace(journal, rows=kept)), *_stretch(heads, begun.position))


def chained_anew(journal: Journal, heads: Sequence[int]) -> Attack:
    """One row is altered, and all rows behind it are chained anew."""
    middle = _middle(journal)
    rows = [
        replace(row, event=replace(row.event, recorded_at=1)) if row.position == middle else row for row in journal.rows
    ]
    return Attack(_anew(replace(journal, rows=rows)), *_stretch(heads, middle))


# --- how ---

COLUMNS = (
    "position", "epoch", "event_id", "origin", "case_id", "stream", "version", "causes", "type", "body", "body_digest",
    "recorded_at", "taken_at", "arrival", "call", "hash",
)  # fmt: skip


def _middle(journal: Journal) -> int:
    return len(journal.rows) // 2


def _attack(position: int, statement: str, *parameters: object) -> Attack:
    return Attack(lambda connection: _execute(connection, statement, parameters), position, position)


def _execute(connection: sqlite3.Connection, statement: str, parameters: Sequence[object]) -> None:
    connection.execute(statement, parameters)


def _shift(connection: sqlite3.Connection, start: int, by: int) -> None:
    """Rows from this one on; by way of negative positions, so that no two meet."""
    connection.execute("UPDATE journal SET position = -position WHERE position >= ?", (start,))
    connection.execute("UPDATE journal SET position = -position + ? WHERE position < 0", (by,))


def _stretch(heads: Sequence[int], position: int) -> tuple[int, int]:
    """From behind the last head that fits to the first that does not."""
    return max((head for head in heads if head < position), default=0) + 1, min(h for h in heads if h >= position)


def _anew(journal: Journal) -> Change:
    """These rows and no others, with a chain that holds and a head that fits."""
    rows = rechained(journal.rows)
    kept = [(row.position, row.event.recorded_at, row.hash, row.event.id, row.event.origin) for row in rows]

    def change(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE journal SET position = -position")
        statement = "UPDATE journal SET position = ?, recorded_at = ?, hash = ? WHERE event_id = ? AND origin = ?"
        connection.executemany(statement, kept)
        connection.execute("DELETE FROM journal WHERE position < 0")
        connection.execute("UPDATE journal_head SET position = ?, hash = ?", (rows[-1].position, rows[-1].hash))

    return change

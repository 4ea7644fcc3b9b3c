"""Whoever changes a journal behind the kernel's back: the first bad place is named."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection, Text, cast, delete, insert, select, update

from servers.kernel import journal, tables
from servers.kernel.kernel import Kernel
from tests.kernel.drive import execute, new_case, rows, step

ROWS = 8
Tamper = Callable[[Connection], None]
at = tables.journal.c.position


@dataclass(frozen=True)
class Attack:
    """What is done to a journal of eight rows (four steps, each with what the shadow says of it; two cases)."""

    name: str
    do: Tamper
    position: int
    says: str


def alter(position: int, /, **values: Any) -> Tamper:
    def do(connection: Connection) -> None:
        assert connection.execute(update(tables.journal).where(at == position).values(**values)).rowcount == 1

    return do


def remove(*positions: int) -> Tamper:
    def do(connection: Connection) -> None:
        assert connection.execute(delete(tables.journal).where(at.in_(positions))).rowcount == len(positions)

    return do


def move(start: int, by: int) -> Tamper:
    """Rows from this one on, one at a time so that no two meet."""

    def do(connection: Connection) -> None:
        for position in sorted(range(start, ROWS + 1), reverse=by > 0):
            alter(position, position=position + by)(connection)

    return do


def swap(one: int, other: int) -> Tamper:
    return after(alter(one, position=0), alter(other, position=one), alter(0, position=other))


def copy(source: int, position: int) -> Tamper:
    """A row that was never decided: another one's, under an id of its own."""

    def do(connection: Connection) -> None:
        row = connection.execute(select(tables.journal).where(at == source)).mappings().one()
        forged = {**row, "position": position, "event_id": new_case()}
        connection.execute(insert(tables.journal).values(forged))

    return do


def remove_first_case(connection: Connection) -> None:
    first = connection.scalar(select(tables.journal.c.case_id).where(at == 1))
    connection.execute(delete(tables.journal).where(tables.journal.c.case_id == first))


def set_head(position: int) -> Tamper:
    def do(connection: Connection) -> None:
        connection.execute(update(tables.journal_head).values(position=position))

    return do


def after(*steps: Tamper) -> Tamper:
    def do(connection: Connection) -> None:
        for each in steps:
            each(connection)

    return do


BROKEN = "the row does not continue the chain"
BODY = "the body is not the one that was recorded"
CHANGED = {
    "epoch": 2,
    "event_id": "00000000-0000-0000-0000-000000000000",
    "origin": "department-08",
    "case_id": "00000000-0000-0000-0000-000000000000",
    "stream": "counter/another",
    "version": 99,
    "causes": "",
    "type": "ronghe.event.v1.Closed",
    "body_digest": bytes(32),
    "recorded_at": 1,
    "taken_at": 1,
    "arrival": 3,
    "call": "00-00000000000000000000000000000001-0000000000000001-01",
    "hash": bytes(32),
}
ATTACKS = [
    *(
        Attack(f"{column} altered", alter(4, **{column: value}), 4, BODY if column == "body_digest" else BROKEN)
        for column, value in CHANGED.items()
    ),
    Attack("body altered", alter(4, body=b""), 4, BODY),
    Attack("first row altered", alter(1, version=99), 1, BROKEN),
    Attack("last row altered", alter(ROWS, version=99), ROWS, BROKEN),
    Attack("row removed", remove(3), 3, "the row after 2 is 4"),
    Attack("first row removed", remove(1), 1, "the row after 0 is 2"),
    Attack("row removed and the gap closed", after(remove(3), move(4, -1)), 3, BROKEN),
    Attack("row inserted", after(move(5, 1), copy(2, 5)), 5, BROKEN),
    Attack("row inserted at the end", after(copy(2, ROWS + 1), set_head(ROWS + 1)), ROWS + 1, BROKEN),
    Attack("rows swapped", swap(3, 6), 3, BROKEN),
    Attack("case removed", remove_first_case, 1, "the row after 0 is "),
    Attack("tail removed", remove(7, 8), 6, "the head names row 8, the last row is 6"),
    Attack("tail removed, head set back", after(remove(7, 8), set_head(6)), 6, "the head names row 6"),
    Attack("all rows removed", remove(*range(1, ROWS + 1)), 0, "the head names row 8, the last row is 0"),
]


async def first_fault(kernel: Kernel) -> journal.Fault | None:
    return (await kernel.read(lambda c: journal.verify(c, 0, 100))).fault or await kernel.read(journal.verify_head)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "-"))
async def test_the_first_bad_place_of_a_journal_is_named(kernel: Kernel, attack: Attack) -> None:
    one, other = new_case(), new_case()
    for case in (one, other, one, other):
        await execute(kernel, step(case))
    assert len(await rows(kernel)) == ROWS
    assert await first_fault(kernel) is None
    await kernel.write(attack.do)
    fault = await first_fault(kernel)
    assert fault is not None
    assert (fault.position, fault.description.startswith(attack.says)) == (attack.position, True), fault


@pytest.mark.parametrize("column", ["event_id", "causes", "call"])
async def test_a_text_that_is_none_is_a_fault_of_its_row(kernel: Kernel, column: str) -> None:
    await execute(kernel, step(new_case()))
    await kernel.write(alter(2, **{column: cast(b"\xff", Text)}))
    says = journal.NO_ROW if kernel.database.is_sqlite else BROKEN  # PostgreSQL writes it in other characters
    assert await first_fault(kernel) == journal.Fault(2, says)


def test_every_column_of_a_row_is_tried() -> None:
    assert CHANGED.keys() | {"position", "body"} == {column.name for column in tables.journal.columns}

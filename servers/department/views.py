"""The tables of department: an organ's cases, and its tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, Index, Integer, Text, select, tuple_

from clients.identity import Identity
from ronghe.collaboration.v1.collaboration_pb2 import Task
from ronghe.state.v1.state_pb2 import TaskState
from servers.case.views import case_table
from servers.kernel.tables import stream_table

DEPARTMENT_CASES = case_table("organ_case")

TASKS = stream_table(
    "task",
    Column("organ_id", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("assigned_at", BigInteger, nullable=False, comment="microseconds since 1970 UTC"),
)
Index("stream_task_of_organ", TASKS.c.organ_id, TASKS.c.assigned_at, TASKS.c.id)


def task_values(task: Task) -> Mapping[str, Any]:
    """The columns' values."""
    return {
        "organ_id": task.organ.id,
        "task_id": task.task_id,
        "state": int(task.state),
        "assigned_at": task.assigned_at.ToMicroseconds(),
    }


def find_task(connection: Connection, caller: Identity, task_id: str) -> tuple[Task, str] | None:
    """The caller's task of this id, and the id of its case."""
    name = f"{caller.id}/{task_id.lower()}"
    row = connection.execute(select(TASKS.c.snapshot, TASKS.c.case_id).where(TASKS.c.id == name)).one_or_none()
    return (TaskState.FromString(row.snapshot).task, row.case_id) if row else None


def page_of_tasks(
    connection: Connection, filters: Sequence[ColumnElement[bool]], after: tuple[int, str] | None, size: int
) -> Sequence[Task]:
    """A page of tasks, newest first, from behind (assigned_at, stream id)."""
    columns = TASKS.c
    statement = select(columns.snapshot).where(*filters)
    if after is not None:
        statement = statement.where(tuple_(columns.assigned_at, columns.id) < after)
    statement = statement.order_by(columns.assigned_at.desc(), columns.id.desc()).limit(size)
    return [TaskState.FromString(row.snapshot).task for row in connection.execute(statement)]

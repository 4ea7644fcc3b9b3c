"""What time does to a task: it is signed for, reminded of, overdue, or by its basis deemed agreed to (视为同意).

The clock of silence starts at the sign-in, and that comes by itself at the end of the working day after the assignment,
so that nobody can hide. Silence is agreement only where a document says so, and never in a co-approval or a
verification: the catalog does not load otherwise.
"""

from collections.abc import Mapping
from datetime import datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ronghe.catalog.v1.catalog_pb2 import SILENCE_POLICY_DEEMED_AGREED, Limit
from ronghe.collaboration.v1.collaboration_pb2 import Task
from ronghe.event.v1 import event_pb2 as event
from ronghe.state.v1.state_pb2 import TaskState
from servers.department.tasks import envelope
from servers.law.calendar import Calendar
from servers.law.clock import due_date
from servers.law.days import legal_date, start_of, start_of_next

SIGN_IN = Limit(value=1, unit=Limit.UNIT_WORKING_DAY)

SIGN = "sign-in"
REMIND = "remind"
SILENCE = "silence"


def timers(task: Task, calendar: Calendar) -> Mapping[str, datetime]:
    """When something happens by itself: each timer is gone once the organ has acted, or the task is another's."""
    if task.state == Task.STATE_ASSIGNED:
        return {SIGN: start_of_next(due_date(legal_date(task.assigned_at), SIGN_IN, [], calendar).date)}
    if task.state == Task.STATE_SIGNED and not task.overdue:
        silence = {SILENCE: start_of_next(task.reply_due.date)}
        return silence if task.reminded else silence | {REMIND: start_of(task.reply_due.date)}
    return {}


def expired(state: TaskState, timer: str, now: Timestamp, calendar: Calendar) -> Message:
    """The fact that follows when a timer is due."""
    said = envelope(state, now)
    brief = state.task.brief
    match timer:
        case "sign-in":
            return event.TaskSigned(**said, reply_due=due_date(legal_date(now), brief.reply_limit, [], calendar))
        case "remind":
            return event.TaskReminded(**said)
        case _ if brief.silence_policy == SILENCE_POLICY_DEEMED_AGREED:
            return event.OpinionDeemed(**said, basis=brief.silence_basis)
        case _:
            return event.TaskOverdue(**said)

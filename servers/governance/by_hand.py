"""What an officer of a center does with a task that no rule routes, or routes wrongly."""

from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from clients.identity import Identity
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration, Hop, Task
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.governance.v1.governance_service_pb2 import RouteCollaborationRequest
from servers.case.rules import invalid_fields
from servers.catalog.catalog import Catalog
from servers.collaboration.fold import ENDED, task_of
from servers.collaboration.views import not_found
from servers.governance.coordination import take_from
from servers.governance.routing import Cause, Router
from servers.governance.ways import Way
from servers.kernel.occurred_at import CLOCK_TOLERANCE, check_occurred_at
from servers.kernel.stream import FieldViolation, Refused
from servers.law.days import legal_day


def route(
    known: Collaboration, command: RouteCollaborationRequest, caller: Identity, now: datetime, catalog: Catalog
) -> Sequence[Message]:
    """人工派遣: to an organ, or to another center's officers. Raises Refused."""
    task = _task(known, command.task_id, caller)
    check_occurred_at(command.occurred_at, _earliest(known, task), now)
    router, today = Router(catalog), legal_day(now)
    _check_holder(known, task, caller, router)
    has_it = task.state in (Task.STATE_ASSIGNED, Task.STATE_SIGNED)
    taken = [take_from(known, task, command.reason, command.occurred_at)] if has_it else []
    cause = Cause(Hop.REASON_MANUAL, command.occurred_at, command.reason, command.actor)
    if command.organ_id:
        organ = catalog.organ(command.organ_id, today)
        if organ.id == known.lead.id or (has_it and organ.id == task.organ.id):
            raise invalid_fields([FieldViolation("organ_id", "is the lead itself, or has the task already")])
        way = _way(known, task, caller, organ.division, cause, router)
        return [*taken, *way.to_organ(router, organ)]
    center = catalog.center(command.center_id, today)
    way = _way(known, task, caller, center.id, cause, router)
    return [*taken, *way.to_officer(router, command.reason)]


def _task(known: Collaboration, task_id: str, caller: Identity) -> Task:
    """The task, for a center that is on the collaboration's way."""
    on_the_way = {hop.to for task in known.tasks for hop in task.hops}
    if str(caller) not in on_the_way:
        raise not_found()
    task = task_of(known, task_id.lower())
    if not task.task_id:
        raise Refused(Reason.REASON_TASK_NOT_FOUND, "the collaboration has no such task")
    if task.state in ENDED:
        state = Task.State.Name(task.state).removeprefix("STATE_")
        raise Refused(Reason.REASON_TASK_ENDED, f"the task is {state}: there is nothing to route", {"state": state})
    return task


def _earliest(known: Collaboration, task: Task) -> Timestamp:
    """The latest act by a person, and about the last hop: that may be the server's, on a clock of its own.

    An organ that gets the task signs for it within the working day after this: its time must not be past at once.
    """
    times = [known.requested_at, *(hop.at for hop in task.hops if hop.HasField("officer"))]
    for hop in task.hops[-1:]:  # an assignment is a hop, too
        about = Timestamp()
        about.FromDatetime(hop.at.ToDatetime(UTC) - CLOCK_TOLERANCE)
        times.append(about)
    return max(times, key=Timestamp.ToNanoseconds)


def _check_holder(known: Collaboration, task: Task, caller: Identity, router: Router) -> None:
    """The center where the task is, or one above it."""
    holder = task.waiting_at or task.organ.division
    if not router.is_above(caller.id, holder):
        raise Refused(
            Reason.REASON_TASK_HELD_ELSEWHERE,
            f"the task is at center {holder}, which is not below {caller.id}: that center routes it",
            {"center": holder},
        )


def _way(known: Collaboration, task: Task, caller: Identity, end: str, cause: Cause, router: Router) -> Way:
    centers = router.between(caller.id, end)[1:]
    return Way(known, task, str(caller), centers, cause)

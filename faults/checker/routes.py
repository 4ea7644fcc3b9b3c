"""Who says what, who must have it, and whose inbox it goes to: the checker's own reading of the documents."""

from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile

from faults.checker.history import Event, History

# The last of the first, and of the lead's, are of the next version: faults/versions.py.
APPLICANT = frozenset({"Submitted", "Supplemented", "WithdrawalRequested", "ApplicationRemarked"})
REACTIONS = frozenset({"SupplementReceived", "SupplementLate", "Withdrawn", "WithdrawalDeclined"})
LEAD = REACTIONS | {
    "Accepted",
    "AcceptanceRefused",
    "CorrectionRequested",
    "StepRecorded",
    "Decided",
    "Closed",
    "StepRemarked",
}
ASKED = frozenset({"CollaborationRequested", "CollaborationRecallRequested", "AnswerLate"})
FED_BACK = frozenset(
    {"CollaborationOpened", "AnswerReceived", "CollaborationConcluded", "CollaborationRecalled", "RecallDeclined"}
)
CENTER = FED_BACK | {"TaskRouted", "TaskHeld", "TaskAssigned", "TaskRecalled"}
COLLABORATOR = frozenset({"TaskSigned", "TaskReminded", "TaskOverdue", "OpinionDeemed", "TaskAnswered", "TaskReturned"})
OUTCOMES = frozenset({"AcceptanceRefused", "Decided", "Withdrawn"})

HEADS = frozenset({"JournalHead"})
"""What every deployment says of its own journal."""

TOLD_TO_LEAD = APPLICANT | REACTIONS | FED_BACK | {"AnswerLate"}
TOLD_TO_COLLABORATOR = frozenset(
    {"TaskAssigned", "TaskRecalled", "TaskReminded", "TaskOverdue", "OpinionDeemed", "AnswerLate"}
)

EFFECTS: Mapping[str, frozenset[str]] = {
    "SubmitApplicationRequest": frozenset({"Submitted"}),
    "SupplementApplicationRequest": frozenset({"Supplemented"}),
    "RequestWithdrawalRequest": frozenset({"WithdrawalRequested"}),
    "AcceptApplicationRequest": frozenset({"Accepted"}),
    "RefuseAcceptanceRequest": frozenset({"AcceptanceRefused"}),
    "RequestCorrectionRequest": frozenset({"CorrectionRequested"}),
    "RecordStepRequest": frozenset({"StepRecorded"}),
    "DecideApplicationRequest": frozenset({"Decided"}),
    "CloseCaseRequest": frozenset({"Closed"}),
    "RequestCollaborationRequest": frozenset({"CollaborationRequested"}),
    "RecallCollaborationRequest": frozenset({"CollaborationRecallRequested"}),
    "SignForTaskRequest": frozenset({"TaskSigned"}),
    "AnswerTaskRequest": frozenset({"TaskAnswered"}),
    "ReturnTaskRequest": frozenset({"TaskReturned"}),
    "RouteCollaborationRequest": frozenset({"TaskRouted", "TaskAssigned"}),
}
"""Short name of a command -> of the fact it leads to."""

OVERTAKEN: Mapping[str, frozenset[str]] = {
    "RequestWithdrawalRequest": frozenset({"ILLEGAL_STATE"}),
    "DecideApplicationRequest": frozenset(
        {"ILLEGAL_STATE", "CASE_CHANGED", "CORRECTION_OPEN", "COLLABORATION_NOT_CITED"}
    ),
    "RecallCollaborationRequest": frozenset({"ILLEGAL_STATE", "COLLABORATION_ENDED"}),
    "SignForTaskRequest": frozenset({"ILLEGAL_STATE"}),
    "AnswerTaskRequest": frozenset({"ILLEGAL_STATE"}),
    "ReturnTaskRequest": frozenset({"ILLEGAL_STATE"}),
    "RouteCollaborationRequest": frozenset({"TASK_ENDED", "TASK_HELD_ELSEWHERE"}),
}
"""Short name of a command -> why it may be refused for good: somebody else has acted first."""

EXCUSED = frozenset({"OCCURRED_AT_OUT_OF_RANGE", "OVERLOADED"})
"""Any may be for these: where the clock was moved under its caller, and in a flood, which does not come back."""

ANSWERED_BY: Mapping[frozenset[str], frozenset[str]] = {
    frozenset({"Supplemented"}): frozenset({"SupplementReceived", "SupplementLate"}),
    frozenset({"WithdrawalRequested"}): frozenset({"Withdrawn", "WithdrawalDeclined"}),
    frozenset({"CollaborationRequested"}): frozenset({"CollaborationOpened"}),
    frozenset({"TaskAnswered", "OpinionDeemed"}): frozenset({"AnswerReceived"}),
}
"""What must follow from each fact, once and by itself."""


def is_known(name: str) -> bool:
    """Whether this version of the contract has facts of this name."""
    return name in APPLICANT | LEAD | ASKED | CENTER | COLLABORATOR | HEADS


def owner(name: str) -> str:
    """The subsystem whose deployment says facts of this name."""
    if name in APPLICANT:
        return "intake"
    return "governance" if name in CENTER else "department"


def may_say(event: Event) -> bool:
    """Whether the fact is its origin's to say."""
    return event.is_head or event.origin.partition("-")[0] == owner(event.name)


def holders(name: str) -> frozenset[str]:
    """The subsystems whose journals must have a fact."""
    both = frozenset({"governance", "department"})
    return both | {"intake"} if name in APPLICANT | LEAD | HEADS else both


def receivers(history: History, subsystem: str, event: Event) -> Iterator[str]:
    """Whose inboxes at a subsystem must have an event."""
    if event.is_head:
        yield from _told_of_heads(subsystem, event)
    submitted = history.submissions.get(event.case_id)
    if submitted is not None:
        yield from _RECEIVERS[subsystem](history, submitted, event)


def _told_of_heads(subsystem: str, event: Event) -> Iterator[str]:
    """Those who do not read the topic, or whom nobody else tells."""
    is_of_intake = event.origin.partition("-")[0] == "intake"
    if subsystem == "intake" and is_of_intake:
        yield "service/governance-01"
    if subsystem == "governance" and not is_of_intake:
        yield "service/intake-01"


def _at_intake(history: History, submitted: Event, event: Event) -> Iterator[str]:
    if event.name in APPLICANT:
        yield "service/governance-01"
    elif event.name in LEAD:
        yield f"intake/{submitted.fact.application.intake_id}"


def _at_governance(history: History, submitted: Event, event: Event) -> Iterator[str]:
    if event.name in LEAD:
        yield f"service/{submitted.origin}"
    elif event.name == "TaskHeld":
        yield f"center/{event.fact.center_id}"
    elif event.name == "TaskOverdue" and not _was_taken_back(history, event):
        yield f"center/{_division(history, event)}"


def _at_department(history: History, submitted: Event, event: Event) -> Iterator[str]:
    if event.name in TOLD_TO_LEAD:
        yield f"organ/{submitted.fact.application.lead.id}"
    by_itself = event.name == "TaskSigned" and not event.fact.HasField("officer")
    if event.name in TOLD_TO_COLLABORATOR or by_itself:
        yield f"organ/{collaborator_of(event)}"


_RECEIVERS: Mapping[str, Callable[[History, Event, Event], Iterator[str]]] = {
    "intake": _at_intake,
    "governance": _at_governance,
    "department": _at_department,
}


def collaborator_of(event: Event) -> str:
    """The organ that a fact about a task is for."""
    return str(event.fact.organ.id if event.name == "TaskAssigned" else event.fact.organ_id)


def _was_taken_back(history: History, event: Event) -> bool:
    """Whether the center had taken the task from the organ before it learned what the organ's time had said."""
    before = takewhile(lambda other: other.id != event.id, history.journals["governance"].by_position.values())
    said = [each for each in before if each.case_id == event.case_id and each.name in ("TaskRecalled", "TaskAssigned")]
    given = (event.fact.task_id, event.fact.assignment)
    return any(
        (each.name == "TaskRecalled" and (each.fact.task_id, each.fact.assignment) == given)
        or (each.name == "TaskAssigned" and each.fact.task_id == given[0] and each.fact.assignment > given[1])
        for each in said
    )


def _division(history: History, event: Event) -> str:
    return next(
        (
            other.fact.organ.division
            for other in history.by_case[event.case_id]
            if other.name == "TaskAssigned" and other.fact.organ.id == event.fact.organ_id
        ),
        "",
    )

"""Who says what about a collaboration: each kind of fact has one owner."""

from ronghe.event.v1 import event_pb2 as event

AskedByLead = event.CollaborationRequested | event.CollaborationRecallRequested | event.AnswerLate
SaidByCenter = (
    event.CollaborationOpened
    | event.TaskRouted
    | event.TaskHeld
    | event.TaskAssigned
    | event.AnswerReceived
    | event.TaskRecalled
    | event.CollaborationConcluded
    | event.CollaborationRecalled
    | event.RecallDeclined
)
SaidByCollaborator = (
    event.TaskSigned
    | event.TaskReminded
    | event.TaskOverdue
    | event.OpinionDeemed
    | event.TaskAnswered
    | event.TaskReturned
)
CollaborationFact = AskedByLead | SaidByCenter | SaidByCollaborator

FedBack = (
    event.CollaborationOpened
    | event.AnswerReceived
    | event.CollaborationConcluded
    | event.CollaborationRecalled
    | event.RecallDeclined
)
"""What the center says to the lead: it changes what the case can be decided on."""

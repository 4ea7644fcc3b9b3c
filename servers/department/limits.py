"""The last days of a case by law and by promise, from its acceptance on."""

from collections.abc import Sequence

from google.type.date_pb2 import Date

from ronghe.case.v1 import case_pb2
from ronghe.document.v1.document_pb2 import DueDate
from servers.law.calendar import Calendar
from servers.law.clock import due_date


def due_dates(
    case: case_pb2.Case, accepted_on: Date, pauses: Sequence[case_pb2.Pause], calendar: Calendar
) -> tuple[DueDate, DueDate]:
    """By law (art. 42) and by promise; pauses do not count (arts 32, 45)."""
    item = case.application.item
    legal = due_date(accepted_on, item.legal_limit, pauses, calendar)
    return legal, due_date(accepted_on, item.promised_limit, pauses, calendar)

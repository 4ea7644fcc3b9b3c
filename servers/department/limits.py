"""The last days of a case by law and by promise, from its acceptance on."""

from collections.abc import Sequence

from google.type.date_pb2 import Date

from ronghe.case.v1 import case_pb2
from ronghe.document.v1.document_pb2 import DueDate

"""The caller's inbox: what a subsystem has for it, as an endless iterator that survives lost connections."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode

from clients.backoff import Backoff
from clients.base import ServiceClient, trace_metadata
from clients.errors import RongheError, error_of
from clients.inbox_session import Session
from ronghe.inbox.v1 import inbox_service_pb2 as pb
from ronghe.inbox.v1.inbox_service_pb2_grpc import InboxServiceStub

__all__ = ["Inbox", "InboxClient", "Item"]

CREDIT = 200

# A new session would end in the same way.
FINAL = (
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.PERMISSION_DENIED,
    StatusCode.UNAUTHENTICATED,
    StatusCode.FAILED_PRECONDITION,
    StatusCode.UNIMPLEMENTED,
)

log = structlog.get_logger()

"""The channel to one subsystem: mutual TLS, retries, keepalive."""

import json
from typing import Any

import grpc

from clients.credentials import Credentials

# Servers are found by address; their certificates are for this name.
SERVER_NAME = "localhost"
MAX_MESSAGE = 16 * 1024 * 1024

# Streams are opened again by the client that reads them, which knows what is still open.
STREAMS = (
    ("ronghe.inbox.v1.InboxService", "OpenInbox"),
    ("ronghe.intake.v1.IntakeService", "SubmitApplications"),
    ("ronghe.department.v1.DepartmentService", "ExecuteCommands"),
)

RETRY_POLICY = {
    "maxAttempts": 5,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    # Without the second a server's word on when to come back would be ignored.
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
}


def open_channel(target: str, credentials: Credentials) -> grpc.aio.Channel:
    """A channel to `target` ("127.0.0.1:7101"); it connects with the first call.

    Addresses of several replicas are separated by commas: calls go to them in turn, a retry to the next one.
    """
    tls = grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.certificate)
    several = "," in target
    return grpc.aio.secure_channel(f"ipv4:{target}" if several else target, tls, options=_options(several))


def _options(several: bool) -> list[tuple[str, Any]]:
    return [
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.default_authority", SERVER_NAME),
        ("grpc.service_config", _service_config(several)),
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # It bounds an attempt to connect as well: a handshake on a busy machine takes its time.
        ("grpc.min_reconnect_backoff_ms", 5_000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]


def _service_config(several: bool) -> str:
    streams = [{"service": service, "method": method} for service, method in STREAMS]
    methods = [{"name": [{}], "retryPolicy": RETRY_POLICY}, {"name": streams}]
    policy = "round_robin" if several else "pick_first"
    return json.dumps({"loadBalancingConfig": [{policy: {}}], "methodConfig": methods})

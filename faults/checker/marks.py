"""The mark of a request: stands in its `actor`, and so in the fact that it leads to."""

import re

PATTERN = re.compile(rb"rq-[0-9a-f]{32}")


def mark_of(request_id: str) -> str:
    """For example "rq-0190..."."""
    return f"rq-{request_id.replace('-', '')}"


def marks_in(body: bytes) -> frozenset[str]:
    """Every mark in an event's bytes."""
    return frozenset(found.decode() for found in PATTERN.findall(body))

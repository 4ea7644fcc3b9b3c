"""The legal time of an act, as its actor says it."""

from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import FieldViolation, Refused

CLOCK_TOLERANCE = timedelta(seconds=120)
"""How far a caller's clock may differ."""


def check_occurred_at(occurred_at: Timestamp, earliest: Timestamp, now: datetime) -> None:
    """An act may be told late, but not before it happens, and not before the latest act by a person on its stream.

    Raises Refused: OCCURRED_AT_OUT_OF_RANGE.
    """
    latest = Timestamp()
    latest.FromDatetime(now + CLOCK_TOLERANCE)
    if earliest.ToNanoseconds() > latest.ToNanoseconds():
        # Said by a clock that was set back since: what was right is not known, and nobody is to wait for that time.
        earliest = Timestamp()
        earliest.FromDatetime(now - CLOCK_TOLERANCE)
    is_time = 0 <= occurred_at.nanos < 1_000_000_000
    if is_time and earliest.ToNanoseconds() <= occurred_at.ToNanoseconds() <= latest.ToNanoseconds():
        return
    bounds = {"earliest": earliest.ToJsonString(), "latest": latest.ToJsonString()}
    raise Refused(
        Reason.REASON_OCCURRED_AT_OUT_OF_RANGE,
        f"occurred_at must lie between {bounds['earliest']}, the latest act before it, and {bounds['latest']}: "
        "check the clock, or read again",
        bounds,
        [FieldViolation("occurred_at", "lies before the latest act, or in the future")],
    )

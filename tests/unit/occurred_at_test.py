"""When an act may have happened, by the clock of the server and the latest act before it."""

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from servers.kernel.occurred_at import check_occurred_at
from servers.kernel.stream import Refused

NOW = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)


def at(**later: float) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(NOW + timedelta(**later))
    return found


@pytest.mark.parametrize(("earliest", "said"), [(at(hours=-1), at(hours=-1)), (at(seconds=100), at(seconds=110))])
def test_an_act_lies_between_the_latest_one_and_two_minutes_from_now(earliest: Timestamp, said: Timestamp) -> None:
    check_occurred_at(said, earliest, NOW)
    for wrong in (at(seconds=121), at(hours=-2)):
        with pytest.raises(Refused, match="occurred_at must lie between"):
            check_occurred_at(wrong, earliest, NOW)


def test_a_time_that_a_clock_said_before_it_was_set_back_keeps_nobody_from_acting() -> None:
    check_occurred_at(at(), at(hours=1), NOW)
    for wrong in (at(seconds=-121), at(seconds=121)):
        with pytest.raises(Refused, match="occurred_at must lie between"):
            check_occurred_at(wrong, at(hours=1), NOW)

"""What a plain caller may be answered while something is broken."""

from collections import Counter

import pytest
from grpc import StatusCode

from faults.injections.probes import Probe
from faults.injections.stage import NotInjected


def test_a_caller_that_is_left_hanging_names_the_subsystem() -> None:
    probe = Probe("department", Counter({StatusCode.NOT_FOUND: 9, StatusCode.DEADLINE_EXCEEDED: 1}))
    with pytest.raises(NotInjected, match="department"):
        probe.check(goes_on=True)


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED])
def test_a_caller_may_be_told_and_must_be_where_it_cannot_go_on(code: StatusCode) -> None:
    Probe("intake", Counter({code: 1, StatusCode.NOT_FOUND: 1})).check(goes_on=False)
    with pytest.raises(NotInjected, match="noticed"):
        Probe("intake", Counter({StatusCode.NOT_FOUND: 1})).check(goes_on=False)

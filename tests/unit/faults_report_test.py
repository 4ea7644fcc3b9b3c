"""What the report says of each fault."""

from dataclasses import replace

import pytest

from faults.campaign import Injected, Verdict
from faults.checker.history import Kind, Problem
from faults.report import rows

FAULT = Injected("kill -9 intake", started_at=100.0, ended_at=102.0, recovered=3.0)
VERDICT = Verdict("single", 7, [FAULT], [Problem(Kind.LOST, "topic", "is missing", "a case")], [], {}, [], {}, {})


@pytest.mark.parametrize(
    ("began", "ended", "hit"), [(90.0, 101.0, 1), (104.0, 120.0, 1), (50.0, 60.0, 0), (106.0, 120.0, 0)]
)
def test_a_fault_has_to_do_with_cases_that_were_under_way_then(began: float, ended: float, hit: int) -> None:
    (row,) = rows(replace(VERDICT, windows={"a case": (began, ended)}))
    assert row["lost"] == hit

"""What the report says of each fault."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from faults.campaign import Injected, Verdict, seconds_under_way
from faults.checker.history import Kind, Problem
from faults.report import rows, write

FAULT = Injected("kill -9 intake", started_at=100.0, ended_at=102.0, recovered=3.0)
VERDICT = Verdict("single", 7, [FAULT], [Problem(Kind.LOST, "topic", "is missing", "a case")], [], {}, [], {}, {})


@pytest.mark.parametrize(
    ("began", "ended", "hit"), [(90.0, 101.0, 1), (104.0, 120.0, 1), (50.0, 60.0, 0), (106.0, 120.0, 0)]
)
def test_a_fault_has_to_do_with_cases_that_were_under_way_then(began: float, ended: float, hit: int) -> None:
    (row,) = rows(replace(VERDICT, windows={"a case": (began, ended)}))
    assert row["lost"] == hit


@pytest.mark.parametrize(("kind", "survived"), [(Kind.LOST, 1), (Kind.UNSENT, 2)])
def test_a_fault_is_not_survived_by_what_was_under_way_and_is_wrong_now(kind: Kind, survived: int) -> None:
    later = replace(FAULT, started_at=200.0, ended_at=202.0)
    wrong = Problem(kind, "topic", "is missing", "a case")
    (row,) = rows(replace(VERDICT, injected=[FAULT, later], problems=[wrong], windows={"a case": (90.0, 101.0)}))
    assert (row["injected"], row["survived"]) == (2, survived)


def test_the_report_has_each_fault_with_its_times_and_why_it_was_not_survived(tmp_path: Path) -> None:
    failed = Injected("poison", started_at=103.0, ended_at=104.0, failure="what stands behind it is not read")
    write(tmp_path / "report.json", [replace(VERDICT, injected=[FAULT, failed])])
    injected = json.loads((tmp_path / "report.json").read_text())["scenes"]["single"]["injected"]
    assert injected == [
        {"name": "kill -9 intake", "started": 100.0, "ended": 102.0, "recovered": 3.0, "failure": ""},
        {"name": "poison", "started": 103.0, "ended": 104.0, "recovered": None, "failure": failed.failure},
    ]


def test_a_fault_that_others_follow_has_the_time_until_all_that_it_found_under_way_had_ended() -> None:
    windows = [(90.0, 99.0), (95.0, 104.5), (99.0, 112.0), (101.0, 150.0)]
    assert seconds_under_way(windows, 100.0) == 12.0
    assert seconds_under_way(windows, 160.0) == 0.0
    assert seconds_under_way([*windows, (98.0, math.inf)], 100.0) is None

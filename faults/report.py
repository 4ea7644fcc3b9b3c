"""The verdict as a table and as JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from faults.campaign import Injected, Verdict, kinds
from faults.checker.history import Kind, Problem

KINDS = [kind.value for kind in Kind]
MOST_SHOWN = 20


def rows(verdict: Verdict) -> Sequence[Mapping[str, Any]]:
    """One for each kind of fault: how often, how it went, and what is wrong with cases that were under way then."""
    names = dict.fromkeys(fault.name for fault in verdict.injected)
    return [_row(verdict, name, [fault for fault in verdict.injected if fault.name == name]) for name in names]


def _row(verdict: Verdict, name: str, faults: Sequence[Injected]) -> Mapping[str, Any]:
    hit = [problem for problem in verdict.problems if any(_touches(verdict, problem, fault) for fault in faults)]
    broken = [problem for problem in hit if problem.kind is not Kind.UNSENT]
    recoveries = [fault.recovered for fault in faults if fault.recovered is not None]
    return {
        "fault": name,
        "injected": len(faults),
        "survived": sum(
            not (fault.failure or any(_touches(verdict, problem, fault) for problem in broken)) for fault in faults
        ),
        **{kind: kinds(hit)[kind] for kind in KINDS},
        "seconds to recover": round(max(recoveries), 1) if recoveries else None,
    }


def _touches(verdict: Verdict, problem: Problem, fault: Injected) -> bool:
    """Whether the case was under way during the fault; what belongs to no case counts for every fault."""
    first, last = verdict.windows.get(problem.case_id, (fault.started_at, fault.ended_at))
    return first <= fault.ended_at + (fault.recovered or 0) and fault.started_at <= last


def show(console: Console, verdict: Verdict) -> None:
    """The table, the totals, and what is wrong."""
    table = Table(title=f"{verdict.scene}, seed {verdict.seed}", title_justify="left")
    shown = ["fault", "injected", "survived", "lost", "doubled", "reordered", "altered", "stuck", "seconds to recover"]
    for heading in shown:
        table.add_column(heading, justify="left" if heading == "fault" else "right")
    for row in rows(verdict):
        table.add_row(*("" if row[heading] is None else str(row[heading]) for heading in shown))
    console.print(table)
    total = kinds(verdict.problems)
    console.print(f"{sum(verdict.cases.values())} cases ended, {len(verdict.unfinished)} did not")
    console.print(", ".join(f"{name} {figure:g}" for name, figure in verdict.figures.items()))
    console.print("whole run: " + ", ".join(f"{kind} {total[kind]}" for kind in KINDS))
    for problem in verdict.problems[:MOST_SHOWN]:
        console.print(f"[red]{problem.kind.value}[/red] {problem.where}: {problem.what} {problem.case_id}")
    for what, items in (("unfinished", verdict.unfinished), ("unexpected answer", verdict.unexpected)):
        for item in items:
            console.print(f"[red]{what}[/red] {item}")
    for name in verdict.blind:
        console.print(f"[red]the checker does not notice[/red] {name}")


def write(path: Path, verdicts: Sequence[Verdict]) -> None:
    """Everything, as JSON."""
    clean = all(verdict.is_clean for verdict in verdicts)
    scenes = {verdict.scene: _whole(verdict) for verdict in verdicts}
    path.write_text(json.dumps({"clean": clean, "scenes": scenes}, indent=2) + "\n")


def _whole(verdict: Verdict) -> Mapping[str, Any]:
    return {
        "seed": verdict.seed,
        "clean": verdict.is_clean,
        "faults": rows(verdict),
        "injected": [
            {
                "name": fault.name,
                "started": fault.started_at,
                "ended": fault.ended_at,
                "recovered": fault.recovered,
                "failure": fault.failure,
            }
            for fault in verdict.injected
        ],
        "totals": {kind: kinds(verdict.problems)[kind] for kind in KINDS},
        "cases": dict(verdict.cases),
        "unfinished": list(verdict.unfinished),
        "unexpected": dict(verdict.unexpected),
        "blind spots of the checker": list(verdict.blind),
        "figures": dict(verdict.figures),
        "problems": [
            {"kind": each.kind.value, "where": each.where, "what": each.what, "case": each.case_id}
            for each in verdict.problems
        ],
    }

"""Reads the exported spans of the local store."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from faults.checker.history import Span

NANOSECONDS = 1_000_000_000


def read(folder: Path) -> Sequence[Span]:
    """Every span of every file; a line that a kill has torn is passed over."""
    return [span for path in sorted(folder.glob("*.jsonl")) for span in _file(path)]


def _file(path: Path) -> Iterator[Span]:
    with path.open("rb") as file:
        for line in file:
            try:
                found = json.loads(line)
                ended_at = found["end_ns"] / NANOSECONDS
                yield Span(found["trace_id"], found["span_id"], found["parent"] or "", found["name"], ended_at)
            except ValueError:
                continue

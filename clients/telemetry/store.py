"""The local store of spans: bounded files of JSON lines, so that a trace can be read with nothing else installed."""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from clients.telemetry.ids import SpanContext
from clients.telemetry.spans import Span

FILE_BYTES = 8 * 1024 * 1024
FILES = 8


class FileExporter:
    """Writes `<folder>/<service>.<number>.jsonl`; the oldest file goes when there are too many."""

    def __init__(self, folder: Path, service: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._service = service
        self._numbers = count(max((_number(path) for path in self._files()), default=0) + 1)
        self._file: BinaryIO | None = None

    def export(self, spans: Sequence[Span]) -> None:
        """Append the spans."""
        file = self._current()
        file.write(b"".join(orjson.dumps(_to_json(span), option=orjson.OPT_APPEND_NEWLINE) for span in spans))
        file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _current(self) -> BinaryIO:
        if self._file is None or self._file.tell() > FILE_BYTES:
            self.close()
            self._file = (self._folder / f"{self._service}.{next(self._numbers):06}.jsonl").open("ab")
            for old in sorted(self._files(), key=_number)[:-FILES]:
                old.unlink(missing_ok=True)
        return self._file

    def _files(self) -> Iterator[Path]:
        return self._folder.glob(f"{self._service}.*.jsonl")


def read_trace(folder: Path, trace_id: int) -> Sequence[Span]:
    """Every span of a trace that the store holds, by their start; a line that is torn is passed over."""
    wanted = f"{trace_id:032x}".encode()
    spans = []
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as file:
            spans += [span for line in file if wanted in line and (span := _from_line(line, trace_id)) is not None]
    return sorted(spans, key=lambda span: (span.start_ns, span.end_ns, span.context.span_id))


def _number(path: Path) -> int:
    return int(path.name.split(".")[-2])


def _to_json(span: Span) -> dict[str, Any]:
    return {
        "trace_id": f"{span.context.trace_id:032x}",
        "span_id": f"{span.context.span_id:016x}",
        "parent": None if span.parent is None else f"{span.parent:016x}",
        "name": span.name,
        "kind": span.kind,
        "start_ns": span.start_ns,
        "end_ns": span.end_ns,
        "attributes": dict(span.attributes),
        "links": [[f"{link.trace_id:032x}", f"{link.span_id:016x}"] for link in span.links],
        "error": span.error,
        "service": span.service,
    }


def _from_line(line: bytes, trace_id: int) -> Span | None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if int(found["trace_id"], 16) != trace_id:
        return None
    return Span(
        name=found["name"],
        context=SpanContext(trace_id, int(found["span_id"], 16)),
        parent=None if found["parent"] is None else int(found["parent"], 16),
        kind=found["kind"],
        start_ns=found["start_ns"],
        end_ns=found["end_ns"],
        attributes=found["attributes"],
        links=[SpanContext(int(trace, 16), int(span, 16)) for trace, span in found["links"]],
        error=found["error"],
        service=found["service"],
    )

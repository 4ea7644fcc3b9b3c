"""The local store of spans: bounded files of JSON lines, so that a trace can be read with nothing else installed."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from clients.telemetry.ids import SpanContext
from clients.telemetry.spans import Span

STORE_BYTES = 64 * 1024 * 1024
"""Of a process, where nothing else is set."""
LEAST_STORE_BYTES = 16 * 1024 * 1024
"""Each of its files takes what is exported at once."""
FILES = 8


class FileExporter:
    """Writes `<folder>/<service>.<number>.jsonl`; the oldest files go so that all together stay within the bound."""

    def __init__(self, folder: Path, service: str, store_bytes: int = STORE_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._service = service
        self._file_bytes = store_bytes // FILES
        self._older_bytes = store_bytes - self._file_bytes
        self._number = max(map(_number, self._files()), default=1)
        self._file = self._open()
        if self._file.tell():
            self._file.write(b"\n")  # ends the line that a killed process may have torn

    def export(self, spans: Sequence[Span]) -> None:
        """Append the spans."""
        lines = b"".join(orjson.dumps(_to_json(span), option=orjson.OPT_APPEND_NEWLINE) for span in spans)
        if self._file.tell() + len(lines) > self._file_bytes:
            self._rotate()
        self._file.write(lines)
        self._file.flush()

    def close(self) -> None:
        """Close the file; what a full disk did not take was counted when it was exported."""
        with suppress(OSError):
            self._file.close()

    def _open(self) -> BinaryIO:
        return (self._folder / f"{self._service}.{self._number:06}.jsonl").open("ab")

    def _rotate(self) -> None:
        self.close()
        self._number += 1
        self._file = self._open()
        _, *older = sorted(self._files(), key=_number, reverse=True)
        for path, size in zip(older, accumulate(path.stat().st_size for path in older), strict=True):
            if size > self._older_bytes:
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[Path]:
        return self._folder.glob(f"{self._service}.[0-9]*.jsonl")


def read_trace(folder: Path, trace_id: int) -> Sequence[Span]:
    """Every span of a trace that the store holds, by their start; a line that is torn is passed over."""
    spans = [span for path in folder.glob("*.jsonl") for span in _read(path, trace_id)]
    return in_order(spans)


def in_order(spans: Iterable[Span]) -> Sequence[Span]:
    """By their start, and always alike."""
    return sorted(spans, key=lambda span: (span.start_ns, span.end_ns, span.context.span_id, span.service))


def _read(path: Path, trace_id: int) -> Sequence[Span]:
    wanted = f"{trace_id:032x}".encode()
    with suppress(FileNotFoundError), path.open("rb") as file:  # its writer may have dropped it since it was listed
        return [span for line in file if wanted in line and (span := _from_line(line, trace_id)) is not None]
    return []


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
        "attributes": span.attributes,
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

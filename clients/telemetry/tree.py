"""A trace as a tree: what caused what, when, and where."""

from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from clients.telemetry.spans import Span

FILLED = "ronghe.filled"
"""Attribute of a span that was made again from the journal."""


def children_of(spans: Sequence[Span]) -> dict[int | None, Sequence[Span]]:
    """Spans by their parent; the roots, and spans whose parent is missing, under None."""
    known = {span.context.span_id for span in spans}
    found = defaultdict(list)
    for span in spans:
        found[span.parent if span.parent in known else None].append(span)
    return dict(found)


def faults(spans: Sequence[Span]) -> list[str]:
    """What is wrong with a trace: not exactly one root, parents that are missing, spans that end before they start."""
    known = {span.context.span_id for span in spans}
    roots = [span for span in spans if span.parent is None]
    found = [] if len(roots) == 1 else [f"{len(roots)} roots"]
    found += [f"{span.name}: the parent is missing" for span in spans if span.parent and span.parent not in known]
    found += [f"{span.name}: ends before it starts" for span in spans if span.end_ns < span.start_ns]
    return found


def print_tree(console: Console, spans: Sequence[Span]) -> None:
    """Print a trace, as `read_trace` gives it, with times relative to its beginning."""
    if not spans:
        console.print("no spans of this trace are stored")
        return
    children = children_of(spans)
    origin = spans[0].start_ns
    for root in children.pop(None, ()):
        tree = Tree(_line(root, origin, lost="" if root.parent is None else " (parent missing)"))
        _grow(tree, root, children, origin)
        console.print(tree)


def _grow(tree: Tree, span: Span, children: dict[int | None, Sequence[Span]], origin: int) -> None:
    # What is sent or delivered again after a kill is recorded twice under one id: the first one has the children.
    for child in children.pop(span.context.span_id, ()):
        _grow(tree.add(_line(child, origin)), child, children, origin)


def _line(span: Span, origin: int, lost: str = "") -> Text:
    start, length = (span.start_ns - origin) / 1e6, (span.end_ns - span.start_ns) / 1e6
    return Text.assemble(
        (span.name.removeprefix("ronghe.event.v1."), "bold"),
        (f" {span.service}", "dim"),
        f" +{start:.1f} ms, {length:.1f} ms",
        (f" {span.error}" if span.error else "", "red"),
        (" (from the journal)" if FILLED in span.attributes else "", "dim"),
        (lost, "red"),
    )

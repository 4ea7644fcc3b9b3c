"""A trace as a tree: what caused what, when, and where."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.tree import Tree

from clients.telemetry.spans import Span


def children_of(spans: Sequence[Span]) -> Mapping[int | None, Sequence[Span]]:
    """Spans by their parent; the roots, and spans whose parent is missing, under None."""
    known = {span.context.span_id for span in spans}
    found: dict[int | None, list[Span]] = defaultdict(list)
    for span in spans:
        found[span.parent if span.parent in known else None].append(span)
    return found


def faults(spans: Sequence[Span]) -> list[str]:
    """What is wrong with a trace: not exactly one root, parents that are missing, spans that end before they start."""
    known = {span.context.span_id for span in spans}
    roots = [span for span in spans if span.parent is None]
    found = [] if len(roots) == 1 else [f"{len(roots)} roots"]
    found += [f"{span.name}: the parent is missing" for span in spans if span.parent and span.parent not in known]
    found += [f"{span.name}: ends before it starts" for span in spans if span.end_ns < span.start_ns]
    return found


def print_tree(console: Console, spans: Sequence[Span]) -> None:
    """Print the trace with times relative to its beginning."""
    if not spans:
        console.print("no spans of this trace are stored")
        return
    children = children_of(spans)
    origin = spans[0].start_ns
    for root in children[None]:
        tree = Tree(_line(root, origin))
        _grow(tree, root, children, origin)
        console.print(tree)


def _grow(tree: Tree, span: Span, children: Mapping[int | None, Sequence[Span]], origin: int) -> None:
    for child in children.get(span.context.span_id, ()):
        _grow(tree.add(_line(child, origin)), child, children, origin)


def _line(span: Span, origin: int) -> str:
    start, length = (span.start_ns - origin) / 1e6, (span.end_ns - span.start_ns) / 1e6
    name = span.name.removeprefix("ronghe.event.v1.")
    failed = f" [red]{span.error}[/red]" if span.error else ""
    return f"[bold]{name}[/bold] [dim]{span.service}[/dim] +{start:.1f} ms, {length:.1f} ms{failed}"

"""Line charts as one SVG, one below the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, MARGIN = 900, 220, 50
COLORS = ("#1b6ca8", "#c1440e", "#3a7d44", "#7d5ba6")


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over the same times."""

    title: str
    times: Sequence[float]
    """Seconds."""
    lines: Mapping[str, Sequence[float]]


def draw(charts: Sequence[Chart]) -> str:
    """The picture's text."""
    body = "".join(
        f'<g transform="translate(0 {number * HEIGHT})">{_chart(chart)}</g>' for number, chart in enumerate(charts)
    )
    size = f'width="{WIDTH}" height="{HEIGHT * len(charts)}" font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{body}</svg>\n'


def _chart(chart: Chart) -> str:
    highest = max((value for line in chart.lines.values() for value in line), default=0) or 1
    last = max(chart.times, default=0) or 1
    parts = [
        f'<text x="{MARGIN}" y="16">{escape(chart.title)}, at most {highest:g}; {last / 60:.0f} min</text>',
        f'<path d="M{MARGIN} 24V{HEIGHT - 24}H{WIDTH - 10}" fill="none" stroke="#888"/>',
    ]
    for (name, line), color in zip(chart.lines.items(), COLORS, strict=False):
        points = " ".join(
            f"{MARGIN + at / last * (WIDTH - MARGIN - 130):.1f},{HEIGHT - 24 - value / highest * (HEIGHT - 56):.1f}"
            for at, value in zip(chart.times, line, strict=True)
        )
        y = 40 + 16 * list(chart.lines).index(name)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}"/>')
        parts.append(f'<text x="{WIDTH - 120}" y="{y}" fill="{color}">{escape(name)}</text>')
    return "".join(parts)

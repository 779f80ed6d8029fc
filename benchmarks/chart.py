"""A small picture of Dice against time, drawn as SVG by hand: no plotting library is needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 330, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 28, 34
_COLORS = ("#777777", "#D55E00", "#0072B2", "#009E73", "#CC79A7")


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (time, Dice); one point only is drawn as a level all along."""

    points: Sequence[tuple[float, float]]


Panels = Mapping[str, Mapping[str, Curve]]


def draw(panels: Panels, *, columns: int = 2, along: str = "seconds of training") -> str:
    """Draw one panel for each set, all with the same curves; returns SVG text. `along` names the axis of time."""
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    colors = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(names)}
    rows = -(-len(panels) // columns)
    width, height = columns * _WIDTH, rows * _HEIGHT + 26
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for i, (title, curves) in enumerate(panels.items()):
        x, y = i % columns * _WIDTH, i // columns * _HEIGHT
        parts.append(f'<g transform="translate({x},{y})">{_panel(title, curves, colors, along)}</g>')
    for i, name in enumerate(names):
        x, y = _LEFT + i * (width - _LEFT) // len(names), height - 10
        parts.append(
            f'<line x1="{x}" y1="{y - 4}" x2="{x + 22}" y2="{y - 4}" stroke="{colors[name]}" stroke-width="2"/>'
        )
        parts.append(f'<text x="{x + 27}" y="{y}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(title: str, curves: Mapping[str, Curve], colors: Mapping[str, str], along: str) -> str:
    points = [point for curve in curves.values() for point in curve.points]
    last = max([time for curve in curves.values() if len(curve.points) > 1 for time, _ in curve.points] or [60])
    low, high = _range([value for _, value in points])
    inner_w, inner_h = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(time: float, value: float) -> tuple[float, float]:
        across, up = time / last, (value - low) / (high - low)
        return round(_LEFT + inner_w * across, 1), round(_TOP + inner_h * (1 - up), 1)

    parts = [f'<text x="{_LEFT}" y="17" font-weight="bold">{escape(title)}</text>']
    for i in range(6):
        value = low + (high - low) * i / 5
        x, y = place(0, value)
        parts.append(f'<line x1="{x}" y1="{y}" x2="{_LEFT + inner_w}" y2="{y}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x - 5}" y="{y + 4}" text-anchor="end">{value:.2f}</text>')
    for time in _ticks(last):
        x, y = place(time, low)
        parts.append(f'<text x="{x}" y="{y + 15}" text-anchor="middle">{time:g}</text>')
    parts.append(f'<text x="{_LEFT + inner_w / 2}" y="{_HEIGHT - 5}" text-anchor="middle">{escape(along)}</text>')
    for name, curve in curves.items():
        level = len(curve.points) == 1
        line = [(0.0, curve.points[0][1]), (last, curve.points[0][1])] if level else list(curve.points)
        path = " ".join(f"{x},{y}" for x, y in (place(*point) for point in line))
        dashes = ' stroke-dasharray="5 4"' if level else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colors[name]}" stroke-width="2"{dashes}/>')
        if not level:
            places = (place(*point) for point in line)
            parts.extend(f'<circle cx="{x}" cy="{y}" r="3" fill="{colors[name]}"/>' for x, y in places)
    return "".join(parts)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Round limits in steps of 0.05 around the values."""
    low, high = floor(min(values) * 20) / 20, ceil(max(values) * 20) / 20
    return low, max(high, low + 0.05)


def _ticks(last: float) -> list[float]:
    step = next(step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300) if last / step <= 7 or step == 300)
    return [step * i for i in range(int(last / step) + 1)]

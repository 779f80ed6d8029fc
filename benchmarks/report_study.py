"""Writes ``docs/study.md``: Dice against minutes of human work, losses beside wins."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import results, study
from benchmarks.results import Line
from benchmarks.sets import SETS

_INTRO = """# Study: quality for minutes of human work

Written by `python -m benchmarks report` from the lines of `make study` (`python -m benchmarks study`) in
`benchmarks/results/`. A simulated annotator (`benchmarks/annotator.py`) marks training images for so many minutes:
blobs and a stroke of background in two images of five, boxes in one, tags in one, exact outlines in one; what each mark
costs, and where the number is from, stands in `benchmarks/simulated_marks.py`. The other images stay unmarked. Every
way to learn sees the same marks. Numbers are the median over the test images of the foreground Dice, then the median
over the seeds with smallest and largest in brackets. *full supervision* has the exact masks of all training images, for
the same seconds.
"""


def write(folder: Path, page: Path) -> None:
    """Write the page."""
    lines = results.latest(folder / study.FILE, study.KEY)
    parts = [_INTRO]
    for scope in sorted({_scope(line) for line in lines}, key=str):
        of = [line for line in lines if _scope(line) == scope]
        parts += [_where(of), *(_table(of, name) for name in SETS if any(line["set"] == name for line in of))]
    if not lines:
        parts.append("Not run yet.\n")
    page.write_text("\n".join(parts), encoding="utf-8")


def _scope(line: Line) -> tuple[object, ...]:
    return line["device"], line["threads"], line["seconds"], line["images"], line["judges"], line["policy"]


def _where(lines: Sequence[Line]) -> str:
    one = lines[-1]
    said = f"## {one['seconds']:g} s of training on {one['device_name']}, {one['threads']} threads\n\n"
    said += f"{one['images'] or 'All'} training images, {one['judges'] or 'all'} test images at most."
    versions = len({line["revision"] for line in lines})
    return said + (f" Runs come from {versions} versions of the code.\n" if versions > 1 else "\n")


def _table(lines: Sequence[Line], name: str) -> str:
    own = [line for line in lines if line["set"] == name]
    minutes = sorted({line["minutes"] for line in own if line["way"] != "full supervision"})
    ceiling = [line["median"] for line in own if line["way"] == "full supervision"]
    rows = [f"### {SETS[name].title} (`{name}`)\n", f"| | {' | '.join(f'{m:g} min' for m in minutes)} |"]
    rows.append(f"| --- |{' ---: |' * len(minutes)}")
    best = {
        m: max((median(found) for way in study.WAYS if (found := _values(own, way, m))), default=0.0) for m in minutes
    }
    for way in (way for way in study.WAYS if way != "full supervision"):
        cells = [_cell(_values(own, way, m), best[m]) for m in minutes]
        if any(cell != "–" for cell in cells):
            rows.append(f"| {way} | {' | '.join(cells)} |")
    if ceiling:
        rows.append(f"\nFull supervision: {_cell(ceiling, 2.0)}.")
    return "\n".join([*rows, ""])


def _values(lines: Sequence[Line], way: str, minutes: float) -> list[float]:
    return [line["median"] for line in lines if line["way"] == way and line["minutes"] == minutes]


def _cell(values: Sequence[float], best: float) -> str:
    if not values:
        return "–"
    text = f"{median(values):.3f}"
    text = f"**{text}**" if median(values) >= best else text
    return text + (f" ({min(values):.3f}–{max(values):.3f})" if len(values) > 1 else "")

"""Writes ``docs/study.md``: Dice against minutes of human work, losses beside wins."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import coldstart, results, scribbles, study
from benchmarks.cells import NONE, cell
from benchmarks.chart import Curve, draw
from benchmarks.results import Line
from benchmarks.sets import SETS
from napari_weakseg.core.presets import PRESETS

_INTRO = """# Study: quality for minutes of human work

Written by `python -m benchmarks report` from the lines of `make study` (`python -m benchmarks study`) in
`benchmarks/results/`. A simulated annotator (`benchmarks/annotator.py`) marks training images for so many minutes:
blobs and a stroke of background in two images of five, boxes in one, tags in one, exact outlines in one; what each mark
costs, and where the number is from, stands in `benchmarks/simulated_marks.py`. The other images stay unmarked. Every
way to learn sees the same marks for the same seconds; the clock counts preparing and training, but the forest takes the
time that it needs. *full supervision* has the exact masks of all training images, for the same seconds.

Each cell is **Dice** · mean IoU · AP: medians over the test images of the foreground Dice, of the intersection over
union (mean over the classes but the first), and of the average precision of single objects at an IoU of 0.5, told apart
in the same way for every method; of each the median over the seeds, of Dice also the smallest and the largest.
"""
_BESIDE = ("miou", "ap50")  # the Dice


def write(folder: Path, page: Path) -> None:
    """Write the page."""
    lines = results.latest(folder / study.FILE, study.KEY)
    parts = [_INTRO]
    for number, scope in enumerate(sorted({_scope(line) for line in lines}, key=str)):
        of = [line for line in lines if _scope(line) == scope]
        names = [name for name in SETS if any(line["set"] == name for line in of)]
        picture = page.with_name(f"study{number or ''}.svg")
        panels = {SETS[name].title: _curves([line for line in of if line["set"] == name]) for name in names}
        picture.write_text(draw(panels, along="minutes of human work"), encoding="utf-8")
        parts += [_where(of), f"![Dice against minutes of human work]({picture.name})\n"]
        parts += [_table(of, name) for name in names]
    if not lines:
        parts.append("Not run yet.\n")
    parts.append(scribbles.section(results.read(folder / scribbles.FILE)))
    parts.append(coldstart.section(results.read(folder / coldstart.FILE)))
    page.write_text("\n".join(parts), encoding="utf-8")


def _scope(line: Line) -> tuple[object, ...]:
    return line["device"], line["threads"], line["seconds"], line["images"], line["judges"], line["policy"]


def _where(lines: Sequence[Line]) -> str:
    one = lines[-1]
    said = f"## {one['seconds']:g} s of training on {one['device_name']}, {one['threads']} threads\n\n"
    said += f"{one['images'] or 'All'} training images, {one['judges'] or 'all'} test images at most. "
    return said + f"Measured at {results.commits(lines)}, not later.\n"


def _table(lines: Sequence[Line], name: str) -> str:
    own = [line for line in lines if line["set"] == name]
    minutes = sorted({line["minutes"] for line in own if line["way"] != "full supervision"})
    seeds = len({line["seed"] for line in own})
    rows = [f"### {SETS[name].title} (`{name}`), {seeds} seed{'s' * (seeds > 1)} at most\n"]
    rows += [f"| | {' | '.join(f'{m:g} min' for m in minutes)} |", f"| --- |{' ---: |' * len(minutes)}"]
    ranked = {m: _ranked(own, m) for m in minutes}
    for way in (way for way in study.WAYS if way != "full supervision"):
        cells = [_cell(_of(own, way, m), best=ranked[m][:1] == [way]) for m in minutes]
        if any(text != NONE for text in cells):
            rows.append(f"| {way} | {' | '.join(cells)} |")
    ceiling = [line for line in own if line["way"] == "full supervision"]
    if ceiling:
        rows.append(f"\nFull supervision: {_cell(ceiling)}.")
    return "\n".join([*rows, "", *(_words(own, m, ranked[m], ceiling) for m in minutes), ""])


def _curves(lines: Sequence[Line]) -> dict[str, Curve]:
    """Dice of ours, of the baselines, of the preset that is best in the end, and of full supervision as a level."""
    minutes = sorted({line["minutes"] for line in lines if line["way"] != "full supervision"})
    ranked = _ranked(lines, minutes[-1]) if minutes else []
    best = next((way for way in ranked if way in PRESETS), None)
    curves = {}
    for way in ("full supervision", "forest", "plain", "ours", best):
        times = [m for m in (0.0, *minutes) if way and _of(lines, way, m)]
        if way and times:
            curves[way] = Curve([(m, _dice(_of(lines, way, m))) for m in times])
    return curves


def _of(lines: Sequence[Line], way: str, minutes: float) -> list[Line]:
    return [line for line in lines if line["way"] == way and line["minutes"] == minutes]


def _ranked(lines: Sequence[Line], minutes: float) -> list[str]:
    """Ways that were run, the one of the highest Dice first."""
    found = {way: _dice(of) for way in study.WAYS if (of := _of(lines, way, minutes))}
    return sorted(found, key=lambda way: -found[way])


def _dice(lines: Sequence[Line]) -> float:
    return median(line["median"] for line in lines)


def _words(lines: Sequence[Line], minutes: float, ranked: Sequence[str], ceiling: Sequence[Line]) -> str:
    """Say who is ahead of ours, and how far ours is from full supervision."""
    if "ours" not in ranked:
        return ""
    ours = _dice(_of(lines, "ours", minutes))
    better = [f"{way} (+{_dice(_of(lines, way, minutes)) - ours:.3f})" for way in ranked[: ranked.index("ours")]]
    said = f"- {minutes:g} min: ours is " + (f"behind {', '.join(better)}" if better else "behind no other")
    return f"{said}; {100 * ours / _dice(ceiling):.0f} % of full supervision." if ceiling else f"{said}."


def _cell(lines: Sequence[Line], *, best: bool = False) -> str:
    dice = cell([line["median"] for line in lines], bold=best)
    others = ([line[what] for line in lines if what in line] for what in _BESIDE)
    return " · ".join([dice, *(f"{median(values):.3f}" for values in others if values)])

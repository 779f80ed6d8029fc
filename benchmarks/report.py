"""Writes ``docs/benchmarks.md`` from the result lines: every run that counts, losses beside wins."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import growth, objects, quality, results, speed, volumes
from benchmarks.arms import ARMS
from benchmarks.cells import NONE, cell
from benchmarks.chart import Curve, draw
from benchmarks.report_speed import speed_section
from benchmarks.results import Line
from benchmarks.sets import SETS

#: Rivals on the same marks, in the order of the tables.
_RIVALS = ("forest", "plain", "ours")

_INTRO = """# Benchmarks

Written by `make bench` (`python -m benchmarks report`) from the lines in `benchmarks/results/`. How to run the parts,
and what each of them does, stands in `benchmarks/README.md`.
"""

_MARKS = """## Segmentation from rough marks

Every object of every training image has a blob over a quarter of its area, and every image one stroke of background; a
few images, where the heading says so, have exact masks. Numbers are the **median over the test images of the foreground
Dice** (mean over the classes but the first), then the median over the seeds with their smallest and largest value in
brackets. All networks have the same size and were trained for the same time on the same device; the clock counts
preparing and training.

- *random forest*: multi-scale filters (1 to 16 pixels), 100 trees, up to 100 000 of the marked pixels, all the time it
  needs.
- *plain U-Net*: the same network and training loop with partial cross-entropy on what is painted, and nothing else.
- *all masks exact*: napari-weakseg with the exact masks of all training images, for the same time.
"""

_MINUTE = """## The first minute

No exact image. The marks are blobs and a stroke of background (nuclei, glands), strokes through tissue and blobs in
half of the small objects (electron microscopy), and scribbles drawn by people (heart). Median Dice after so many
seconds of training, as above; the forest is trained once, in the time that is given, and does not change.
"""

_GROWTH = """## Growth of the blobs

Masks that the blobs of the training images have grown to, beside the true objects: mean over the marked objects of the
intersection over union; share of the grown pixels that lie in the right object, with and without the blobs themselves;
share of the objects' pixels that is covered. Round 0 are the blobs. Mean over the seeds.
"""


def write(folder: Path, page: Path) -> None:
    """Write the page, and the picture beside it."""
    made = [line for line in results.read(folder / quality.FILE) if not (line["images"] or line["judges"])]
    judged = list(results.newest(made, ("set", "arm", "exact", "seed", "seconds", "device")).values())
    sections = [_INTRO]
    for device in sorted({line["device"] for line in judged if line["arm"] != "forest"}):
        here = _longest([line for line in judged if line["device"] == device and line["arm"] != "forest"])
        here += [line for line in judged if line["arm"] == "forest"]
        sections += _quality_sections(here, page, device)
    if not judged:
        sections.append("## Segmentation from rough marks\n\nNot measured yet.\n")
    sections.append(_growth_section(results.read(folder / growth.FILE)))
    sections.append(objects.section(results.read(folder / objects.FILE)))
    sections.append(volumes.section(results.read(folder / volumes.FILE)))
    sections.append(speed_section(results.read(folder / speed.FILE)))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(sections), encoding="utf-8")


def _longest(lines: Sequence[Line]) -> list[Line]:
    seconds = max(line["seconds"] for line in lines)
    return [line for line in lines if line["seconds"] == seconds]


# ------------------------------------------------------------------- quality


def _quality_sections(lines: Sequence[Line], page: Path, device: str) -> list[str]:
    parts = [_MARKS, _machine(lines)]
    for exact in sorted({n for n in (line["exact"] for line in lines) if isinstance(n, int)}, reverse=True):
        title = f"{exact} exact images" if exact else "No exact image"
        parts += [f"### {title}\n", _marks_table(lines, exact), _spread_table(lines, exact), _verdict(lines, exact)]
    picture = page.with_name("benchmarks.svg" if device == "cpu" else f"benchmarks-{device}.svg")
    minute = _minute(lines, picture)
    return parts + ([_MINUTE, *minute] if minute else [])


def _machine(lines: Sequence[Line]) -> str:
    networks = [line for line in lines if line["arm"] != "forest"]
    one = networks[-1]
    where = one["device_name"] if one["device"] != "cpu" else f"{one['threads']} threads of a {one['cores']}-core CPU"
    said = f"Measured on {where} with torch {one['torch']}, {one['seconds']:g} s of training, "
    said += f"{len({line['seed'] for line in networks})} seeds."
    for name in ("forest", "ours", "plain", "full"):
        if len({line["revision"] for line in lines if line["arm"] == name}) > 1:
            said += f" Runs of “{ARMS[name].title}” come from more than one version of the code."
    arms = [arm for arm in ("forest", "plain", "ours", "full") if any(line["arm"] == arm for line in lines)]
    measured = "; ".join(
        f"{ARMS[arm].title} {results.commits(line for line in lines if line['arm'] == arm)}" for arm in arms
    )
    return f"{said} Measured at these commits (+: files differed), not on later ones: {measured}.\n"


def _select(lines: Iterable[Line], name: str, arm: str, exact: int) -> list[Line]:
    wanted = "all" if ARMS[arm].all_exact else exact
    return [line for line in lines if (line["set"], line["arm"], line["exact"]) == (name, arm, wanted)]


def _values(lines: Sequence[Line], what: str, at: float | None = None) -> list[float]:
    """One value for each seed: at the end, or at a time."""
    points = [_point(line, at) for line in lines]
    return [point[what] for point in points if point is not None]


def _point(line: Line, at: float | None) -> dict[str, Any] | None:
    points: list[dict[str, Any]] = line["points"]
    if at is None or line["arm"] == "forest":
        return points[-1]
    return next((point for point in points if point["at"] == at), None)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def _marks_table(lines: Sequence[Line], exact: int) -> str:
    head = ["", *(ARMS[arm].title for arm in (*_RIVALS, "full")), "of all exact", "steps", "gain of its second half"]
    rows = []
    for name in quality.WITH_EXACT:
        found = {arm: _values(_select(lines, name, arm, exact), "median") for arm in (*_RIVALS, "full")}
        if not found["ours"]:
            continue
        best = max(median(found[arm]) for arm in _RIVALS if found[arm])
        cells = [cell(found[arm], bold=bool(found[arm]) and median(found[arm]) == best) for arm in _RIVALS]
        ours = _select(lines, name, "ours", exact)
        share = f"{100 * median(found['ours']) / median(found['full']):.1f} %" if found["full"] else NONE
        steps = f"{median(_values(ours, 'steps')):.0f}"
        rows.append([_titled(name), *cells, cell(found["full"]), share, steps, _rise(ours)])
    return _table(head, rows)


def _rise(lines: Sequence[Line]) -> str:
    """How much the median Dice changed from the time before the last to the last: does it still rise?"""
    changes = [line["points"][-1]["median"] - line["points"][-2]["median"] for line in lines if len(line["points"]) > 1]
    return f"{median(changes):+.3f}" if changes else NONE


def _spread_table(lines: Sequence[Line], exact: int) -> str:
    rows = []
    for name in quality.WITH_EXACT:
        row = [_titled(name)]
        for arm in (*_RIVALS, "full"):
            chosen = _select(lines, name, arm, exact)
            both = [_values(chosen, what) for what in ("mean", "p10")]
            row.append(" · ".join(f"{median(values):.3f}" for values in both) if chosen else NONE)
        if row[3] != NONE:
            rows.append(row)
    return "Mean · 10th percentile over the test images:\n\n" + _table(
        ["", *(ARMS[arm].title for arm in (*_RIVALS, "full"))], rows
    )


def _verdict(lines: Sequence[Line], exact: int) -> str:
    """Say in words where ours is behind."""
    behind = []
    for name in quality.WITH_EXACT:
        ours = _values(_select(lines, name, "ours", exact), "median")
        for arm in ("forest", "plain"):
            theirs = _values(_select(lines, name, arm, exact), "median")
            if ours and theirs and median(theirs) > median(ours):
                numbers = f"{median(ours):.3f} against {median(theirs):.3f}"
                behind.append(f"behind the {ARMS[arm].title} on {name} ({numbers})")
    return f"napari-weakseg is {'; '.join(behind)}.\n" if behind else "No method is ahead of napari-weakseg here.\n"


def _titled(name: str) -> str:
    return f"{SETS[name].title} (`{name}`)"


# ---------------------------------------------------------------- the minute


def _minute(lines: Sequence[Line], picture: Path) -> list[str]:
    names = [name for name in quality.FIRST_MINUTE if _select(lines, name, "ours", 0)]
    if not names:
        return []
    times = sorted(
        {point["at"] for name in names for line in _select(lines, name, "ours", 0) for point in line["points"]}
    )
    rows, panels = [], {}
    for name in names:
        curves = {}
        for arm in _RIVALS:
            chosen = _select(lines, name, arm, 0)
            if not chosen:
                continue
            values = [_values(chosen, "median", at) for at in times]
            seconds = [median(_values(chosen, "seconds", at)) for at in times]
            cells = [cell(v) if arm != "forest" else f"{median(v):.3f}" for v in values]
            note = f"trained in {seconds[0]:.0f} s" if arm == "forest" else _steps(chosen, times)
            rows.append([_titled(name), ARMS[arm].title, *cells, note])
            marks = [(s, median(v)) for s, v in zip(seconds, values, strict=True)]
            curves[ARMS[arm].title] = Curve(marks[:1] if arm == "forest" else marks)
        panels[SETS[name].title] = curves
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(draw(panels), encoding="utf-8")
    table = _table(["", "", *(f"{at:g} s" for at in times), "steps"], rows)
    return [table, f"![Dice against seconds of training]({picture.name})\n", _minute_verdict(lines, names, times)]


def _steps(lines: Sequence[Line], times: Sequence[float]) -> str:
    return ", ".join(f"{median(_values(lines, 'steps', at)):.0f}" for at in times)


def _minute_verdict(lines: Sequence[Line], names: Sequence[str], times: Sequence[float]) -> str:
    behind = []
    for name in names:
        forest = _values(_select(lines, name, "forest", 0), "median")
        for at in times:
            ours = _values(_select(lines, name, "ours", 0), "median", at)
            if ours and forest and median(ours) < median(forest):
                behind.append(f"{name} at {at:g} s ({median(ours):.3f} against {median(forest):.3f})")
    late = [_late(name, _select(lines, name, "ours", 0), times[0]) for name in names]
    said = f"behind the forest on {'; '.join(behind)}" if behind else "nowhere behind the forest here"
    return " ".join([f"napari-weakseg is {said}.", *filter(None, late)]) + "\n"


def _late(name: str, lines: Sequence[Line], at: float) -> str:
    """Say where getting ready took longer than the first time that is judged."""
    seconds = median(_values(lines, "seconds", at))
    return f"On {name} it was ready, and first judged, only after {seconds:.0f} s." if seconds > at + 2 else ""


# -------------------------------------------------------------------- growth


def _growth_section(lines: Sequence[Line]) -> str:
    counted = [line for line in lines if not line["images"]]
    chosen = results.newest(counted, ("set", "exact", "seed", "device"))
    parts = [_GROWTH]
    for name, exact, device in sorted({(n, e, d) for n, e, _, d in chosen}):
        runs = [line for (n, e, _, d), line in chosen.items() if (n, e, d) == (name, exact, device)]
        title = f"{SETS[name].title}, {exact or 'no'} exact image{'s' * (exact > 1)}"
        images = f"{median(line['images_grown'] for line in runs):.0f}"
        steps = f"{median(line['steps'] for line in runs):.0f}"
        seeds = f"{len(runs)} seed{'s' * (len(runs) > 1)}"
        said = f"{images} images grew, {seeds}, {runs[0]['seconds']:g} s ({steps} steps), {device}, measured at "
        said += f"{results.commits(runs)}, not later."
        parts.append(f"### {title}\n\n{said}\n\n{_rounds_table(runs)}")
    return "\n".join(parts if chosen else [*parts, "Not measured yet.\n"])


def _rounds_table(runs: Sequence[Line]) -> str:
    last = max(len(line["rounds"]) for line in runs)
    rows = []
    for number in range(last):
        here = [line["rounds"][min(number, len(line["rounds"]) - 1)] for line in runs]
        cells = []
        for what in ("iou", "precision", "precision_added", "recall"):
            values = [entry[what] for entry in here if entry[what] is not None]
            cells.append(f"{sum(values) / len(values):.3f}" if values else NONE)
        rows.append([str(number), *cells])
    return _table(["round", "mean IoU", "precision", "precision of what was added", "covered"], rows)

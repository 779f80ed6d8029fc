"""Scribbles that people drew: ours beside the baselines, and exact masks of the same images as the ceiling.

How long they took is not known, so there is no axis of minutes. One run = one task, one way to learn, one seed; where
several people scribbled the seed chooses whose scribbles are learned from.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import results, study
from benchmarks.arms import paint
from benchmarks.cells import NONE, cell
from benchmarks.quality import Options
from benchmarks.results import Line
from benchmarks.sets import SETS, ImageSet, Judge, judges_of
from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.project import Project

FILE = "scribbles.jsonl"
KEY = ("set", "task", "way", "seed", "seconds", "device", "threads", "images", "judges", "revision")
SECONDS = 30.0
_CEILING = "full supervision"
_TOLD = ", told that all is marked"
WAYS = ("ours", "plain", "forest", f"ours{_TOLD}", f"plain{_TOLD}", _CEILING)
PEOPLE = 3

SCRIBBLED = {
    "medscribble": ImageSet("medscribble", "twelve medical tasks of two or three images each", marks="scribbles"),
    "acdc_scribble": SETS["acdc_scribble"],
}


def run(options: Options) -> None:
    """Make all runs that are not finished yet, seed by seed."""
    results.make_runs(
        options.folder / FILE,
        KEY,
        _grid(options),
        threads=options.threads,
        named=lambda key: f"{key['task'] or key['set']}, seed {key['seed']}, {key['way']}",
        measure=_measured,
        told=lambda found: f"{found['median']:.3f}",
    )


def _grid(options: Options) -> Iterator[Line]:
    common = options.common("benchmarks.scribbles")
    for seed in range(options.seeds):
        for name in options.sets:
            for task in SCRIBBLED[name].tasks or [""]:
                for way in WAYS:
                    yield {"set": name, "task": task, "way": way, "seed": seed, **common}


def _measured(key: Line) -> dict[str, Any]:
    image_set = SCRIBBLED[key["set"]]
    teaching, judges = _images(image_set, key)
    with tempfile.TemporaryDirectory() as folder, _project(Path(folder), image_set, teaching, key) as project:
        return study.taught(project, {**key, "way": key["way"].removesuffix(_TOLD)}, judges)


def _images(image_set: ImageSet, key: Line) -> tuple[list[str], list[Judge]]:
    """Names of the images that teach, and what judges."""
    names = image_set.names("train")
    if not key["task"]:
        return names[: key["images"] or None], image_set.judged(key["judges"])
    of = image_set.tasks[key["task"]]
    judging = [name for name in of if name not in names][: key["judges"] or None]
    found = [judge for name in judging for judge in judges_of(image_set.picture(name), image_set.crop_px)]
    return [name for name in of if name in names][: key["images"] or None], found


def _project(folder: Path, image_set: ImageSet, names: Sequence[str], key: Line) -> Project:
    """Put images into a project, with what a person scribbled, or with their exact masks."""
    project = Project.create(folder / "scribbles.weakseg", image_set.classes)
    whose = f"scribbles{key['seed'] % PEOPLE + 1}" if key["task"] else "scribbles"
    for name in names:
        picture = image_set.picture(name)
        image = project.add_image(picture.path, name=name)
        if key["way"] == _CEILING:
            paint(image, picture.truth, picture.objects)
            image.coverage(None, "exact")
        else:
            image.paint(image_set.scribbles(name, whose))
            for class_id in range(BACKGROUND + 1, len(image_set.classes) + 1) if key["way"].endswith(_TOLD) else ():
                image.coverage(class_id, "all objects")
    return project


def section(lines: Sequence[Line]) -> str:
    """Part of the page of results."""
    chosen = results.newest(
        [line for line in lines if not (line["images"] or line["judges"])],
        ("set", "task", "way", "seed", "seconds", "device", "threads"),
    ).values()
    parts = [_WORDS]
    if not chosen:
        return "\n".join([*parts, "Not measured yet.\n"])
    for scope in sorted({(line["device"], line["threads"], line["seconds"]) for line in chosen}):
        of = [line for line in chosen if (line["device"], line["threads"], line["seconds"]) == scope]
        seeds = len({line["seed"] for line in of})
        parts += [
            f"{scope[2]:g} s on {scope[0]}, {scope[1]} threads, {seeds} seed{'s' * (seeds > 1)}.\n",
            *_table(of),
            "",
        ]
    return "\n".join([*parts, f"Measured at {results.commits(chosen)}, not later.", ""])


def _table(lines: Sequence[Line]) -> list[str]:
    rows = [f"| | {' | '.join(WAYS)} |", f"| --- |{' ---: |' * len(WAYS)}"]
    for name, image_set in SCRIBBLED.items():
        own = [line for line in lines if line["set"] == name]
        tasks = sorted({line["task"] for line in own})
        for task in tasks:
            found = {way: _values(own, task, way) for way in WAYS}
            rows.append(_row(task or f"{image_set.title} (`{name}`)", found))
        if len(tasks) > 1:
            each = {way: [median(found) for task in tasks if (found := _values(own, task, way))] for way in WAYS}
            cells = [f"{median(each[way]):.3f}" if len(each[way]) == len(tasks) else NONE for way in WAYS]
            rows.append(f"| **median of {len(tasks)} tasks** (`{name}`) | {' | '.join(cells)} |")
    return rows


def _values(lines: Sequence[Line], task: str, way: str) -> list[float]:
    return [line["median"] for line in lines if (line["task"], line["way"]) == (task, way)]


def _row(title: str, found: Mapping[str, Sequence[float]]) -> str:
    ranked = {way: median(values) for way, values in found.items() if values and way != _CEILING}
    best = max(ranked, key=lambda way: ranked[way], default=None)
    return f"| {title} | {' | '.join(cell(values, bold=way == best) for way, values in found.items())} |"


_WORDS = """## Scribbles that people drew

Median Dice over the test images, of each task the median over the seeds and in brackets the smallest and the largest.
The twelve small tasks have two or three images to learn from and one or two to judge by, of 256 × 256 pixels; three
people scribbled, and each seed takes another one. *told that all is marked*: the same scribbles and one statement more
for each image and class, that all objects carry a mark; for *plain* what is far from the marks is background then. A
pixel forest learns from what is painted only. *full supervision* has the exact masks of the same images.
"""

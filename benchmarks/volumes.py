"""Volumes learned from marks on one slice in five, beside the same slices seen one by one or with their neighbours.

Heads lie the same way round in every scan, so the orientation is given as fixed there; that of cells is any.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import results
from benchmarks.cells import NONE, cell
from benchmarks.judging import dice
from benchmarks.quality import Options
from benchmarks.sets import ImageSet, Judge, Picture, judges_of
from benchmarks.training import predictor, train
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.project import Project
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.engine.planes import nearest
from napari_weakseg.engine.trainer import Trainer

FILE = "volumes.jsonl"
KEY = ("set", "way", "seed", "seconds", "device", "threads", "images", "judges", "revision")
SECONDS = 60.0
#: A slice in so many is marked.
EVERY = 5

_AXES = "ZYX"
SETS = {
    item.name: item
    for item in (
        ImageSet("hippocampus3d_a", "hippocampus, MRI", judges=16, orientation="fixed"),
        ImageSet("tiny3d_cells", "plant cells and nuclei, confocal"),
    )
}
#: Sets of volumes that have nothing in common: all of them teach, and the slices that stay blank are judged.
_UNRELATED = ("tiny3d_cells",)


@dataclass(frozen=True, slots=True)
class Way:
    """How volumes are marked and seen.

    Attributes
    ----------
    title : str
    ndim : {2, 3}
        2: slice by slice.
    every : int
        A slice in so many is marked.
    neighbours : int
        Slices on either side that are seen as well, in 2-D.
    """

    title: str
    ndim: Literal[2, 3]
    every: int
    neighbours: int = 0


WAYS = {
    "sparse": Way("3-D, one slice in five", 3, EVERY),
    "slices": Way("2-D, the same slices one by one", 2, EVERY),
    "beside": Way("2.5-D, with two slices on either side", 2, EVERY, neighbours=2),
    "full": Way("3-D, every slice", 3, 1),
}


def run(options: Options) -> None:
    """Make all runs that are not finished yet."""
    results.make_runs(
        options.folder / FILE,
        KEY,
        _grid(options),
        threads=options.threads,
        named=lambda key: f"{key['set']}, seed {key['seed']}, {WAYS[key['way']].title}",
        measure=_measured,
        told=lambda found: f"Dice {found['median']:.3f} after {found['steps']} steps",
    )


def _grid(options: Options) -> Iterator[dict[str, Any]]:
    common = options.common("benchmarks.volumes")
    for seed in range(options.seeds):
        for name in options.sets:
            for way in WAYS:
                if way == "full" and name in _UNRELATED:
                    continue  # no slice would be left to judge by
                yield {"set": name, "way": way, "seed": seed, **common}


def _measured(key: Mapping[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(key["threads"])
    image_set, way = SETS[key["set"]], WAYS[key["way"]]
    with (
        tempfile.TemporaryDirectory() as folder,
        _project(Path(folder), image_set, way, key["seed"], key["images"]) as project,
    ):
        config = TrainConfig(orientation=image_set.orientation, neighbours=way.neighbours)
        trainer = Trainer(project, config, device=key["device"], seed=key["seed"])
        for _ in train(trainer, [key["seconds"]], device=key["device"]):
            pass
        rows = [
            dice(_seen(trainer, way, judge.pixels)[slices], judge.truth[slices], len(image_set.classes))
            for judge, slices in _judges(image_set, key)
        ]
        steps = trainer.steps
        trainer.close()
    table = np.stack(rows)
    return {
        "steps": steps,
        "median": round(float(np.median(np.nanmean(table, 1))), 4),
        "classes": [round(float(value), 4) for value in np.nanmean(table, 0)],
    }


def _project(folder: Path, image_set: ImageSet, way: Way, seed: int, limit: int) -> Project:
    project = Project.create(folder / "volumes.weakseg", image_set.classes, ndim=way.ndim)
    for name in _teaching(image_set, limit, seed):
        picture = image_set.picture(name)
        mark_slices(project.add_image(picture.path, name=picture.name, axes=_AXES), picture, way.every)
    return project


def _teaching(image_set: ImageSet, limit: int, seed: int) -> list[str]:
    """Names of the volumes that are learned from."""
    names = image_set.names("train") + (image_set.names("test") if image_set.name in _UNRELATED else [])
    return [names[i] for i in np.random.default_rng(seed).permutation(len(names))[: limit or None]]


def _judges(image_set: ImageSet, key: Mapping[str, Any]) -> Iterator[tuple[Judge, NDArray[np.int64]]]:
    """Volumes to judge by, and which of their slices judge."""
    if image_set.name not in _UNRELATED:
        yield from ((judge, np.arange(len(judge.truth))) for judge in image_set.judged(key["judges"]))
        return
    for name in _teaching(image_set, key["images"], key["seed"])[: key["judges"] or None]:
        for judge in judges_of(image_set.picture(name)):
            slices = np.arange(len(judge.truth))
            yield judge, np.setdiff1d(slices, slices[marked_slices(EVERY)])


def mark_slices(image: ProjectImage, picture: Picture, every: int) -> None:
    """Paint one slice in so many exactly, and say so; the others stay blank."""
    for z in range(len(picture.truth))[marked_slices(every)]:
        image.paint(picture.truth[z : z + 1], start=(z, 0, 0))
        image.coverage(None, "exact", (z, 0, 0), (z + 1, *picture.truth.shape[1:]))


def marked_slices(every: int) -> slice:
    """Which slices of a volume are marked, one in so many."""
    return slice(every // 2, None, every)


def _seen(trainer: Trainer, way: Way, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Class ids of a volume (C, Z, Y, X), (Z, Y, X)."""
    predict, count = predictor(trainer), pixels.shape[1]
    if way.ndim == 3:
        return predict(pixels)
    planes = (nearest(z, count, way.neighbours) for z in range(count))
    return np.stack([predict(np.concatenate([pixels[:, z] for z in near])) for near in planes])


def section(lines: Sequence[Mapping[str, Any]]) -> str:
    """Part of the page of results."""
    chosen = results.newest(
        [line for line in lines if not (line["images"] or line["judges"])], ("set", "way", "seed", "device", "seconds")
    )
    groups = sorted({(name, device, seconds) for name, _, _, device, seconds in chosen})
    if not groups:
        return "\n".join([_WORDS, "Not measured yet.\n"])
    titles = [*(way.title for way in WAYS.values()), "of every slice"]
    rows = [f"|  | {' | '.join(titles)} |", "| --- |" + " ---: |" * len(titles)]
    for name, device, seconds in groups:
        found = {
            way: [x["median"] for (n, w, _, d, s), x in chosen.items() if (n, w, d, s) == (name, way, device, seconds)]
            for way in WAYS
        }
        cells = [cell(found[way]) for way in WAYS]
        share = (
            100 * np.median(found["sparse"]) / np.median(found["full"]) if found["sparse"] and found["full"] else None
        )
        cells.append(NONE if share is None else f"{share:.0f} %")
        seeds = max(map(len, found.values()))
        title = f"{SETS[name].title} (`{name}`), {device}, {seconds:g} s, {seeds} seed{'s' * (seeds > 1)}"
        rows.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join([_WORDS, *rows, "", f"Measured at {results.commits(chosen.values())}, not later.", ""])


_WORDS = f"""## Volumes

One slice in {EVERY} of every training volume is painted exactly, the others stay blank. Median over the test volumes of
the mean Dice of the classes: of the network that sees volumes, of those that see the same slices one by one or with
their neighbours as further channels, and of the one that sees volumes painted in every slice, after the same time. The
two volumes of plant cells and nuclei have nothing in common: both teach, and the slices that stayed blank are judged,
so that there is no *every slice* for them.
"""

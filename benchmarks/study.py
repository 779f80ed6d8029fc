"""Dice against minutes of human work: ours, each published method's preset, ours without each part, and the baselines.

One run = one set, one way to learn, so many minutes of a simulated annotator (`annotator`), one seed. All training
images are in the project, most of them unmarked. Every way sees the same marks for the same seconds of training.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import results
from benchmarks.annotator import Annotator, Policy, apply
from benchmarks.arms import PLAIN, paint
from benchmarks.forest import ForestBaseline
from benchmarks.judging import summed
from benchmarks.marks import Marked
from benchmarks.objects import compare, told_apart
from benchmarks.sets import SETS, ImageSet, Judge, Picture
from benchmarks.training import train
from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.presets import PRESETS
from napari_weakseg.core.project import Project
from napari_weakseg.engine.finding import sizes_of
from napari_weakseg.engine.objects import least_told
from napari_weakseg.engine.trainer import Trainer

FILE = "study.jsonl"
KEY = ("set", "way", "policy", "minutes", "seed", "seconds", "device", "threads", "images", "judges", "revision")

Size = Literal["small", "full"]


#: Parts of ours that are left out one by one, and parts that are off by default and put in.
_WITHOUT: dict[str, dict[str, Any]] = {
    "growth": {"growth": "off"},
    "outlines": {"outline_weight": 0.0},
    "the early forest": {"forest": False},
    "the correction of priors": {"prior_correction": 0},
    "overlap": {"dice_weight": 0.0, "exact_dice_weight": 0.0},
    "early overlap": {"dice_warm_up": 0.0},
    "shapes of boxes": {"box_shapes": False},
    "wider views of few images": {"zoom": 1.25, "intensity": 0.2},
    "approximation and separation": {"approximation_weight": 0.0, "separation_weight": 0.0},
    "inwardness": {"inwardness_weight": 0.0},
}
_WITH: dict[str, dict[str, Any]] = {
    "levels": {"multiscale_weight": 0.3},
    "teacher": {"consistency_weight": 0.3},
    "levels and teacher": {"multiscale_weight": 0.3, "consistency_weight": 0.3},
    "second decoder": {"second": "decoder", "second_weight": 0.3},
    "boxes and tags as bags": {"bag_weight": 0.1},
    "tag classifier": {"tag_weight": 0.1},
}

#: Ways to learn: title → settings; None is the pixel forest.
WAYS: dict[str, TrainConfig | None] = {
    "ours": TrainConfig(),
    "full supervision": TrainConfig(),
    "plain": PLAIN,
    "forest": None,
    **{name: TrainConfig.preset(name) for name in PRESETS},
    **{f"ours without {part}": TrainConfig(**settings) for part, settings in _WITHOUT.items()},
    **{f"ours with {part}": TrainConfig(**settings) for part, settings in _WITH.items()},
}


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is run: sets, minutes of marking, seeds, seconds of training, training and test images at most."""

    sets: tuple[str, ...]
    minutes: tuple[float, ...]
    seeds: int
    seconds: float
    images: int
    judges: int
    ways: tuple[str, ...]


#: The small one takes about 90 minutes on two processor cores; parts that are off by default are for the full one.
SIZES: dict[Size, Scope] = {
    "small": Scope(
        ("dsb2018_fluo_a", "glas_train"), (2, 10), 2, 30.0, 60, 20, tuple(w for w in WAYS if " with " not in w)
    ),
    "full": Scope(tuple(SETS), (1, 2, 5, 10, 20), 3, 60.0, 0, 0, tuple(WAYS)),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What to run, and where the lines go."""

    size: Size
    ways: Sequence[str]
    policy: Policy
    device: str
    threads: int
    folder: Path


def run(options: Options) -> None:
    """Make all runs that are not finished yet, seed by seed."""
    results.make_runs(
        options.folder / FILE,
        KEY,
        _grid(options),
        threads=options.threads,
        named=lambda key: f"{key['set']}, {key['minutes']:g} min, seed {key['seed']}, {key['way']}",
        measure=lambda key: learn(SETS[key["set"]], key, SETS[key["set"]].judged(key["judges"])),
        told=lambda found: f"{found['median']:.3f}",
    )


def _grid(options: Options) -> Iterator[dict[str, Any]]:
    scope = SIZES[options.size]
    device = results.machine(options.threads, options.device)["device"]
    for seed in range(scope.seeds):
        for name in scope.sets:
            for minutes in scope.minutes:
                for way in options.ways:
                    if way == "full supervision" and minutes != scope.minutes[0]:
                        continue  # it does not depend on the minutes
                    yield {
                        "set": name,
                        "way": way,
                        "policy": options.policy,
                        "minutes": 0.0 if way == "full supervision" else minutes,
                        "seed": seed,
                        "seconds": scope.seconds,
                        "device": device,
                        "threads": options.threads,
                        "images": scope.images,
                        "judges": scope.judges,
                        "revision": results.revision("benchmarks.study"),
                    }


def learn(source: ImageSet, key: dict[str, Any], judges: Sequence[Judge]) -> dict[str, Any]:
    """Mark, train and judge once."""
    with tempfile.TemporaryDirectory() as folder, _marked(Path(folder), source, key) as project:
        return taught(project, key, judges)


def taught(project: Project, key: dict[str, Any], judges: Sequence[Judge]) -> dict[str, Any]:
    """Learn from a project in one of the ways, and judge."""
    torch.set_num_threads(key["threads"])
    config = WAYS[key["way"]]
    if config is None:
        return _by_forest(project, key, judges)
    trainer = Trainer(project, config, device=key["device"], seed=key["seed"])
    try:
        for _ in train(trainer, [key["seconds"]], device=key["device"]):
            pass
        found = judged(trainer.predicted, judges, len(project.classes), trainer.least_px)
        return {"steps": trainer.steps, **found}
    finally:
        trainer.close()


def _marked(folder: Path, source: ImageSet, key: dict[str, Any]) -> Project:
    """Put the training images into a project, and the marks of so many minutes."""
    project = Project.create(folder / "study.weakseg", source.classes)
    names = source.names("train")
    order = np.random.default_rng(key["seed"]).permutation(len(names))[: key["images"] or None]
    pictures = [source.picture(names[i]) for i in order]
    for picture in pictures:
        image = project.add_image(picture.path, name=picture.name)
        if key["way"] == "full supervision":
            paint(image, picture.truth, picture.objects)
            image.coverage(None, "exact")
    if key["way"] != "full supervision":
        annotator = Annotator(source, seed=key["seed"])
        marks = annotator.spend(key["minutes"], key["policy"])
        for name, those in groupby(marks, key=attrgetter("image")):
            if name in project.images:
                apply(those, project.images[name])
    return project


def _by_forest(project: Project, key: dict[str, Any], judges: Sequence[Judge]) -> dict[str, Any]:
    """Let the forest learn from what is painted, background that follows from exact coverage included."""
    marked, sizes = [], list[tuple[int, int]]()
    for image in project.images.values():
        known = image.knowledge()
        sizes += sizes_of(known.seeds, known.complete, known.seed_class[known.seeds])
        labels = np.where(known.complete | known.painted, known.certain, 0).astype(np.uint8)
        if labels.any():
            nothing = np.zeros(labels.shape, np.int32)
            marked.append(Marked(Picture(image.name, image.path, labels, nothing), labels, nothing))
    forest = ForestBaseline(seed=key["seed"], threads=key["threads"])
    began_s = time.perf_counter()
    forest.fit(marked)
    return {
        "trained_s": round(time.perf_counter() - began_s, 1),
        **judged(lambda pixels: (forest.probabilities(pixels), None), judges, len(project.classes), least_told(sizes)),
    }


def judged(
    says: Callable[[NDArray[np.float32]], tuple[NDArray[np.floating[Any]], NDArray[np.float32] | None]],
    judges: Sequence[Judge],
    n_classes: int,
    least_px: Mapping[int, int],
) -> dict[str, Any]:
    """Compare classes and objects with the truth.

    Parameters
    ----------
    says : callable
        float32 (C, Y, X) → probabilities (K, Y, X), and the inwardness (Y, X) where it is known.
    judges : sequence of Judge
        Those whose truth is background only are left out.
    n_classes : int
    least_px : mapping of int to int
        Smaller objects are left out, by class id.

    Returns
    -------
    dict
        As of `judging.summed`, and ``ap50``: median over the images of the average precision of the objects.
    """
    shown = [item for item in judges if (item.truth > BACKGROUND).any()]
    found, precision = [], []
    for item in shown:
        classes, parted = told_apart(*says(item.pixels), least_px)
        found.append(classes)
        precision.append(compare(parted, item.objects)["ap"])
    return {**summed(found, shown, n_classes), "ap50": round(float(np.median(precision)), 4)}

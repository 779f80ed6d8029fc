"""What the papers asked, asked of this engine: short runs of each paper's own comparison.

``python -m benchmarks papers`` makes them. Networks, patches and optimiser are ours, the sets are the open ones
(volumes are learned as volumes) and training takes a minute, so that no number here repeats an experiment of a paper;
the question is whether what it found holds here too.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks import results
from benchmarks.arms import paint
from benchmarks.judging import Predict, dice
from benchmarks.sets import SETS, ImageSet, Judge, Picture
from benchmarks.simulated_marks import Rough, rough_masks
from benchmarks.training import predictor, train
from benchmarks.volumes import SETS as VOLUMES
from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.project import Project
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.engine.trainer import Trainer

FILE = "papers.jsonl"
KEY = ("question", "set", "way", "seed", "seconds", "device", "threads", "judges", "revision")
SECONDS, JUDGES = 60.0, 20

_FEW = 0.06  # of the images, where the others have boxes and tags


@dataclass(frozen=True, slots=True)
class Turn:
    """Which training image is marked: its place in the order of the seed, 0 … 1, and what chance is drawn from."""

    place: float
    classes: int
    rng: np.random.Generator


Marker = Callable[[ProjectImage, Picture, Turn], None]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to learn: what is marked and with which settings.

    Attributes
    ----------
    mark : callable
    config : TrainConfig
    share : float
        Of the seconds that are trained.
    only : int
        Learn this class against the rest only; 0 = all classes.
    """

    mark: Marker
    config: TrainConfig
    share: float = 1.0
    only: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """What a paper asked.

    Attributes
    ----------
    title : str
    source : str
    sets : tuple of str
    ways : dict of str to tuple of Way
        More than one: networks that answer together, each for its own class.
    """

    title: str
    source: str
    sets: tuple[str, ...]
    ways: dict[str, tuple[Way, ...]]


def exactly(image: ProjectImage, picture: Picture, turn: Turn) -> None:
    """Exact masks of everything."""
    paint(image, picture.truth, picture.objects)
    image.coverage(None, "exact")


def boxes_and_tags(image: ProjectImage, picture: Picture, turn: Turn) -> None:
    """Exact masks of 6 % of the images, boxes of all objects in half of the others, tags in the rest."""
    if turn.place < _FEW:
        exactly(image, picture, turn)
        return
    boxed = bool(turn.rng.integers(2))
    for class_id in range(BACKGROUND + 1, turn.classes + 1):
        image.tag(class_id, bool((picture.truth == class_id).any()))
        for at in ndimage.find_objects(np.where(picture.truth == class_id, picture.objects, 0)) if boxed else ():
            if at is not None:
                image.add_box(class_id, [s.start for s in at], [s.stop for s in at])
        if boxed:
            image.coverage(class_id, "all objects")


def exact_only(image: ProjectImage, picture: Picture, turn: Turn) -> None:
    """Exact masks of 6 % of the images, and nothing of the others."""
    if turn.place < _FEW:
        exactly(image, picture, turn)


def one_class(image: ProjectImage, picture: Picture, turn: Turn) -> None:
    """Exact masks of one class, by turns; nobody looked for the others."""
    class_id = _asked(picture)
    image.paint(np.where(picture.truth == class_id, class_id, 0).astype(np.uint8))
    image.coverage(class_id, "exact")


def one_class_for_all(image: ProjectImage, picture: Picture, turn: Turn) -> None:
    """Paint one class by turns, and take all the rest for background."""
    class_id = _asked(picture)
    image.paint(np.where(picture.truth == class_id, class_id, BACKGROUND).astype(np.uint8))
    image.coverage(None, "exact")


def class_alone(class_id: int) -> Marker:
    """Exact masks of one class against all the rest, in the images that are annotated for it."""

    def mark(image: ProjectImage, picture: Picture, turn: Turn) -> None:
        if _asked(picture) == class_id:
            image.paint((1 + (picture.truth == class_id)).astype(np.uint8))
            image.coverage(None, "exact")

    return mark


def half_wrong(image: ProjectImage, picture: Picture, turn: Turn) -> None:
    """Exact masks of 10 % of the images; in the others dilated masks, half of them forgotten or in another place."""
    if turn.place < 0.1:
        exactly(image, picture, turn)
        return
    rough = rough_masks(picture.objects, Rough("dilated", 2, corrupted=0.5), turn.rng)
    image.paint((1 + (rough > 0)).astype(np.uint8), trust="rough")


QUESTIONS: dict[str, Question] = {
    "levels": Question(
        "Boxes and tags beside a few exact masks; what coarse levels are taught",
        "Reiß et al., CVPR 2021",
        ("acdc_scribble", "vnc_sstem"),
        {
            "all masks exact": (Way(exactly, TrainConfig()),),
            "default": (Way(boxes_and_tags, TrainConfig()),),
            "exact masks only": (Way(exact_only, TrainConfig()),),
            "default without shapes of boxes": (Way(boxes_and_tags, TrainConfig(box_shapes=False)),),
            "default with bags": (Way(boxes_and_tags, TrainConfig(bag_weight=0.1)),),
            "preset, pooled targets": (Way(boxes_and_tags, TrainConfig.preset("every-annotation-counts")),),
            "preset, nearest targets": (
                Way(boxes_and_tags, TrainConfig.preset("every-annotation-counts", level_targets="nearest")),
            ),
            "default with levels, pooled targets": (Way(boxes_and_tags, TrainConfig(multiscale_weight=0.3)),),
            "default with levels, nearest targets": (
                Way(boxes_and_tags, TrainConfig(multiscale_weight=0.3, level_targets="nearest")),
            ),
            "default with levels and teacher": (
                Way(boxes_and_tags, TrainConfig(multiscale_weight=0.3, consistency_weight=0.3)),
            ),
        },
    ),
    "presence": Question(
        "Each image annotated for one class only",
        "Wong et al., arXiv:2008.07030",
        ("wbc_smear", "hippocampus3d_a"),
        {
            "one network, default": (Way(one_class, TrainConfig()),),
            "one network, preset": (Way(one_class, TrainConfig.preset("presence-masking")),),
            "unpainted is background": (Way(one_class_for_all, TrainConfig()),),
            "a network for each class, three times the time together": (
                Way(class_alone(2), TrainConfig(), share=1.5, only=2),
                Way(class_alone(3), TrainConfig(), share=1.5, only=3),
            ),
        },
    ),
    "trust": Question(
        "A tenth of the masks exact, the others dilated and half of these wrong",
        "Pan et al., arXiv:2203.05956",
        ("glas_train", "dsb2018_fluo_a"),
        {
            "all masks exact": (Way(exactly, TrainConfig()),),
            "default": (Way(half_wrong, TrainConfig()),),
            "default, all rough masks alike": (Way(half_wrong, TrainConfig(trust=False)),),
            "default, background not doubted": (Way(half_wrong, TrainConfig(doubt_background=False)),),
            "default, rough masks left out": (Way(half_wrong, TrainConfig(rough_weight=0.0)),),
            "preset": (Way(half_wrong, TrainConfig.preset("hybrid-supervision")),),
        },
    ),
}

#: All sets that some question is asked of.
SETS_ASKED = {name: (SETS | VOLUMES)[name] for question in QUESTIONS.values() for name in question.sets}


@dataclass(frozen=True, slots=True)
class Options:
    """What to run, and where the lines go."""

    questions: Sequence[str]
    sets: Sequence[str]
    seeds: int
    seconds: float
    device: str
    threads: int
    judges: int
    folder: Path


def run(options: Options) -> None:
    """Make all runs that are not finished yet, seed by seed."""
    results.make_runs(
        options.folder / FILE,
        KEY,
        _grid(options),
        threads=options.threads,
        named=lambda key: f"{key['question']}, {key['set']}, seed {key['seed']}, {key['way']}",
        measure=_measured,
        told=lambda found: f"Dice {found['dice']:.3f}",
    )


def _measured(key: dict[str, Any]) -> dict[str, Any]:
    image_set = SETS_ASKED[key["set"]]
    return answer(image_set, QUESTIONS[key["question"]].ways[key["way"]], key, image_set.judged(key["judges"]))


def _grid(options: Options) -> Iterator[dict[str, Any]]:
    device = results.machine(options.threads, options.device)["device"]
    for seed in range(options.seeds):
        for name in options.questions:
            for set_name in [asked for asked in QUESTIONS[name].sets if asked in options.sets]:
                for way in QUESTIONS[name].ways:
                    yield {
                        "question": name,
                        "set": set_name,
                        "way": way,
                        "seed": seed,
                        "seconds": options.seconds,
                        "device": device,
                        "threads": options.threads,
                        "judges": options.judges,
                        "revision": results.revision("benchmarks.papers"),
                    }


def answer(source: ImageSet, ways: Sequence[Way], key: dict[str, Any], judges: Sequence[Judge]) -> dict[str, Any]:
    """Mark, train and judge once: mean over the classes of the mean Dice and IoU of the test images."""
    torch.set_num_threads(key["threads"])
    tables, told = [], {}
    for way in ways:
        with tempfile.TemporaryDirectory() as folder, _marked(Path(folder), source, way, key["seed"]) as project:
            config = way.config.model_copy(update={"orientation": source.orientation})
            trainer = Trainer(project, config, device=key["device"], seed=key["seed"])
            try:
                for _ in train(trainer, [key["seconds"] * way.share], device=key["device"]):
                    pass
                tables.append(_table(predictor(trainer), judges, len(source.classes), way.only))
                told |= {"steps": trainer.steps, **_weights(trainer, project, source)}
            finally:
                trainer.close()
    table = np.concatenate(tables, 1)
    means = np.nanmean(table, 0), np.nanmean(table / (2 - table), 0)
    return {
        "dice": round(float(means[0].mean()), 4),
        "iou": round(float(means[1].mean()), 4),
        "classes": [round(float(value), 4) for value in means[0]],
        **told,
    }


def _marked(folder: Path, source: ImageSet, way: Way, seed: int) -> Project:
    """Put all training images into a project and mark them."""
    classes = ("background", source.classes[way.only - 1]) if way.only else source.classes
    names = source.names("train")
    project = Project.create(folder / "papers.weakseg", classes, ndim=source.picture(names[0]).truth.ndim)
    for place, i in enumerate(np.random.default_rng(seed).permutation(len(names))):
        picture = source.picture(names[i])
        image = project.add_image(picture.path, name=picture.name)
        rng = np.random.default_rng([seed, place])
        way.mark(image, picture, Turn(place / len(names), len(source.classes), rng))
    return project


def _table(predict: Predict, judges: Sequence[Judge], n_classes: int, only: int) -> NDArray[np.float64]:
    """Dice of each test image and class, nan where a class is in neither."""
    if only:
        return np.stack([dice(predict(j.pixels), (1 + (j.truth == only)).astype(np.uint8), 2) for j in judges])
    return np.stack([dice(predict(j.pixels), j.truth, n_classes) for j in judges])


def _weights(trainer: Trainer, project: Project, source: ImageSet) -> dict[str, Any]:
    """Mean learned weight of rough objects that lie on an object for the most part, and of those that do not."""
    weights = {(claim.image, claim.start, claim.pixels): claim.weight for claim in trainer.claims()}
    right, wrong = [], []
    for image in project.images.values():
        rough = image.annotations.claims.get("rough")
        if rough is None:
            continue
        parts, _ = ndimage.label(np.asarray(rough[...]) > BACKGROUND, np.ones((3,) * project.ndim))
        truth = source.picture(image.name).truth
        for i, at in enumerate(ndimage.find_objects(parts), 1):
            mine = parts[at] == i
            weight = weights.get((image.name, tuple(int(s.start) for s in at), int(mine.sum())))
            if weight is not None:
                (right if (truth[at][mine] > BACKGROUND).mean() > 0.5 else wrong).append(weight)
    told = {}
    for name, found in (("right", right), ("wrong", wrong)):
        if found:
            told |= {f"{name}_weight": round(float(np.mean(found)), 3), f"{name}_n": len(found)}
    return told


def _asked(picture: Picture) -> int:
    """One of two classes that an image is annotated for; by its name, so that it is the same for all ways."""
    return BACKGROUND + 1 + sum(picture.name.encode()) % 2

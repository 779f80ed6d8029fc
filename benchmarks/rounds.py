"""Active learning in rounds with an oracle, after Belharbi et al., WACV 2021 (arXiv:2010.04889).

``python -m benchmarks rounds`` makes the runs: glands with a tag for each image (benign or malignant). A classifier is
trained on the tags of all images. In each round a network starts from the classifier's weights and learns from the
exact masks that there are; what it then predicts of the other images are the pseudo-masks of the next round; the oracle
gives the exact masks of a few more images.

As published: random choice of images, balanced over the tags; binary pseudo-masks of small weight (0.1); no network
starts from the one of the round before. Unlike it: encoder and classifier are trained on with the rest instead of being
frozen; pseudo-masks come from the larger probability, for a threshold would need masks of its own; no distance decides
which images get one, for with its published setting all do. The Dice is that of glands of either kind.
"""

import csv
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import results
from benchmarks.arms import paint
from benchmarks.judging import Predict, dice
from benchmarks.sets import SETS, Judge, Picture
from benchmarks.training import predictor, train
from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.project import Project
from napari_weakseg.core.regions import whole
from napari_weakseg.engine.bags import tag_loss
from napari_weakseg.engine.device import pick, plan_for
from napari_weakseg.engine.networks import UNet
from napari_weakseg.engine.queries import balanced_random
from napari_weakseg.engine.trainer import Trainer

FILE = "rounds.jsonl"
KEY = ("way", "seed", "seconds", "rounds", "per_round", "device", "threads", "judges", "revision")
SET = "glas_train"
CLASSES = ("background", "benign", "malignant")
SECONDS, JUDGES, ROUNDS, PER_ROUND = 30.0, 25, 4, 4
_THRESHOLDS = np.arange(0.05, 1.0, 0.01)
_PATCH_PX, _BATCH = 128, 8
_PUBLISHED = TrainConfig.preset("tags-and-masks")


@dataclass(frozen=True, slots=True)
class Way:
    """A way to learn in rounds.

    Attributes
    ----------
    config : TrainConfig
    pseudo : bool
        Whether pseudo-masks of one round are claims of the next.
    restart : bool
        Whether each round starts from the classifier's weights.
    asks : bool
        Whether the network says which images to annotate next; else they are drawn.
    """

    config: TrainConfig
    pseudo: bool = False
    restart: bool = False
    asks: bool = False


#: None: the classifier's activation maps, for tags only.
WAYS: dict[str, Way | None] = {
    "tags only": None,
    "published, random masks": Way(_PUBLISHED, restart=True),
    "published, random masks and pseudo-masks": Way(_PUBLISHED, pseudo=True, restart=True),
    "default, random masks": Way(TrainConfig()),
    "default, masks it asks for": Way(TrainConfig(), asks=True),
    "all masks exact": Way(_PUBLISHED, restart=True),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What to run, and where the lines go."""

    seeds: int
    seconds: float
    device: str
    threads: int
    judges: int
    folder: Path


@dataclass(slots=True)
class Images:
    """The training images with their tags.

    Attributes
    ----------
    pictures : list of Picture
        Class ids of the masks by the tag of the image.
    pixels : list of float32 array, (C, Y, X)
    tags : int array, (n,)
        Class id of each image.
    """

    pictures: list[Picture]
    pixels: list[NDArray[np.float32]]
    tags: NDArray[np.int64]
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = [picture.name for picture in self.pictures]


def run(options: Options) -> None:
    """Make all runs that are not finished yet, seed by seed."""
    images, judges = read(SETS[SET].names("train")), SETS[SET].judged(options.judges)

    def measured(key: dict[str, Any]) -> dict[str, Any]:
        scores = learn(images, WAYS[key["way"]], key, judges)
        return {"dice": [round(score, 4) for score in scores], "mean": round(float(np.mean(scores)), 4)}

    results.make_runs(
        options.folder / FILE,
        KEY,
        _grid(options),
        threads=options.threads,
        named=lambda key: f"rounds, seed {key['seed']}, {key['way']}",
        measure=measured,
        told=lambda found: ", ".join(f"{score:.3f}" for score in found["dice"]),
    )


def _grid(options: Options) -> Iterator[dict[str, Any]]:
    for seed in range(options.seeds):
        for way in WAYS:
            yield {
                "way": way,
                "seed": seed,
                "seconds": options.seconds,
                "rounds": ROUNDS,
                "per_round": PER_ROUND,
                "device": results.machine(options.threads, options.device)["device"],
                "threads": options.threads,
                "judges": options.judges,
                "revision": results.revision("benchmarks.rounds"),
            }


def read(names: Sequence[str]) -> Images:
    """Read images and tags."""
    source = SETS[SET]
    with (source.folder / "tags.csv").open(encoding="utf-8") as stream:
        said = {row["name"]: row["tag"] for row in csv.DictReader(stream)}
    tags = [1 + CLASSES.index(said[name]) for name in names]
    pictures, pixels = [], []
    for name, tag in zip(names, tags, strict=True):
        picture = source.picture(name)
        truth = np.where(picture.objects > 0, tag, BACKGROUND).astype(np.uint8)
        pictures.append(Picture(name, picture.path, truth, picture.objects))
        opened = ImageSource.open(picture.path)
        pixels.append(opened.normalised(whole(opened.label_shape)))
        opened.close()
    return Images(pictures, pixels, np.array(tags))


def learn(images: Images, way: Way | None, key: dict[str, Any], judges: Sequence[Judge]) -> list[float]:
    """Mean Dice of the test images after each round."""
    torch.set_num_threads(key["threads"])
    rng = np.random.default_rng(key["seed"])
    n = len(images.names)
    everything = key["way"] == "all masks exact"
    drawn = [int(i) for i in balanced_random(images.tags.tolist(), n, rng=rng)]
    if way is None or way.restart:
        classifier = classify(images, key["seconds"], key["seed"], key["device"])
    if way is None:
        maps = _maps(classifier, images, drawn[: key["per_round"]], key["device"])
        return [_score(maps, judges)]
    scores: list[float] = []
    exact = drawn if everything else drawn[: key["per_round"]]
    pseudo: dict[str, NDArray[np.uint8]] = {}
    for _ in range(1 if everything else key["rounds"]):
        with tempfile.TemporaryDirectory() as folder, _marked(Path(folder), images, exact, pseudo) as project:
            trainer = Trainer(project, way.config, device=key["device"], seed=key["seed"])
            try:
                if way.restart:
                    trainer.learner.student.load_state_dict(classifier.state_dict())
                for _ in train(trainer, [key["seconds"]], device=key["device"]):
                    pass
                predict = predictor(trainer)
                scores.append(_score(predict, judges))
                others = [i for i in range(n) if i not in exact]
                if way.pseudo:
                    pseudo = {images.names[i]: predict(images.pixels[i]) for i in others}
                exact = exact + _next(trainer, images, way, exact, drawn, key["per_round"])
            finally:
                trainer.close()
    return scores


def _next(
    trainer: Trainer, images: Images, way: Way, exact: Sequence[int], drawn: Sequence[int], count: int
) -> list[int]:
    """Images whose masks the oracle gives next."""
    left = [i for i in drawn if i not in exact]
    if not way.asks:
        return left[:count]
    asking = trainer.suggest(len(images.names))
    try:
        while True:
            next(asking)
    except StopIteration as finished:
        wanted = [images.names.index(suggestion.image) for suggestion in finished.value]
    new = list(dict.fromkeys(i for i in wanted if i in left))
    return [*new, *(i for i in left if i not in new)][:count]


def _marked(folder: Path, images: Images, exact: Sequence[int], pseudo: dict[str, NDArray[np.uint8]]) -> Project:
    """All images with their tags, some with exact masks, others with pseudo-masks."""
    project = Project.create(folder / "rounds.weakseg", CLASSES)
    for i, picture in enumerate(images.pictures):
        image = project.add_image(picture.path, name=picture.name)
        for class_id in range(BACKGROUND + 1, len(CLASSES) + 1):
            image.tag(class_id, class_id == images.tags[i])
        if i in exact:
            paint(image, picture.truth, picture.objects)
            image.coverage(None, "exact")
        elif picture.name in pseudo:
            image.paint(pseudo[picture.name], trust="machine")
    return project


def classify(images: Images, seconds: float, seed: int, device: str) -> UNet:
    """Train the classifier of tags alone."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    on = pick(device)
    network = UNet(2, len(images.pixels[0]), len(CLASSES), width=plan_for(on, 2).width, heads={"tags"}).to(on)
    network.standardise([torch.from_numpy(pixels).to(on) for pixels in images.pixels[:8]])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    known = torch.tensor([[0.0, 1.0, 1.0]], device=on).expand(_BATCH, -1)
    network.train()
    ends_s = time.perf_counter() + seconds
    while time.perf_counter() < ends_s:
        drawn = rng.integers(len(images.pixels), size=_BATCH)
        batch = torch.stack([_patch(images.pixels[i], rng) for i in drawn]).to(on)
        present = F.one_hot(torch.from_numpy(images.tags[drawn] - 1), len(CLASSES)).float().to(on)
        maps = network(batch).class_maps
        assert maps is not None
        loss = tag_loss(maps, present, known)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return network.eval()


def _patch(pixels: NDArray[np.float32], rng: np.random.Generator) -> Tensor:
    starts = [int(rng.integers(size - _PATCH_PX + 1)) for size in pixels.shape[1:]]
    y, x = (slice(a, a + _PATCH_PX) for a in starts)
    patch = np.rot90(pixels[:, y, x], int(rng.integers(4)), (1, 2))
    return torch.from_numpy(np.ascontiguousarray(patch))


def _maps(network: UNet, images: Images, exact: Sequence[int], device: str) -> Predict:
    """Glands where the strongest activation map exceeds a threshold: the best for a few exact masks."""
    on = pick(device)

    @torch.inference_mode()
    def strength(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        multiple = network.multiple
        missing = [(0, -size % multiple) for size in pixels.shape[1:]]
        padded = np.pad(pixels, [(0, 0), *missing], mode="symmetric")
        maps = network(torch.from_numpy(padded)[None].to(on)).class_maps
        assert maps is not None
        full = F.interpolate(maps.float(), size=padded.shape[1:], mode="bilinear", align_corners=False)
        shown = full[0, BACKGROUND:].sigmoid().amax(0)[: pixels.shape[1], : pixels.shape[2]]
        return np.asarray(shown.cpu().numpy(), np.float32)

    found = [(strength(images.pixels[i]), images.pictures[i].truth > BACKGROUND) for i in exact]
    best = max(_THRESHOLDS, key=lambda t: float(np.mean([_iou(map_ > t, truth) for map_, truth in found])))
    return lambda pixels: (1 + (strength(pixels) > best)).astype(np.uint8)


def _iou(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((found & truth).sum()) / max(1.0, float((found | truth).sum()))


def _score(predict: Predict, judges: Sequence[Judge]) -> float:
    """Mean Dice of glands, of whichever kind."""
    found = [dice((1 + (predict(j.pixels) > BACKGROUND)).astype(np.uint8), j.truth, 2) for j in judges]
    return float(np.nanmean(found))

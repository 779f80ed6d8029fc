"""Objects learned from rough marks: how many are found, beside connected components of the same prediction."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks import results
from benchmarks.arms import ARMS, make_project
from benchmarks.cells import NONE
from benchmarks.growth import overlap
from benchmarks.marks import annotate
from benchmarks.quality import Options
from benchmarks.sets import SETS, ImageSet
from benchmarks.training import train
from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.regions import whole
from napari_weakseg.engine.objects import fragments_of
from napari_weakseg.engine.trainer import Trainer

FILE = "objects.jsonl"
KEY = ("set", "arm", "exact", "seed", "seconds", "device", "threads", "images", "judges", "revision")
SETS_OF_OBJECTS = ("dsb2018_fluo_a", "usiigaci_phase", "dsb2018_bf_cytology")
SECONDS = 60.0
EXACT = 3
_IOU = 0.5


def compare(found: NDArray[np.int32], true: NDArray[np.int32]) -> dict[str, float]:
    """Match objects by more than half of their union.

    Parameters
    ----------
    found, true : int32 array, (*S)
        Object ids, 0 = background.

    Returns
    -------
    dict
        ``ap``: matched objects among all that were found, true or both (average precision at IoU 0.5 as in the 2018
        Data Science Bowl). ``merged``: share of the true objects that lie for the most part in a found one with
        another.
    """
    n, m = int(found.max()) + 1, int(true.max()) + 1
    shared = overlap(found, true, n, m)
    of_found, of_true = shared.sum(1), shared.sum(0)
    here, there = of_found[1:] > 0, of_true[1:] > 0
    iou = shared[1:, 1:] / np.maximum(1, of_found[1:, None] + of_true[None, 1:] - shared[1:, 1:])
    matched = int((iou > _IOU).sum())
    inside = shared[1:, 1:] > of_true[1:] / 2
    together = inside[inside.sum(1) > 1].sum() if inside.size else 0
    return {
        "ap": matched / max(1, int(here.sum()) + int(there.sum()) - matched),
        "merged": float(together) / max(1, int(there.sum())),
    }


def run(options: Options) -> None:
    """Make all runs that are not finished yet."""
    results.make_runs(
        options.folder / FILE,
        KEY,
        _grid(options),
        threads=options.threads,
        named=lambda key: f"objects of {key['set']}, {key['arm']}, seed {key['seed']}",
        measure=_measured,
        told=lambda x: f"AP {x['objects']['ap']:.3f}, connected components {x['components']['ap']:.3f}",
    )


def _grid(options: Options) -> Iterator[dict[str, Any]]:
    common = options.common("benchmarks.objects")
    for seed in range(options.seeds):
        for name in options.sets:
            for arm in ("ours", "full"):
                exact = EXACT if arm == "ours" else None
                yield {"set": name, "arm": arm, "exact": exact, "seed": seed, **common}


def _measured(key: Mapping[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(key["threads"])
    image_set, config = SETS[key["set"]], ARMS[key["arm"]].config
    assert config is not None
    marked = annotate(image_set, seed=key["seed"], exact=key["exact"], limit=key["images"])
    with (
        tempfile.TemporaryDirectory() as folder,
        make_project(Path(folder) / "run.weakseg", image_set, marked, coverage=True) as project,
    ):
        trainer = Trainer(project, config, device=key["device"], seed=key["seed"])
        for _ in train(trainer, [key["seconds"]], device=key["device"]):
            pass
        judged = [_judged(trainer, pixels, true) for pixels, true in _pictures(image_set, key["judges"])]
        steps = trainer.steps
        trainer.close()
    summed = {
        way: {what: round(float(np.median([image[way][what] for image in judged])), 4) for what in ("ap", "merged")}
        | {"mean": round(float(np.mean([image[way]["ap"] for image in judged])), 4)}
        for way in ("objects", "components")
    }
    return {"steps": steps, "pictures": len(judged), **summed}


def _judged(trainer: Trainer, pixels: NDArray[np.float32], true: NDArray[np.int32]) -> dict[str, dict[str, float]]:
    classes, parted = told_apart(*trainer.predicted(pixels), trainer.least_px)
    components = ndimage.label(classes > BACKGROUND)[0].astype(np.int32)
    return {"objects": compare(parted, true), "components": compare(components, true)}


def told_apart(
    probabilities: NDArray[np.floating[Any]], inwardness: NDArray[np.float32] | None, least_px: Mapping[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Class ids and object ids, (*S), of a prediction, (K, *S); objects of each class have at least so many pixels."""
    classes, certainty = np.asarray(probabilities.argmax(0) + 1, np.uint8), probabilities.max(0)
    return classes, fragments_of(classes, certainty=certainty, inwardness=inwardness, least_px=least_px).objects()


def _pictures(image_set: ImageSet, limit: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]:
    """The test images that judge, with their objects."""
    for picture in image_set.judging(limit):
        if picture.objects.any():
            source = ImageSource.open(picture.path)
            yield source.normalised(whole(source.label_shape)), picture.objects
            source.close()


def section(lines: Sequence[Mapping[str, Any]]) -> str:
    """Part of the page of results."""
    parts = [_WORDS]
    chosen = results.newest(
        [line for line in lines if not (line["images"] or line["judges"])], ("set", "arm", "seed", "device", "seconds")
    )
    groups = sorted({(name, device, seconds) for name, _, _, device, seconds in chosen})
    if not groups:
        return "\n".join([*parts, "Not measured yet.\n"])
    rows = [
        "|  | connected components | objects | all masks exact | of all exact | merged |",
        "| --- |" + " ---: |" * 5,
    ]
    for name, device, seconds in groups:
        ours, full = (
            [x for (n, a, _, d, s), x in chosen.items() if (n, a, d, s) == (name, arm, device, seconds)]
            for arm in ("ours", "full")
        )
        if not ours:
            continue
        ap, parts_ap, merged = (
            float(np.median([line[way][what] for line in ours]))
            for way, what in (("objects", "ap"), ("components", "ap"), ("objects", "merged"))
        )
        ceiling = float(np.median([line["objects"]["ap"] for line in full])) if full else None
        share = f"{100 * ap / ceiling:.0f} %" if ceiling else NONE
        told = [NONE if ceiling is None else f"{ceiling:.3f}", share]
        title = f"{SETS[name].title} (`{name}`), {device}, {seconds:g} s, {len(ours)} seed{'s' * (len(ours) > 1)}"
        rows.append(f"| {title} | {parts_ap:.3f} | **{ap:.3f}** | {' | '.join(told)} | {100 * merged:.1f} % |")
    commits = results.commits(chosen.values())
    return "\n".join([*parts, *rows, "", f"Measured at {commits}, not later.", ""])


_WORDS = f"""## Objects

From a blob in every object and {EXACT} exact images, as above: median over the test images of the average precision at
an intersection over union of 0.5 (matched objects among all that were found, true or both), of the objects that are
told apart and of the connected components of the same prediction; the same from the exact masks of all images; and the
share of true objects that ended up in one with another. No slider was touched.
"""

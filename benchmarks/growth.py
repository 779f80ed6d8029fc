"""How blobs grow: after every round, the masks they have grown to beside the true objects."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import results
from benchmarks.arms import ARMS, make_project
from benchmarks.marks import Marked, annotate
from benchmarks.quality import Options
from benchmarks.sets import SETS
from benchmarks.training import Clock
from napari_weakseg.engine.growth import GrowthState
from napari_weakseg.engine.trainer import Trainer

FILE = "growth.jsonl"
KEY = ("set", "exact", "seed", "seconds", "device", "threads", "images", "revision")
SETS_GROWN = ("dsb2018_fluo_a",)
SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Masks:
    """How the masks of one image compare with its objects.

    Attributes
    ----------
    iou : float64 array, (n,)
        Of each marked object.
    own, added_own, grown, added, objects : int
        Pixels: grown over the right object, and of these outside the blobs; grown over anything, and of these outside
        the blobs; of all true objects.
    """

    iou: NDArray[np.float64]
    own: int
    added_own: int
    grown: int
    added: int
    objects: int


@dataclass(slots=True)
class History:
    """The masks of an image after each of its rounds; entry 0 is the blobs."""

    seen: GrowthState
    rounds: dict[int, Masks] = field(default_factory=dict)

    def after(self, number: int) -> Masks:
        """Masks after so many rounds, or as they were when the image stopped before."""
        return self.rounds[max(at for at in self.rounds if at <= number)]


def compare(state: GrowthState, objects: NDArray[np.int32]) -> Masks:
    """Compare grown masks with the true objects (int32, same shape)."""
    n, m = len(state.seed_class), int(objects.max()) + 1
    shared = overlap(state.ids, objects, n, m)
    under_blob = overlap(state.seeds, objects, n, m)
    own = under_blob[1:].argmax(1)
    blobs = np.arange(1, n)
    hits = shared[blobs, own] * (own > 0)
    union = shared[1:].sum(1) + shared[:, own].sum(0) - hits
    grown, painted = int(shared[1:].sum()), int(under_blob[1:].sum())
    right = int((under_blob[blobs, own] * (own > 0)).sum())
    return Masks(
        hits / np.maximum(1, union),
        own=int(hits.sum()),
        added_own=int(hits.sum()) - right,
        grown=grown,
        added=grown - painted,
        objects=int((objects > 0).sum()),
    )


def overlap(ids: NDArray[np.int32], objects: NDArray[np.int32], n: int, m: int) -> NDArray[np.int64]:
    """Pixels that each id shares with each object, (n, m)."""
    joint = ids.ravel().astype(np.int64) * m + objects.ravel()
    return np.bincount(joint, minlength=n * m).reshape(n, m)


def run(options: Options) -> None:
    """Make all runs that are not finished yet."""
    results.make_runs(
        options.folder / FILE,
        KEY,
        _grid(options),
        threads=options.threads,
        named=lambda key: f"growth on {key['set']}, {key['exact']} exact, seed {key['seed']}",
        measure=_measured,
        told=lambda found: ", ".join(f"{p['iou']:.3f}" for p in found["rounds"]),
    )


def _grid(options: Options) -> Iterator[dict[str, Any]]:
    device = results.machine(options.threads, options.device)["device"]
    for seed in range(options.seeds):
        for name in options.sets:
            for exact in options.exact:
                yield {
                    "set": name,
                    "exact": exact,
                    "seed": seed,
                    "seconds": options.seconds,
                    "device": device,
                    "threads": options.threads,
                    "images": options.images,
                    "revision": results.revision("benchmarks.growth"),
                }


def _measured(key: Mapping[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(key["threads"])
    image_set, config = SETS[key["set"]], ARMS["ours"].config
    assert config is not None
    marked = {
        item.picture.name: item
        for item in annotate(image_set, seed=key["seed"], exact=key["exact"], limit=key["images"])
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        make_project(Path(folder) / "run.weakseg", image_set, marked.values(), coverage=True) as project,
    ):
        trainer = Trainer(project, config, device=key["device"], seed=key["seed"])
        histories: dict[str, History] = {}
        clock = Clock()
        for _ in trainer.prepare():
            pass
        _look(trainer, marked, histories)
        while clock.seconds < key["seconds"]:
            trainer.step()
            before = clock.seconds
            _look(trainer, marked, histories)
            clock.leave_out(clock.seconds - before)
        steps = trainer.steps
        trainer.close()
    return {"steps": steps, **_summed_up(list(histories.values()))}


def _look(trainer: Trainer, marked: Mapping[str, Marked], histories: dict[str, History]) -> None:
    """Note the masks that have changed since the last look."""
    for block in trainer._store.blocks:
        state, name = block.growth, block.place.image
        if state is None or block.exact or (name in histories and histories[name].seen is state):
            continue
        objects = marked[name].picture.objects[block.place.region]
        history = histories.setdefault(name, History(state))
        history.seen = state
        history.rounds = {number: masks for number, masks in history.rounds.items() if number < state.round}
        history.rounds[state.round] = compare(state, objects)


def _summed_up(histories: list[History]) -> dict[str, Any]:
    """Mean over all objects of the images that grew; an image that stops keeps its last masks."""
    grew = [history for history in histories if max(history.rounds) > 0]
    rounds = []
    for number in range(1 + max((max(history.rounds) for history in grew), default=0)):
        masks = [history.after(number) for history in grew or histories]
        grown, added = sum(item.grown for item in masks), sum(item.added for item in masks)
        rounds.append(
            {
                "round": number,
                "images": sum(number in history.rounds for history in grew or histories),
                "iou": round(float(np.concatenate([item.iou for item in masks]).mean()), 4),
                "precision": round(sum(item.own for item in masks) / max(1, grown), 4),
                "precision_added": round(sum(item.added_own for item in masks) / added, 4) if added else None,
                "recall": round(sum(item.own for item in masks) / max(1, sum(item.objects for item in masks)), 4),
            }
        )
    return {"images_grown": len(grew), "images_rough": len(histories), "rounds": rounds}

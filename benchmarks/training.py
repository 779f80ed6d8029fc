"""Training runs on a clock that counts preparing and training, and stands still while somebody judges."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.arms import Arm, make_project
from benchmarks.judging import Predict, judge
from benchmarks.marks import annotate
from benchmarks.sets import ImageSet, Judge
from napari_weakseg.engine.trainer import Trainer

#: Times at which a run is judged, where it is that long; its end comes beside them.
TIMES_S = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


@dataclass(frozen=True, slots=True)
class Run:
    """One training run.

    Attributes
    ----------
    exact : int or None
        Exact images beside the rough ones; None = all.
    seed : int
    seconds : float
    device : str
    threads : int
    images : int
        Training images at most; 0 = all.
    """

    exact: int | None
    seed: int
    seconds: float
    device: str
    threads: int
    images: int = 0


class Clock:
    """Seconds since the start, the time inside ``with clock.held():`` left out."""

    def __init__(self) -> None:
        self._began_s = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._began_s

    def leave_out(self, seconds: float) -> None:
        """Take time off again."""
        self._began_s += seconds


def train(
    trainer: Trainer, times_s: Sequence[float], *, device: str, first: Callable[[Trainer], None] = lambda trainer: None
) -> Iterator[tuple[float, float]]:
    """Prepare and train until the last of the times; what `first` does between the two is not counted.

    Yields
    ------
    time, seconds : float
        Each of the times when it has come, and the seconds trained indeed (a step is never cut short). What the caller
        does before asking for the next is not counted.
    """
    clock = Clock()
    for _ in trainer.prepare():
        pass
    prepared = clock.seconds
    first(trainer)
    clock.leave_out(clock.seconds - prepared)
    for at in times_s:
        while clock.seconds < at:
            trainer.step()
        _wait_for(device)
        seconds = clock.seconds
        yield at, seconds
        clock.leave_out(clock.seconds - seconds)


def _wait_for(device: str) -> None:
    if torch.cuda.is_available() and device != "cpu":
        torch.cuda.synchronize()


def predictor(trainer: Trainer) -> Predict:
    """Class ids that a trainer predicts."""

    def predict(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
        return np.asarray(trainer.probabilities(pixels).argmax(0) + 1, np.uint8)

    return predict


def run_network(
    image_set: ImageSet,
    arm: Arm,
    run: Run,
    judges: Sequence[Judge],
    *,
    first: Callable[[Trainer], None] = lambda trainer: None,
) -> dict[str, Any]:
    """Train a network in one of the ways and judge it on the way; `first` as of `train`."""
    assert arm.config is not None
    torch.set_num_threads(run.threads)
    marked = annotate(image_set, seed=run.seed, exact=run.exact, limit=run.images)
    with (
        tempfile.TemporaryDirectory() as folder,
        make_project(Path(folder) / "run.weakseg", image_set, marked, coverage=arm.coverage) as project,
    ):
        trainer = Trainer(project, arm.config, device=run.device, seed=run.seed)
        points = []
        times = [*(at for at in TIMES_S if at < run.seconds), run.seconds]
        for at, seconds in train(trainer, times, device=run.device, first=first):
            point = {"at": at, "seconds": round(seconds, 2), "steps": trainer.steps}
            points.append(point | judge(predictor(trainer), judges, len(image_set.classes)))
        parameters = sum(weights.numel() for weights in trainer.learner.student.parameters())
        trainer.close()
    return {"points": points, "parameters": parameters}

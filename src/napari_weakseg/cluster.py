"""Predict on many machines: a dask scheduler hands pieces of an image to its workers, and the store is written here.

Workers need the folder of the project and the image files under the same paths, and this package in the same version.
"""

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.errors import TrainingError
from napari_weakseg.core.guests import add_guest
from napari_weakseg.core.prediction_store import PredictionStore
from napari_weakseg.core.project import Project
from napari_weakseg.engine.factory import checkpoints_of, trainer_factory
from napari_weakseg.engine.messages import Frame
from napari_weakseg.engine.protocol import TrainerProtocol
from napari_weakseg.engine.showing import for_store
from napari_weakseg.engine.stored_objects import find_stored_objects

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["connected", "predict_on"]

_TOGETHER = 16  # tiles that a worker predicts at a time: neighbours share windows
_AHEAD = 3  # such pieces of work in flight, for each worker
_WAIT = "30s"  # for a scheduler to answer
_busy = threading.Lock()  # a worker has one network, whatever its number of threads

Start = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Job:
    """What a worker predicts, and with what; workers open the project anew for another one.

    Attributes
    ----------
    project : str
        Its folder.
    image, file : str
        Name and path of the image, which may be no part of the project.
    state : str
        Folder of what was learned.
    saved_ns : int
        When it was: another training may have saved its state under the same name since.
    device : str
    threads : int or None
    """

    project: str
    image: str
    file: str
    state: str
    saved_ns: int
    device: str
    threads: int | None


def connected(address: str) -> "Client":
    """Connect to a dask scheduler.

    Raises
    ------
    TrainingError
        If dask.distributed is not installed, or nothing answers there.
    """
    try:
        from distributed import Client
    except ImportError:
        raise TrainingError(
            "Predicting on several machines needs dask.distributed, which is not installed.",
            "Install it here and on every worker: pip install 'napari-weakseg[cluster]'.",
        ) from None
    try:
        return Client(address, timeout=_WAIT)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"No dask scheduler answers at “{address}”.",
            "Start one with “dask scheduler”, and give the address that it prints.",
            str(error),
        ) from error


def predict_on(
    client: "Client",
    project: Project,
    name: str,
    path: Path | str,
    *,
    objects: bool = False,
    split: float | None = None,
    min_px: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    on_progress: Callable[[str, float], None] = lambda doing, share: None,
) -> Path:
    """Predict all frames of an image into an OME-Zarr folder, as `Session.predict_to`, on the workers of a cluster.

    The result is the same. What is written stays when this is stopped or a worker dies; the same call, or
    `Session.predict_to`, goes on from there.

    Parameters
    ----------
    client : distributed.Client
    project : Project
        Trained.
    name : str
        Of the image.
    path : path
        Folder of the store.
    objects : bool
        Tell the objects apart too: here, when the workers have predicted all.
    split, min_px
        As of `Session.predict_to`.
    device : str
        That each worker predicts on.
    threads : int, optional
        That the network uses on each worker.
    on_progress : callable
        Takes what is being done, in words, and the share of it that is done, 0 to 1.

    Returns
    -------
    Path

    Raises
    ------
    TrainingError
        Nothing has been learned yet, there is no worker, or one of them failed.
    ProjectError
        There is something else at `path`, or a worker cannot open the project.
    StorageError
        If the disk refuses.
    """
    image, states = project.image(name), checkpoints_of(project, None).usable()
    if not states:
        raise TrainingError(
            "Nothing has been learned yet, so there is nothing to predict with.", "Mark some objects and train first."
        )
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    if not workers:
        raise TrainingError("The dask scheduler has no workers.", "Start some: dask worker ADDRESS --nthreads 1.")
    project.flush()
    folder, state = str(project.path.resolve()), str(states[0].resolve())
    saved_ns = states[0].stat().st_mtime_ns
    job = _Job(folder, name, str(image.path.resolve()), state, saved_ns, device, threads)
    made_by, least_px, starts = _result(client.submit(_looked_up, job, pure=False))
    store = PredictionStore(Path(path), image, project.ndim, made_by)
    tasks = (
        client.submit(_predicted, job, made_by, frame, group, pure=False)
        for frame in image.frames()
        for group in _groups([start for start in starts if start not in store.done(frame)])
    )
    for frame, tiles in _as_they_come(tasks, _AHEAD * workers):
        for start, predicted in tiles:
            store.write(frame, start, *predicted)
        on_progress(f"Predicting “{name}”", store.share)
    for share in find_stored_objects(project, image, store, least_px, split=split, min_px=min_px) if objects else ():
        on_progress(f"Telling the objects of “{name}” apart", share)
    return store.path


def _groups(starts: Sequence[Start]) -> Iterator[tuple[Start, ...]]:
    for i in range(0, len(starts), _TOGETHER):
        yield tuple(starts[i : i + _TOGETHER])


def _as_they_come(tasks: Iterator[Any], ahead: int) -> Iterator[Any]:
    """Give results as they are ready, with only so many tasks in flight; those left at the end are cancelled."""
    from distributed import as_completed

    flying = as_completed(islice(tasks, ahead))
    try:
        for future in flying:
            yield _result(future)
            for another in islice(tasks, 1):
                flying.add(another)
    finally:
        for future in list(flying.futures):
            future.cancel()


def _result(future: Any) -> Any:
    """Wait for the result of a task; tell in words where its worker was lost."""
    from distributed import CancelledError, KilledWorker

    try:
        return future.result()
    except (KilledWorker, CancelledError) as error:
        raise TrainingError(
            "A worker of the cluster was lost again and again, most likely for want of memory.",
            "Give the workers more memory, or start fewer on each machine; what was predicted is kept.",
            str(error),
        ) from error


# -- on the workers ------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _trainer(job: _Job) -> tuple[TrainerProtocol, str]:
    """Make a network of what was learned, with its fingerprint; kept for the next piece."""
    project = Project.open(job.project, read_only=True)
    if job.image not in project.images:
        add_guest(project, Path(job.file), job.image)
    trainer = trainer_factory(project, None, device=job.device, seed=0, threads=job.threads)()
    trainer.load(Path(job.state))
    return trainer, trainer.fingerprint


def _looked_up(job: _Job) -> tuple[str, dict[int, int], list[Start]]:
    """Fingerprint of what is predicted with, least pixels of objects, and where the tiles of a frame begin."""
    with _busy:
        trainer, made_by = _trainer(job)
        return made_by, trainer.least_px, trainer.tile_starts(job.image)


def _predicted(
    job: _Job, made_by: str, frame: Frame, group: tuple[Start, ...]
) -> tuple[Frame, list[tuple[Start, tuple[NDArray[np.uint8], ...]]]]:
    with _busy:
        trainer, found = _trainer(job)
        if found != made_by:
            raise TrainingError(
                "The workers of the cluster do not predict alike.",
                "Install the same versions of napari-weakseg and torch on all of them, and use the same device.",
            )
        others = set(trainer.tile_starts(job.image)) - set(group)
        tiles = trainer.predict(job.image, frame, done=others)
        return frame, [(tile.start, for_store(tile)) for tile in tiles]

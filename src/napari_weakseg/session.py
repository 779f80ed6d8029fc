"""A project and the engine that learns from it: all that a window, a script or the command line sees.

No torch is imported here (the engine thread does that) and no Qt: a window calls :meth:`Session.poll` from a
timer.
"""

import functools
import itertools
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_weakseg.core.checks import Place, check_class_ids, placed, whole_numbers
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.errors import TrainingError
from napari_weakseg.core.prediction_store import PredictionStore
from napari_weakseg.core.project import Project
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.engine.factory import checkpoints_of, mark_counter, trainer_factory
from napari_weakseg.engine.mailbox import Mailbox
from napari_weakseg.engine.messages import (
    AnnotationsChanged,
    Conflict,
    Event,
    Failed,
    Finished,
    Frame,
    Grow,
    Grown,
    GrownPreview,
    Pause,
    Phase,
    Predict,
    Predicted,
    Preview,
    Progress,
    Refused,
    Region,
    Request,
    Resume,
    Review,
    Reviewed,
    Save,
    Saved,
    Start,
    StateChanged,
    Status,
    Stop,
    Store,
    Stored,
    Suggest,
    Suggested,
    View,
)
from napari_weakseg.engine.protocol import ClaimTrust, TrainerProtocol
from napari_weakseg.engine.runner import Runner
from napari_weakseg.engine.scores import ClassScore, score

#: Seconds to wait for the engine to reach its next boundary, save and end.
CLOSE_TIMEOUT_S = 20.0
_WAIT_S = 0.1  # short enough that Ctrl-C is noticed at once on every system
_Met = Predicted | Stored | Grown | Suggested | Reviewed
_Answer = _Met | Refused
_Block = NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.int32]

if TYPE_CHECKING:
    from napari_weakseg.engine.peers import Peers
    from napari_weakseg.engine.queries import Query, Suggestion


class Session:
    """Train on a project, predict, and see where the blobs have grown to.

    Parameters
    ----------
    project : Project
        Stays open when the session is closed.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    seed : int
    config : TrainConfig, optional
        In place of the project's own settings.
    threads : int, optional
        Processor threads the engine may use; a window leaves one core to itself.
    make_trainer : callable, optional
        Makes what trains and predicts, in place of the network trainer.
    peers : Peers, optional
        Other processes that train along, see `napari_weakseg.engine.peers`.

    Notes
    -----
    Signals are emitted by :meth:`poll`, in the thread that calls it, and by the blocking calls, which poll.
    Each carries the event of the same name in :mod:`napari_weakseg.engine.messages`.
    """

    state_changed = Signal(StateChanged)  # another phase, or something to say about it
    progress = Signal(Progress)  # about every half second while training
    preview = Signal(Preview)  # a tile of the prediction
    grown_changed = Signal(GrownPreview)  # where the blobs on screen have grown to
    finished = Signal(Finished)  # a run ended, for whatever reason
    failed = Signal(Failed)  # in words for the person; starting again is possible
    saved = Signal(Saved)  # what was learned is on disk
    conflict = Signal(Conflict)  # pixels said to be two things at once; 0 when resolved
    predicted = Signal(Predicted)  # answer to request_prediction
    stored = Signal(Stored)  # answer to request_results
    suggested = Signal(Suggested)  # answer to request_suggestions
    reviewed = Signal(Reviewed)  # answer to request_claims
    refused = Signal(Refused)  # a request that could not be met

    def __init__(
        self,
        project: Project,
        *,
        device: str = "auto",
        seed: int = 0,
        config: TrainConfig | None = None,
        threads: int | None = None,
        make_trainer: Callable[[], TrainerProtocol] | None = None,
        peers: "Peers | None" = None,
    ) -> None:
        self.project = project
        self._mailbox = Mailbox()
        self._fetched: deque[Event] = deque()
        self._ids = itertools.count(1)
        self._awaited: dict[int, _Answer | None] = {}
        self._ended: dict[int, Finished | None] = {}
        self._last_failure: Failed | None = None
        self._runner = Runner(
            make_trainer or trainer_factory(project, config, device=device, seed=seed, threads=threads, peers=peers),
            self._mailbox,
            checkpoints_of(project, config),
            count_marks=mark_counter(project),
            record=project.append_history,
        )
        # Also runs at interpreter exit: a session nobody closed neither hangs python nor loses its training.
        self._finalizer = weakref.finalize(self, self._runner.shutdown, CLOSE_TIMEOUT_S)

    # -------------------------------------------------------------- training

    def train(
        self,
        seconds: float | None = None,
        steps: int | None = None,
        *,
        resume: bool = True,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Status:
        """Train and wait for the end. Ctrl-C stops cleanly, saves what was learned and is raised again.

        Parameters
        ----------
        seconds : float, optional
            Training time.
        steps : int, optional
            Steps to make; where both are given, whichever ends first.
        resume : bool
            Go on from what was learned earlier, where classes and network are unchanged.
        on_progress : callable, optional
            Called about twice a second.

        Raises
        ------
        TrainingError
            In words that say what to do.
        """
        if seconds is None and steps is None:
            raise TrainingError("How long to train is not given.", "Give seconds=… or steps=….")
        if self.status.phase is Phase.CLOSED:
            raise TrainingError("The session is closed.", "Open the project in a new session.")
        run_id = next(self._ids)
        self._ended[run_id] = None
        self._last_failure = None
        if on_progress is not None:
            self.progress.connect(on_progress)
        try:
            self._runner.send(Start(seconds, steps, resume, run_id))
            ended = self._wait_for_end(run_id)
        except KeyboardInterrupt:
            self._runner.send(Stop())
            self._wait_for_end(run_id)
            raise
        finally:
            self._ended.pop(run_id, None)
            if on_progress is not None:
                self.progress.disconnect(on_progress)
        if ended.reason == "failed":
            raise _broken_off(self._last_failure)
        return self.status

    def _wait_for_end(self, run_id: int) -> Finished:
        while (ended := self._ended.get(run_id)) is None:
            self._wait()
        return ended

    def start(self, *, seconds: float | None = None, steps: int | None = None, resume: bool = True) -> int:
        """Train in the background; returns a number that `finished` carries at the end."""
        run_id = next(self._ids)
        self._runner.send(Start(seconds, steps, resume, run_id))
        return run_id

    def stop(self) -> None:
        """End training at the next boundary and save what was learned."""
        self._runner.send(Stop())

    def pause(self) -> None:
        """Hold training at the next boundary."""
        self._runner.send(Pause())

    def resume(self) -> None:
        """Go on after a pause."""
        self._runner.send(Resume())

    def save(self) -> None:
        """Save what was learned so far, while training goes on."""
        self._runner.send(Save())

    # ------------------------------------------------------- what has changed

    def annotations_changed(self, name: str) -> None:
        """Tell the engine that marks of this image changed (call after the project was told)."""
        self._runner.send(AnnotationsChanged(name))

    def view(self, name: str | None, frame: Frame = (), region: Region | None = None) -> None:
        """Tell the engine what is on screen: it is predicted first and kept up to date.

        Parameters
        ----------
        name : str or None
            None when nothing of the project is shown.
        frame : tuple of int
        region : tuple of slice, optional
            The visible part, along the spatial axes; None means the whole frame.
        """
        self._runner.send(View(name, tuple(frame), region))

    # ------------------------------------------------------------ predicting

    def predict(
        self,
        name: str,
        *,
        probabilities: bool = False,
        objects: bool = False,
        split: float | None = None,
        min_px: int | None = None,
        frame: Frame | None = None,
        region: Region | None = None,
    ) -> _Block:
        """Predict an image and wait for the result.

        Parameters
        ----------
        name : str
        probabilities : bool
            Class probabilities in place of class ids.
        objects : bool
            Ids of the objects of all classes but the background in place of class ids.
        split : float, optional
            How readily touching objects are told apart, 0 (never) to 1 (at any waist).
        min_px : int, optional
            Smaller objects are left out; what the marks tell where not given.
        frame : tuple of int, optional
            One frame only; every frame where not given.
        region : tuple of slice, optional
            A part along the spatial axes.

        Returns
        -------
        uint8 (*S), float32 (K, *S) or int32 (*S)
            Class ids, probabilities, or object ids from 1, each once in the image, and 0 for the background; the frame
            axes before the spatial ones where no frame is given.

        Raises
        ------
        TrainingError
            Nothing has been learned yet, or the prediction was stopped.
        ProjectError
            No image of that name.
        """
        image = self.project.image(name)
        if objects:
            return self.find_objects(name, split=split, min_px=min_px, frame=frame, region=region)[0]
        blocks: list[_Block] = []
        for index in image.frames() if frame is None else [tuple(frame)]:
            answer = self._ask(Predict(next(self._ids), name, index, region, probabilities))
            assert isinstance(answer, Predicted)
            blocks.append(answer.labels if answer.probabilities is None else answer.probabilities)
        return _stack(blocks, image, probabilities) if frame is None else blocks[0]

    def predict_to(
        self,
        name: str,
        path: Path | str,
        *,
        objects: bool = False,
        split: float | None = None,
        min_px: int | None = None,
    ) -> Path:
        """Predict all frames of an image into an OME-Zarr folder, piece by piece: the image may be beyond memory.

        What is written stays when it is stopped or killed; the same call goes on from there, as long as nothing new
        was learned. `state_changed` tells how far it is.

        Parameters
        ----------
        name : str
        path : path
            Folder of the store: class ids, uint8 (*label_shape), in ``0``; how sure they are, uint8, in percent, in
            ``certainty/0``; how far inside its object each pixel lies, likewise, in ``inwardness/0``.
        objects : bool
            Ids of single objects too, int32, in ``labels/objects/0``, and a table of them, ``objects.csv``. They are
            found anew each time, when all is predicted.
        split, min_px
            As of :meth:`predict`.

        Returns
        -------
        Path

        Raises
        ------
        TrainingError
            Nothing has been learned yet, something else is at `path`, the disk refuses, or it was stopped.
        ProjectError
            No image of that name.
        """
        image, folder, ndim = self.project.image(name), Path(path), self.project.ndim
        opened = functools.partial(PredictionStore, folder, image, ndim)
        then = None
        if objects:
            from napari_weakseg.engine.stored_objects import find_stored_objects

            then = functools.partial(find_stored_objects, self.project, image, split=split, min_px=min_px)
        self._ask(Store(next(self._ids), name, tuple(image.frames()), opened, then))
        return folder

    def save_results(
        self,
        name: str,
        folder: Path | str,
        *,
        objects: bool = False,
        split: float | None = None,
        min_px: int | None = None,
    ) -> list[Path]:
        """Predict all frames of an image and write files that other programs read.

        ``NAME_classes.tif`` holds class ids with the background as 0; with `objects`, ``NAME_objects.tif`` and
        ``NAME_objects.csv`` hold ids and a table. Of a large image it is ``NAME.ome.zarr``, as by :meth:`predict_to`.

        Parameters
        ----------
        name : str
        folder : path
        objects, split, min_px
            As of :meth:`predict_to`.

        Returns
        -------
        list of Path
            What was written, the classes first.

        Raises
        ------
        TrainingError
            Nothing has been learned yet, the disk refuses, a file would be written over an image of the project or over
            anything but an earlier result, or it was stopped.
        ProjectError
            No image of that name.
        """
        answer = self._ask(self._results(name, Path(folder), False, objects=objects, split=split, min_px=min_px))
        assert isinstance(answer, Stored)
        return list(answer.files)

    def _results(
        self, name: str, folder: Path, asked: bool, *, objects: bool, split: float | None, min_px: int | None
    ) -> Store:
        """Ask for the files of an image."""
        from napari_weakseg.engine.exporting import Results

        image = self.project.image(name)
        results = Results(self.project, image, folder, objects=objects, asked=asked)
        then = functools.partial(results.write, split=split, min_px=min_px)
        return Store(next(self._ids), name, tuple(image.frames()), results.opened, then, tuple(results.files))

    def find_objects(
        self,
        name: str,
        *,
        split: float | None = None,
        min_px: int | None = None,
        frame: Frame | None = None,
        region: Region | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Predict an image and tell its objects apart; parameters and errors as of :meth:`predict`.

        Returns
        -------
        ids : int32 (*S)
            Object ids from 1, each once in the image, 0 = background.
        classes : uint8 (*S)
            Class id of each pixel of an object, 0 elsewhere.
        """
        image = self.project.image(name)
        ids: list[_Block] = []
        classes: list[_Block] = []
        count = 0
        for index in image.frames() if frame is None else [tuple(frame)]:
            answer = self._ask(Predict(next(self._ids), name, index, region, objects=True))
            assert isinstance(answer, Predicted)
            assert answer.fragments is not None
            found = answer.fragments.objects(split=split, min_px=min_px)
            ids.append(np.where(found > 0, found + count, 0).astype(np.int32))
            classes.append(np.where(found > 0, answer.fragments.classes[answer.fragments.ids], 0).astype(np.uint8))
            count += int(found.max(initial=0))
        if frame is not None:
            return ids[0].astype(np.int32), classes[0].astype(np.uint8)
        return _stack(ids, image, False).astype(np.int32), _stack(classes, image, False).astype(np.uint8)

    def grown(self, name: str, *, frame: Frame | None = None) -> NDArray[np.uint8]:
        """Tell where the blobs of an image have grown to: class ids, uint8 (*S), 0 elsewhere."""
        image = self.project.image(name)
        blocks: list[_Block] = []
        for index in image.frames() if frame is None else [tuple(frame)]:
            answer = self._ask(Grow(next(self._ids), name, index))
            assert isinstance(answer, Grown)
            blocks.append(answer.labels)
        return _stack(blocks, image, False).astype(np.uint8) if frame is None else blocks[0].astype(np.uint8)

    def suggest(self, n: int = 5, *, query: "Query" = "mixture") -> "list[Suggestion]":
        """Say which images, or parts of large ones, to annotate next, and with which kind of mark.

        Parameters
        ----------
        n : int
        query : {"mixture", "random", "entropy", "margin", "disagreement", "diversity"}
            See `napari_weakseg.engine.queries.suggest`.

        Returns
        -------
        list of Suggestion
            The best first; fewer where not so many places are left.

        Raises
        ------
        TrainingError
            Nothing has been learned yet, or it was stopped.
        """
        answer = self._ask(Suggest(next(self._ids), n, query))
        assert isinstance(answer, Suggested)
        return list(answer.suggestions)

    def claims(self) -> list[ClaimTrust]:
        """Tell how far each object of the rough, imported and machine-made masks is trusted, the least first.

        Raises
        ------
        TrainingError
            Nothing has been learned yet.
        """
        answer = self._ask(Review(next(self._ids)))
        assert isinstance(answer, Reviewed)
        return list(answer.claims)

    def request_prediction(
        self, name: str, *, frame: Frame = (), probabilities: bool = False, objects: bool = False
    ) -> int:
        """Predict in the background: `preview` brings the tiles, `predicted` or `refused` the end.

        With `objects` what is predicted carries fragments, see `napari_weakseg.engine.fragments.Fragments`.

        Returns
        -------
        int
            The request id that `predicted` or `refused` carries.
        """
        request_id = next(self._ids)
        self._runner.send(Predict(request_id, name, tuple(frame), None, probabilities, objects))
        return request_id

    def request_results(
        self,
        name: str,
        folder: Path,
        *,
        objects: bool = False,
        split: float | None = None,
        min_px: int | None = None,
    ) -> int:
        """As :meth:`save_results`, in the background: `stored` or `refused` brings the end.

        Files that are there are replaced, but for images of the project: whoever calls this has asked.

        Returns
        -------
        int
            The request id that `stored` or `refused` carries.
        """
        request = self._results(name, folder, True, objects=objects, split=split, min_px=min_px)
        self._runner.send(request)
        return request.request_id

    def request_suggestions(self, n: int = 5, *, query: "Query" = "mixture") -> int:
        """Ask in the background what to annotate next: `suggested` or `refused` brings the answer."""
        request_id = next(self._ids)
        self._runner.send(Suggest(request_id, n, query))
        return request_id

    def request_claims(self) -> int:
        """Ask in the background how far rough masks are trusted: `reviewed` or `refused` brings the answer."""
        request_id = next(self._ids)
        self._runner.send(Review(request_id))
        return request_id

    def evaluate(self, name: str, masks: NDArray[np.integer]) -> Mapping[str, ClassScore]:
        """Compare the prediction of an image with masks.

        Parameters
        ----------
        name : str
        masks : int (*label_shape)
            Class ids; 0 is not judged.

        Returns
        -------
        mapping of class name to ClassScore
            Dice, IoU and pixel counts of each class.

        Raises
        ------
        AnnotationError
            If the masks are no class ids, or have another size than the image.
        TrainingError
            As of :meth:`predict`.
        """
        image, classes = self.project.image(name), self.project.classes
        place = Place("masks", name, image.label_axes, image.label_shape)
        checked, region = placed(whole_numbers(masks, what="masks", name=name), None, place)
        check_class_ids(checked, region, classes, name=name)
        return score(np.asarray(self.predict(name)), checked, classes.names)

    def _ask(self, request: Request) -> _Met:
        self._awaited[request.request_id] = None
        try:
            self._runner.send(request)
            while (answer := self._awaited[request.request_id]) is None:
                self._wait()
        except KeyboardInterrupt:
            self._runner.send(Stop())
            raise
        finally:
            self._awaited.pop(request.request_id, None)
        if isinstance(answer, Refused):
            raise TrainingError(answer.problem, answer.remedy, answer.details)
        return answer

    # ----------------------------------------------------------------- state

    @property
    def status(self) -> Status:
        """What the engine is doing at this moment."""
        return self._runner.status

    def poll(self) -> None:
        """Fetch what the engine has to say and emit it as signals, in this thread."""
        self._fetched.extend(self._mailbox.drain())
        while self._fetched:  # what an error or Ctrl-C in a slot leaves here is emitted by the next call
            event = self._fetched.popleft()
            self._note(event)
            _emit(self, event)

    def _note(self, event: Event) -> None:
        if isinstance(event, _Answer) and event.request_id in self._awaited:
            self._awaited[event.request_id] = event
        match event:
            case Finished() if event.run_id in self._ended:
                self._ended[event.run_id] = event
            case Failed():
                self._last_failure = event

    def _wait(self) -> None:
        self._mailbox.wait(_WAIT_S)
        self.poll()

    def close(self) -> None:
        """Save, free the memory of the engine and end its thread. Further calls do nothing."""
        if self._finalizer.alive:
            self._finalizer()
            self.poll()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_SIGNALS = {
    StateChanged: "state_changed",
    Progress: "progress",
    Preview: "preview",
    GrownPreview: "grown_changed",
    Finished: "finished",
    Failed: "failed",
    Saved: "saved",
    Conflict: "conflict",
    Predicted: "predicted",
    Stored: "stored",
    Suggested: "suggested",
    Reviewed: "reviewed",
    Refused: "refused",
}


def _emit(session: Session, event: Event) -> None:
    name = _SIGNALS.get(type(event))
    if name is not None:
        getattr(session, name).emit(event)


def _broken_off(failure: Failed | None) -> TrainingError:
    if failure is None:
        return TrainingError("Training broke off.", "Start it again.")
    return TrainingError(failure.problem, failure.remedy, failure.details)


def _stack(blocks: list[_Block], image: ProjectImage, channels: bool) -> _Block:
    """Put the frames of an image, in order, back into one array."""
    spatial = blocks[0].ndim - channels
    frame_shape = tuple(image.label_shape)[: len(image.label_shape) - spatial]
    if not frame_shape:
        return blocks[0]
    whole = np.stack(blocks, axis=1 if channels else 0)
    head = blocks[0].shape[:1] if channels else ()
    shaped: _Block = whole.reshape((*head, *frame_shape, *blocks[0].shape[channels:]))
    return shaped

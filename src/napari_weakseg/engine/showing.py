"""Predictions on their way out: answers to requests, and live previews of what is on screen."""

import logging
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.errors import ImageError
from napari_weakseg.engine.failures import explain, is_out_of_memory
from napari_weakseg.engine.holder import Holder
from napari_weakseg.engine.inbox import Inbox
from napari_weakseg.engine.messages import (
    Event,
    Grow,
    Grown,
    GrownPreview,
    Predict,
    Predicted,
    Preview,
    Refused,
    Request,
    Review,
    Reviewed,
    Store,
    Stored,
    Suggest,
    Suggested,
    View,
)
from napari_weakseg.engine.pacing import Every, Pace
from napari_weakseg.engine.protocol import Tile, TrainerProtocol

if TYPE_CHECKING:
    from napari_weakseg.engine.queries import Suggestion

_TOLD_EVERY_S = 0.5

_log = logging.getLogger(__name__)


class _Interrupted(Exception):
    """A Stop or Shutdown came between two tiles."""


def class_ids(probabilities: NDArray[Any]) -> NDArray[np.uint8]:
    """Most probable class at each pixel: float (K, *S) → uint8 (*S), the first class is 1."""
    return np.asarray(probabilities.argmax(axis=0) + 1, np.uint8)


def for_store(tile: Tile) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Class ids of a tile, how sure they are and the inwardness, both in percent and rounded down: uint8 (*S)."""
    shares = tile.probabilities.max(axis=0), tile.inwardness
    certainty, inwardness = (np.asarray(100 * share.astype(np.float32), np.uint8) for share in shares)
    return class_ids(tile.probabilities), certainty, inwardness


def doing(request: Request) -> str:
    """Say what a request makes the engine do."""
    match request:
        case Suggest():
            return "Looking for what to annotate next."
        case Review():
            return "Looking at the rough masks."
        case _:
            return f"Predicting “{request.image}”."


def refusal(request: Request) -> Refused:
    """Answer for a request that a Stop came before."""
    return Refused(
        request.request_id,
        "This was stopped before it was complete.",
        "Ask for it again if you need it.",
    )


class Showing:
    """Predicts with the trainer at hand and posts what comes out.

    Parameters
    ----------
    holder, inbox
    post : callable
        Takes events.
    say : callable
        Takes a sentence for the person.
    """

    def __init__(self, holder: Holder, inbox: Inbox, post: Callable[[Event], None], say: Callable[[str], None]) -> None:
        self._holder = holder
        self._inbox = inbox
        self._post = post
        self._say = say
        self.pace = Pace()
        self._grown: GrownPreview | None = None

    def answer(self, request: Request) -> None:
        """Meet a request, or say why not."""
        try:
            self._holder.at_hand(prepared=isinstance(request, Grow | Review))
            self._post(self._holder.surviving(lambda trainer: self._met(trainer, request)))
        except _Interrupted:
            self._post(refusal(request))
        except Exception as error:
            _log.info("request refused", exc_info=True)
            failure, of_image = explain(error), isinstance(error, ImageError)
            self._post(Refused(request.request_id, failure.problem, failure.remedy, failure.details, of_image))

    def _met(self, trainer: TrainerProtocol, request: Request) -> Event:
        match request:
            case Grow(number, image, frame):
                return Grown(number, image, frame, trainer.grown(image, frame))
            case Suggest(number, n, query):
                return Suggested(number, tuple(self._staged(trainer.suggest(n, query=query))))
            case Review(number):
                return Reviewed(number, tuple(trainer.claims()))
            case Store():
                return self._store(trainer, request)
            case Predict():
                return self._predict(trainer, request)

    def _staged(self, stages: Generator[str, None, "list[Suggestion]"]) -> "list[Suggestion]":
        """Take stage after stage, unless a Stop comes."""
        while True:
            try:
                self._say(next(stages))
            except StopIteration as end:
                found: list[Suggestion] = end.value
                return found
            self._unless_interrupted()

    def _predict(self, trainer: TrainerProtocol, request: Predict) -> Predicted:
        view = self._inbox.view
        seen = view is not None and (view.image, view.frame) == (request.image, request.frame)
        first = view.region if view is not None and seen else None
        tiles: list[Tile] = []
        ids: list[NDArray[np.uint8]] = []
        for tile in trainer.predict(request.image, request.frame, request.region, first=first):
            ids.append(class_ids(tile.probabilities))
            inwardness = tile.inwardness if request.objects else tile.inwardness[:0]
            tiles.append(Tile(tile.start, tile.stop, _kept(tile.probabilities, request), inwardness))
            self._post(Preview(request.image, request.frame, tile.start, ids[-1]))
            self._unless_interrupted()
        answer = _assembled(request, tiles, ids)
        if not request.objects:
            return answer
        self._say(f"Telling the objects of “{request.image}” apart.")
        certainty = _joined(tiles, [tile.probabilities.max(0) for tile in tiles], np.float32)
        inwardness = _joined(tiles, [tile.inwardness for tile in tiles], np.float32)
        found = trainer.fragments(request.image, request.frame, answer.start, answer.labels, certainty, inwardness)
        return replace(answer, fragments=found)

    def _store(self, trainer: TrainerProtocol, request: Store) -> Stored:
        """Write tile after tile; what was written stays, whatever happens."""
        store, told = request.opened(trainer.fingerprint), Every(_TOLD_EVERY_S)
        for frame in request.frames:
            for tile in trainer.predict(request.image, frame, done=store.done(frame)):
                store.write(frame, tile.start, *for_store(tile))
                if told.due():
                    self._say(f"Predicting “{request.image}”: {100 * store.share:.0f} %.")
                self._unless_interrupted()
        for share in request.then(store, trainer.least_px) if request.then is not None else ():
            if told.due():
                self._say(f"Telling the objects of “{request.image}” apart: {100 * share:.0f} %.")
            self._unless_interrupted()
        return Stored(request.request_id, request.image, request.files)

    def _unless_interrupted(self) -> None:
        self._inbox.read()
        if self._inbox.interrupted:
            raise _Interrupted

    # --------------------------------------------------------- live previews

    def preview(self, *, ends: Callable[[], bool]) -> None:
        """Predict what is on screen, unless `ends` between two tiles; then the rest is made up for later."""
        view = self._inbox.view
        self._inbox.view_changed = False
        if view is None or view.image is None:
            return
        began_s = time.monotonic()
        try:
            self._holder.at_hand()
            whole = self._holder.surviving(lambda trainer: self._show_tiles(trainer, view, ends))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self._forget(view, error)
            return
        self._inbox.view_changed |= not whole
        self.pace.shown(time.monotonic() - began_s)

    def _show_tiles(self, trainer: TrainerProtocol, view: View, ends: Callable[[], bool]) -> bool:
        assert view.image is not None
        tiles: Iterator[Tile] = trainer.predict(view.image, view.frame, view.region, first=view.region, live=True)
        for tile in tiles:
            self._post(Preview(view.image, view.frame, tile.start, class_ids(tile.probabilities)))
            self._inbox.read()
            if ends():
                return False
        return True

    def grown(self) -> None:
        """Post where the blobs on screen have grown to, where that is new."""
        view = self._inbox.view
        if view is None or view.image is None or self._holder.trainer is None:
            return
        try:
            labels = self._holder.trainer.grown(view.image, view.frame)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self._forget(view, error)
            return
        fresh = GrownPreview(view.image, view.frame, labels)
        last, self._grown = self._grown, fresh
        same = last is not None and (last.image, last.frame) == (fresh.image, fresh.frame)
        if last is None or not same or not np.array_equal(last.labels, labels):
            self._post(fresh)

    def _forget(self, view: View, error: Exception) -> None:
        """Carry on without a view that cannot be shown: training matters more."""
        _log.warning("cannot show %s", view, exc_info=error)
        if self._inbox.view == view:
            self._inbox.view, self._inbox.view_changed = None, False
        self._say(f"“{view.image}” cannot be shown: {explain(error).problem}")


def _kept(probabilities: NDArray[Any], request: Predict) -> NDArray[Any]:
    """Keep what a request needs of a tile beside its classes: all, that of the likeliest class, or nothing."""
    if request.probabilities:
        return probabilities
    return probabilities.max(0, keepdims=True) if request.objects else probabilities[:0]


def _assembled(request: Predict, tiles: list[Tile], ids: list[NDArray[np.uint8]]) -> Predicted:
    """Put the tiles of a request together."""
    start = tuple(min(axis) for axis in zip(*(tile.start for tile in tiles), strict=True))
    labels = _joined(tiles, ids, np.uint8)
    probabilities = None
    if request.probabilities:
        probabilities = _joined(tiles, [tile.probabilities for tile in tiles], np.float32)
    return Predicted(request.request_id, request.image, request.frame, start, labels, probabilities)


def _joined(tiles: list[Tile], parts: list[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    """One array of the parts that belong to tiles; axes before the spatial ones are kept."""
    start = tuple(min(axis) for axis in zip(*(tile.start for tile in tiles), strict=True))
    stop = tuple(max(axis) for axis in zip(*(tile.stop for tile in tiles), strict=True))
    before = parts[0].shape[: parts[0].ndim - len(start)]
    joined = np.zeros((*before, *(b - a for a, b in zip(start, stop, strict=True))), dtype)
    for tile, part in zip(tiles, parts, strict=True):
        at = [slice(a - o, b - o) for a, b, o in zip(tile.start, tile.stop, start, strict=True)]
        joined[(slice(None),) * len(before) + tuple(at)] = part
    return joined

"""Which buttons can be pressed at this moment, and whether there is enough to learn from: pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.engine.messages import Phase


class Action(StrEnum):
    """What a person can do in the panel."""

    TRAIN = "train"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    ACCEPT = "accept"
    SUGGEST = "suggest"
    SAVE_RESULTS = "save results"
    EDIT_CLASSES = "edit classes"
    DESCRIBE_IMAGE = "describe image"
    CHANGE_SETTINGS = "change settings"
    CHANGE_PROJECT = "change project"


@dataclass(frozen=True, slots=True)
class Situation:
    """All that enablement depends on.

    Attributes
    ----------
    phase : Phase
        What the engine is doing.
    has_image : bool
        An image is chosen and its project is open.
    has_marks : bool
        Anything is painted, boxed or tagged in the project.
    has_result : bool
        A prediction or grown region is on screen, to accept from.
    trained : bool
        There is a network to predict with.
    busy : bool
        A project is being opened or copied.
    learning : bool
        A run is under way, also while it predicts in between.
    saving : bool
        Results are being saved; another project would end that.
    """

    phase: Phase = Phase.IDLE
    has_image: bool = False
    has_marks: bool = False
    has_result: bool = False
    trained: bool = False
    busy: bool = False
    learning: bool = False
    saving: bool = False


RUNNING = frozenset({Phase.PREPARING, Phase.TRAINING, Phase.PAUSED})


def enabled(now: Situation) -> frozenset[Action]:
    """Tell what can be done.

    Examples
    --------
    >>> sorted(enabled(Situation(Phase.TRAINING, has_image=True, has_marks=True)))
    [<Action.EDIT_CLASSES: 'edit classes'>, <Action.PAUSE: 'pause'>, <Action.STOP: 'stop'>]
    """
    if now.phase is Phase.CLOSED or now.busy:
        return frozenset()
    actions = set()
    running = now.learning or now.phase in RUNNING
    if now.has_image:
        actions.add(Action.EDIT_CLASSES)
        if not running:
            actions |= {Action.TRAIN, Action.CHANGE_SETTINGS}
        if not now.has_marks and not running:
            actions.add(Action.DESCRIBE_IMAGE)
        if now.has_result:
            actions.add(Action.ACCEPT)
        if now.trained and now.phase is not Phase.PREPARING:
            actions |= {Action.SUGGEST} if now.saving else {Action.SUGGEST, Action.SAVE_RESULTS}
    if now.phase is Phase.TRAINING:
        actions.add(Action.PAUSE)
    if now.phase is Phase.PAUSED:
        actions.add(Action.RESUME)
    if running or now.phase is Phase.PREDICTING:
        actions.add(Action.STOP)
    if not running and not now.saving:
        actions.add(Action.CHANGE_PROJECT)
    return frozenset(actions)


def two_classes_marked(counts: Sequence[NDArray[np.int64]]) -> bool:
    """Tell whether at least two classes are marked in the images counted."""
    return bool(counts) and int((np.sum(counts, axis=0)[1:] > 0).sum()) >= 2

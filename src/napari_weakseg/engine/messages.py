"""What the window (or a script) and the engine thread say to each other.

Every message is a frozen dataclass of plain values and arrays, so that a process could stand in for the
thread. *Commands* travel through a queue and are met at the engine's next boundary: a step, a tile, a stage
of preparing.
*Events* travel through a :class:`~napari_weakseg.engine.mailbox.Mailbox`.
A frame is a tuple of indices along the axes before the spatial ones, ``()`` where there are none.
A region is a tuple of slices over the spatial axes with explicit start and stop.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_weakseg.core.prediction_store import PredictionStore
    from napari_weakseg.engine.fragments import Fragments
    from napari_weakseg.engine.protocol import ClaimTrust
    from napari_weakseg.engine.queries import Query, Suggestion

Frame = tuple[int, ...]
Region = tuple[slice, ...]
FinishReason = Literal["budget", "stopped", "replaced", "failed"]


class Phase(StrEnum):
    """What the engine is doing."""

    PREPARING = "preparing"
    IDLE = "idle"
    TRAINING = "training"
    PAUSED = "paused"
    PREDICTING = "predicting"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Status:
    """The engine at one moment.

    Attributes
    ----------
    phase : Phase
    message : str
        One sentence for the person.
    step : int
        Optimiser steps made so far, earlier runs included.
    seconds : float
        Training time of this run, pauses excluded.
    trained : bool
        Whether there is anything to predict with: a network in training or a saved one.
    """

    phase: Phase = Phase.IDLE
    message: str = ""
    step: int = 0
    seconds: float = 0.0
    trained: bool = False


# ------------------------------------------------------------------ commands


@dataclass(frozen=True, slots=True)
class Start:
    """Train. Neither `seconds` nor `steps` means until stopped; both mean whichever comes first.

    Attributes
    ----------
    seconds : float or None
        Training time of this run, pauses excluded.
    steps : int or None
        Further optimiser steps.
    resume : bool
        Go on from the last saved state where classes and network are still the same.
    run_id : int
        Comes back in :class:`Finished`.
    """

    seconds: float | None = None
    steps: int | None = None
    resume: bool = True
    run_id: int = 0


@dataclass(frozen=True, slots=True)
class Stop:
    """End training and every prediction asked for so far; what was learned is saved."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Hold training; the network stays in memory."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on after a pause."""


@dataclass(frozen=True, slots=True)
class AnnotationsChanged:
    """A stroke, box, tag or coverage of this image changed (and is already on disk)."""

    image: str


@dataclass(frozen=True, slots=True)
class View:
    """What is on screen, to be predicted first. `region` None means the whole frame, `image` None nothing."""

    image: str | None
    frame: Frame = ()
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Predict:
    """Predict a frame or a region of it; answered by :class:`Predicted` or :class:`Refused`."""

    request_id: int
    image: str
    frame: Frame = ()
    region: Region | None = None
    probabilities: bool = False
    objects: bool = False


@dataclass(frozen=True, slots=True)
class Store:
    """Predict what is missing in a store on disk; answered by :class:`Stored` or :class:`Refused`.

    `opened` opens the store for what a prediction depends on (`TrainerProtocol.fingerprint`). What is to be done when
    it is complete, `then`, takes the store and how many pixels objects of each class have at least, and gives the share
    done. `files` are there in the end.
    """

    request_id: int
    image: str
    frames: tuple[Frame, ...]
    opened: "Callable[[str], PredictionStore]"
    then: "Callable[[PredictionStore, Mapping[int, int]], Iterator[float]] | None" = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Grow:
    """Tell where the blobs have grown to; answered by :class:`Grown` or :class:`Refused`."""

    request_id: int
    image: str
    frame: Frame = ()


@dataclass(frozen=True, slots=True)
class Suggest:
    """Say what to annotate next; answered by :class:`Suggested` or :class:`Refused`."""

    request_id: int
    n: int
    query: "Query" = "mixture"


@dataclass(frozen=True, slots=True)
class Review:
    """Tell how far each rough mask is trusted; answered by :class:`Reviewed` or :class:`Refused`."""

    request_id: int


@dataclass(frozen=True, slots=True)
class Save:
    """Save what was learned so far, without stopping."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Save, free everything and end the thread."""


Request = Predict | Store | Grow | Suggest | Review
Command = Start | Stop | Pause | Resume | AnnotationsChanged | View | Request | Save | Shutdown

# -------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A new phase, or the same phase with something to say (out of memory, a stage of preparing)."""

    phase: Phase
    message: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """A run ended: its budget is spent, it was stopped, another Start took its place, or it failed."""

    run_id: int
    reason: FinishReason
    step: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Training or preparing broke off. Start works again afterwards."""

    problem: str
    remedy: str
    details: str = ""


@dataclass(frozen=True, slots=True)
class Saved:
    """What was learned is on disk."""

    path: Path


@dataclass(frozen=True, slots=True)
class Conflict:
    """So many pixels of an image are said to be two things at once; 0 when a conflict is resolved."""

    image: str
    pixels: int


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Answer to :class:`Predict`.

    Attributes
    ----------
    start : tuple of int
        Where the block lies in the frame.
    labels : uint8 (*S)
        Class ids.
    probabilities : float32 (K, *S) or None
        Where asked for.
    fragments : Fragments or None
        What objects are made of, where they were asked for.
    """

    request_id: int
    image: str
    frame: Frame
    start: tuple[int, ...]
    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32] | None = None
    fragments: "Fragments | None" = None


@dataclass(frozen=True, slots=True)
class Stored:
    """Answer to :class:`Store`: every piece is on disk."""

    request_id: int
    image: str
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Grown:
    """Answer to :class:`Grow`: class ids, uint8 (*S), 0 where nothing has grown."""

    request_id: int
    image: str
    frame: Frame
    labels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Suggested:
    """Answer to :class:`Suggest`, the best first."""

    request_id: int
    suggestions: "tuple[Suggestion, ...]"


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Answer to :class:`Review`, the least trusted first."""

    request_id: int
    claims: "tuple[ClaimTrust, ...]"


@dataclass(frozen=True, slots=True)
class Refused:
    """A request could not be met; training, if any, goes on.

    Attributes
    ----------
    of_image : bool
        What is wrong concerns this image alone; others may do.
    """

    request_id: int
    problem: str
    remedy: str
    details: str = ""
    of_image: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How training stands.

    Attributes
    ----------
    step, seconds
        Steps made in all; training time of this run.
    loss : float
    terms : mapping of str to float
        The parts of the loss.
    quality : float or None
        Score on held-out marks, 0 to 1; None where nothing is held out.
    quality_n : int
        Number of held-out pixels or objects behind it.
    note : str
        What the trainer has to add.
    marks, images : int
        Marks learned from, and in how many images.
    message : str
        All of it in one plain sentence.
    budget_seconds, budget_steps
        What the run was started with.
    """

    step: int
    seconds: float
    loss: float
    terms: Mapping[str, float] = field(default_factory=dict)
    quality: float | None = None
    quality_n: int = 0
    note: str = ""
    marks: int = 0
    images: int = 0
    message: str = ""
    budget_seconds: float | None = None
    budget_steps: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """One finished tile of a prediction: class ids, uint8 (*tile), at `start` in the frame."""

    image: str
    frame: Frame
    start: tuple[int, ...]
    labels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class GrownPreview:
    """Where the blobs of the frame on screen have grown to: class ids, uint8 (*S), 0 elsewhere."""

    image: str
    frame: Frame
    labels: NDArray[np.uint8]


Event = (
    StateChanged
    | Finished
    | Failed
    | Saved
    | Conflict
    | Predicted
    | Stored
    | Grown
    | Suggested
    | Reviewed
    | Refused
    | Progress
    | Preview
    | GrownPreview
)


def replaces(event: Event) -> Hashable | None:
    """Give a key that events share if the newer makes the older out of date; None where each is kept."""
    match event:
        case Progress():
            return "progress"
        case Preview(image, frame, start):
            return "preview", image, frame, start
        case GrownPreview(image, frame):
            return "grown", image, frame
        case _:
            return None

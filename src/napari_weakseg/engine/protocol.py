"""What the runner asks of a trainer. It knows no thread, no queue and no window."""

from collections.abc import Container, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.regions import Region


@dataclass(frozen=True, slots=True)
class Report:
    """How training stands after a step.

    Attributes
    ----------
    step : int
    loss : float
    terms : mapping of str to float
        The parts of the loss.
    quality : float or None
        Score on held-out marks, 0 to 1; None where nothing is held out.
    quality_n : int
        Number of held-out pixels or objects behind it.
    note : str
        What else is worth saying.
    rounds : int
        Rounds of growth made so far.
    """

    step: int
    loss: float
    terms: Mapping[str, float] = field(default_factory=dict)
    quality: float | None = None
    quality_n: int = 0
    note: str = ""
    rounds: int = 0


if TYPE_CHECKING:
    from napari_weakseg.core.annotations import Trust
    from napari_weakseg.engine.fragments import Fragments
    from napari_weakseg.engine.queries import Query, Suggestion


@dataclass(frozen=True, slots=True)
class ClaimTrust:
    """How far an object of a rough, imported or machine-made mask is trusted.

    Attributes
    ----------
    image : str
    trust : {"rough", "imported", "machine"}
        What it was given as.
    frame : tuple of int
    start : tuple of int
        First pixel of the box around it, along the spatial axes.
    pixels : int
    weight : float
        0 to 1; one half where nothing is known yet.
    """

    image: str
    trust: "Trust"
    frame: tuple[int, ...]
    start: tuple[int, ...]
    pixels: int
    weight: float


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """Finished part of a prediction.

    Attributes
    ----------
    start, stop : tuple of int
        Where it lies along the spatial axes, half-open.
    probabilities : float16 or float32 (K, *tile)
    inwardness : float16 or float32 (*tile)
        How far inside its object each pixel lies, above 0 to 1; 0 throughout where nothing is known of it.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]
    probabilities: NDArray[Any]
    inwardness: NDArray[Any]


class TrainerProtocol(Protocol):
    """Learns from a project and predicts.

    Every method is called from one thread. Running out of memory is raised as it comes; the runner then calls
    `shrink` and tries again.
    """

    @property
    def steps(self) -> int:
        """Optimiser steps made, those before a `load` included."""

    def prepare(self) -> Iterator[str]:
        """Get ready to train, in short stages that each give a sentence; may be abandoned between them.

        Raises
        ------
        WeaksegError
            Where there is nothing to learn from.
        """

    def annotations_changed(self, image: str) -> None:
        """Take in the marks of an image anew."""

    def step(self) -> None:
        """Make one optimiser step, and a piece of growing where it is due."""

    def report(self) -> Report:
        """Tell how training stands; waits for the device."""

    def predict(
        self,
        image: str,
        frame: tuple[int, ...],
        region: Region | None = None,
        *,
        first: Region | None = None,
        done: Container[tuple[int, ...]] = (),
        live: bool = False,
    ) -> Iterator[Tile]:
        """Predict a frame tile by tile, each pixel once.

        Tiles that touch `first` come first, those that start at one of `done` are left out. `live`: at a glance, for
        what will be predicted again soon.
        """

    def tile_starts(self, image: str) -> list[tuple[int, ...]]:
        """Tell where the tiles of a frame begin, as `predict` gives them, neighbours one after another."""

    @property
    def fingerprint(self) -> str:
        """What a prediction depends on beside the image: as long as it is the same, so is every tile."""

    @property
    def least_px(self) -> dict[int, int]:
        """How many pixels an object has at least, by class id, as far as the marks tell."""

    def fragments(
        self,
        image: str,
        frame: tuple[int, ...],
        start: tuple[int, ...],
        labels: NDArray[np.uint8],
        certainty: NDArray[np.float32],
        inwardness: NDArray[np.float32],
    ) -> "Fragments":
        """Cut a prediction that begins at `start` into fragments of objects."""

    def grown(self, image: str, frame: tuple[int, ...]) -> NDArray[np.uint8]:
        """Tell where the blobs of a frame have grown to: class ids (*S), 0 elsewhere."""

    def suggest(self, n: int, *, query: "Query" = "mixture") -> "Generator[str, None, list[Suggestion]]":
        """Choose what to annotate next, in short stages that each give a sentence; the best first."""

    def claims(self) -> list[ClaimTrust]:
        """Tell how far each rough mask is trusted, the least trusted first."""

    def conflicts(self) -> Mapping[str, int]:
        """Count the pixels of each image that are said to be two things at once."""

    def shrink(self) -> str:
        """Need less memory from now on and say how, in one sentence.

        Raises
        ------
        TrainingError
            Where nothing is left to give up.
        """

    def save(self, folder: Path) -> None:
        """Write everything that going on exactly from here takes."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; enough by itself to predict, after `prepare` to go on training."""

    def close(self) -> None:
        """Give the memory back. Nothing else is called afterwards."""

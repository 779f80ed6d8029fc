"""The one trainer there is: made, loaded, saved and given up in a single place."""

import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from napari_weakseg.core.errors import TrainingError
from napari_weakseg.engine.checkpoints import Checkpoints
from napari_weakseg.engine.failures import is_out_of_memory
from napari_weakseg.engine.protocol import TrainerProtocol

#: A trainer without work is kept this long after a run, so that a prediction asked for at once need not
#: load it…
KEEP_AFTER_RUN_S = 2.0
#: …and this long after it predicted; then the memory is given back.
KEEP_AFTER_PREDICTION_S = 30.0
_SHRINKS = 12  # more often than any trainer can halve

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Holder:
    """Keeps at most one trainer.

    Parameters
    ----------
    make_trainer : callable
    checkpoints : Checkpoints
    say : callable
        Takes a sentence for the person.
    """

    def __init__(
        self,
        make_trainer: Callable[[], TrainerProtocol],
        checkpoints: Checkpoints,
        say: Callable[[str], None],
    ) -> None:
        self._make_trainer = make_trainer
        self._checkpoints = checkpoints
        self._say = say
        self._saved_steps = 0
        self._release_s: float | None = None
        self.trainer: TrainerProtocol | None = None
        self.prepared = False

    @property
    def usable(self) -> list[Path]:
        """Saved states that fit the project, newest first."""
        return self._checkpoints.usable()

    @property
    def steps(self) -> int:
        """Steps of the trainer at hand, 0 where there is none."""
        return 0 if self.trainer is None else self.trainer.steps

    @property
    def trained(self) -> bool:
        """Whether there is anything to predict with."""
        return self.steps > 0 or bool(self.usable)

    def make(self) -> TrainerProtocol:
        """Make a new trainer; the old one goes first, so that both never share the memory."""
        self.release()
        self.trainer = self._make_trainer()
        self._saved_steps, self.prepared = self.trainer.steps, False
        return self.trainer

    def load(self, path: Path) -> bool:
        """Read a saved state into the trainer; False where it cannot be read."""
        assert self.trainer is not None
        try:
            self.trainer.load(path)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            _log.warning("cannot load %s: %s", path, error)
            self._say(f"The saved state “{path.name}” cannot be read and is left out.")
            return False
        self._saved_steps = self.trainer.steps
        return True

    def at_hand(self, *, prepared: bool = False) -> TrainerProtocol:
        """Give a trainer that can predict: the one in use, or one made and loaded now.

        Parameters
        ----------
        prepared : bool
            It has to know the marks as well, as growing does.

        Raises
        ------
        TrainingError
            Where nothing has been learned yet.
        """
        if self.trainer is not None and self.trainer.steps > 0 and (self.prepared or not prepared):
            return self.trainer
        if self.trainer is None or not self.prepared:
            for path in self.usable:
                trainer = self.make()
                if prepared:
                    deque(trainer.prepare(), maxlen=0)
                    self.prepared = True
                if self.load(path) and self.trainer is not None:
                    return self.trainer
            self.release()
        raise TrainingError(
            "Nothing has been learned yet, so there is nothing to predict with.",
            "Mark some objects and train first.",
        )

    def surviving(self, action: Callable[[TrainerProtocol], _T]) -> _T:
        """Do something with the trainer; where memory runs out let it shrink and do it again."""
        for _ in range(_SHRINKS):
            assert self.trainer is not None
            try:
                return action(self.trainer)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                _log.warning("out of memory: %s", error)
            # Outside of the except block: a traceback would keep the arrays of the failed attempt alive.
            self._say(self.trainer.shrink())
        raise TrainingError(
            "There is not enough memory, even for the smallest patches.",
            "Close other programs that use much memory, then start again.",
        )

    def save(self) -> Path | None:
        """Save what was learned since the last time; None where there is nothing new.

        Raises
        ------
        StorageError
            Where the disk refuses.
        """
        if self.trainer is None or self.trainer.steps == self._saved_steps:
            return None
        path = self._checkpoints.save(self.trainer)
        self._saved_steps = self.trainer.steps
        return path

    def release_in(self, seconds: float) -> None:
        """Give the memory back after some time without work, unless that would lose what is not yet saved."""
        saved = self.steps == self._saved_steps
        self._release_s = time.monotonic() + seconds if saved else None

    @property
    def rest_s(self) -> float | None:
        """Seconds until the memory is given back; None where that is not planned."""
        if self.trainer is None or self._release_s is None:
            return None
        return max(0.0, self._release_s - time.monotonic())

    def release(self) -> None:
        """Close the trainer and give its memory back."""
        trainer, self.trainer, self._release_s = self.trainer, None, None
        if trainer is not None:
            try:
                trainer.close()
            except Exception:  # a closing that fails must not hide what went before it, nor stop what follows
                _log.exception("cannot close the trainer")

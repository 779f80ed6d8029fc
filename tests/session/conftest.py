"""A trainer without a network, and a harness that drives the runner without a window."""

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_weakseg.core.errors import TrainingError
from napari_weakseg.engine.checkpoints import Checkpoints
from napari_weakseg.engine.fragments import Fragments
from napari_weakseg.engine.mailbox import Mailbox
from napari_weakseg.engine.messages import Command, Event, Finished, Phase, StateChanged
from napari_weakseg.engine.objects import fragments_of
from napari_weakseg.engine.progress import MarkCount
from napari_weakseg.engine.protocol import ClaimTrust, Report, Tile
from napari_weakseg.engine.queries import Suggestion
from napari_weakseg.engine.runner import THREAD_NAME, Runner

TIMEOUT_S = 10.0
SHAPE = (6, 8)
TILE = 2
_E = TypeVar("_E")


class FakeTrainer:
    """Obeys the trainer's protocol; one step is one addition.

    Each attribute of the class can be replaced by a test: `fail` maps a method's name to errors raised in turn.
    """

    made: list["FakeTrainer"]
    stages = ("Reading images.", "Building the network.")
    step_s = 0.001
    tile_s = 0.0

    def __init__(self) -> None:
        type(self).made.append(self)
        self.steps = 0
        self.calls: list[tuple[str, Any]] = []
        self.closed = False
        self.rounds = 0
        self.found_conflicts: dict[str, int] = {}
        self.fail: dict[str, list[BaseException]] = {}
        self.thread = threading.current_thread().name
        self.gate = threading.Event()  # a step, stage or tile waits here where a test has closed it
        self.gate.set()

    def _do(self, name: str, argument: Any = None) -> None:
        assert not self.closed, f"{name} after close"
        self.calls.append((name, argument))
        if self.fail.get(name):
            raise self.fail[name].pop(0)

    def count(self, name: str) -> int:
        return sum(call[0] == name for call in self.calls)

    def prepare(self) -> Iterator[str]:
        for stage in self.stages:
            self._do("prepare", stage)
            self.gate.wait(TIMEOUT_S)
            yield stage

    def annotations_changed(self, image: str) -> None:
        self._do("annotations_changed", image)

    def step(self) -> None:
        self._do("step")
        self.gate.wait(TIMEOUT_S)
        time.sleep(self.step_s)
        self.steps += 1

    def report(self) -> Report:
        self._do("report")
        return Report(self.steps, 1 / (1 + self.steps), {"set": 0.5}, 0.5, 10, "", self.rounds)

    @property
    def fingerprint(self) -> str:
        return str(self.steps)

    def predict(
        self,
        image: str,
        frame: tuple[int, ...],
        region: Any = None,
        *,
        first: Any = None,
        done: Any = (),
        live: bool = False,
    ) -> Iterator[Tile]:
        self._do("predict", (image, frame, region, first))
        rows = range(SHAPE[0]) if region is None else range(region[0].start, region[0].stop)
        columns = slice(0, SHAPE[1]) if region is None else region[1]
        for top in range(rows.start, rows.stop, TILE):
            self.gate.wait(TIMEOUT_S)
            time.sleep(self.tile_s)
            self._do("tile", top)
            stop = min(top + TILE, rows.stop)
            shares = np.zeros((2, stop - top, columns.stop - columns.start), np.float16)
            shares[1] = 0.75
            shares[0] = 0.25
            yield Tile((top, columns.start), (stop, columns.stop), shares, np.zeros(shares.shape[1:]))

    def suggest(self, n: int, *, query: str = "mixture") -> Generator[str, None, list[Suggestion]]:
        for stage in ("Looking at “a”", "Looking at “b”"):
            self._do("suggest", (n, query))
            self.gate.wait(TIMEOUT_S)
            yield stage
        whole = (slice(0, SHAPE[0]), slice(0, SHAPE[1]))
        return [Suggestion("b", (), whole, "blob", 5.0, "It looks new.", 1.0)][:n]

    def claims(self) -> list[ClaimTrust]:
        self._do("claims")
        return [ClaimTrust("a", "rough", (), (2, 3), 40, 0.25)]

    @property
    def least_px(self) -> dict[int, int]:
        return {}

    def fragments(
        self,
        image: str,
        frame: tuple[int, ...],
        start: tuple[int, ...],
        labels: NDArray[np.uint8],
        certainty: NDArray[np.float32],
        inwardness: NDArray[np.float32],
    ) -> Fragments:
        return fragments_of(labels, certainty=certainty, inwardness=inwardness)

    def grown(self, image: str, frame: tuple[int, ...]) -> NDArray[np.uint8]:
        self._do("grown", image)
        return np.full(SHAPE, self.rounds + 1, np.uint8)

    def conflicts(self) -> Mapping[str, int]:
        return dict(self.found_conflicts)

    def shrink(self) -> str:
        self._do("shrink")
        if self.count("shrink") > 3:
            raise TrainingError("The images are too large.", "Use a smaller patch.")
        return "Short of memory: going on with half as many patches."

    def save(self, folder: Path) -> None:
        self._do("save", folder)
        (folder / "state.json").write_text(json.dumps({"steps": self.steps}), encoding="utf-8")

    def load(self, folder: Path) -> None:
        self._do("load", folder)
        self.steps = json.loads((folder / "state.json").read_text(encoding="utf-8"))["steps"]

    def close(self) -> None:
        self.closed = True


class Marks:
    """Stands in for the count of marks."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    def changed(self, image: str) -> None:
        self.forgotten.append(image)

    def __call__(self) -> MarkCount:
        return MarkCount(14, 0, 3)


class Harness:
    """A runner with a fake trainer, its events, and patience."""

    def __init__(self, folder: Path, trainer: type[FakeTrainer]) -> None:
        self.trainers = trainer.made
        self.mailbox = Mailbox()
        self.events: list[Event] = []
        self.marks = Marks()
        self.history: list[Mapping[str, Any]] = []
        self.identity: dict[str, object] = {"classes": ["background", "cell"]}
        self.checkpoints = Checkpoints(folder / "checkpoints", lambda: self.identity)
        self.on_make: Callable[[FakeTrainer], None] = lambda trainer: None
        self._kind = trainer
        self.runner = self.new_runner()

    def new_runner(self) -> Runner:
        self.runner = Runner(
            self._make, self.mailbox, self.checkpoints, count_marks=self.marks, record=self.history.append
        )
        return self.runner

    def _make(self) -> FakeTrainer:
        trainer = self._kind()
        self.on_make(trainer)
        return trainer

    @property
    def trainer(self) -> FakeTrainer:
        return self.trainers[-1]

    def send(self, *commands: Command) -> None:
        for command in commands:
            self.runner.send(command)

    def drain(self) -> list[Event]:
        self.events += self.mailbox.drain()
        return self.events

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until the condition holds and return its value."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            self.drain()
            if value := condition():
                return value
            self.mailbox.wait(0.002)
        raise AssertionError(f"it never came to it; events: {self.events}")

    def of(self, kind: type[_E]) -> list[_E]:
        return [event for event in self.drain() if isinstance(event, kind)]

    def forget(self) -> None:
        self.drain()
        self.events.clear()

    def until_event(self, kind: type[_E], n: int = 1) -> _E:
        return self.until(lambda: len(self.of(kind)) >= n and self.of(kind)[n - 1])

    def until_finished(self, run_id: int) -> Finished:
        return self.until(lambda: next((e for e in self.of(Finished) if e.run_id == run_id), None))

    def until_phase(self, phase: Phase) -> None:
        self.until(lambda: self.runner.status.phase is phase)

    def until_steps(self, n: int) -> None:
        self.until(lambda: self.trainers and self.trainer.steps >= n)

    @property
    def phases(self) -> list[Phase]:
        """Phases in order, repeats left out."""
        phases: list[Phase] = []
        for event in self.of(StateChanged):
            if not phases or phases[-1] is not event.phase:
                phases.append(event.phase)
        return phases


@pytest.fixture
def fake_trainer() -> type[FakeTrainer]:
    """A class of its own for each test, so that tests do not see one another's trainers."""
    return type("FakeTrainer", (FakeTrainer,), {"made": []})


@pytest.fixture
def harness(tmp_path: Path, fake_trainer: type[FakeTrainer]) -> Iterator[Harness]:
    harness = Harness(tmp_path, fake_trainer)
    yield harness
    for trainer in harness.trainers:
        trainer.gate.set()
    assert harness.runner.shutdown(TIMEOUT_S)
    assert not [t for t in threading.enumerate() if t.name == THREAD_NAME]
    assert all(trainer.closed for trainer in harness.trainers)

"""How smooth a real napari window stays while the engine learns, and how soon a stroke shows.

Run by `speed` in a process of its own, under a display. Prints one JSON object as its last line.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QApplication

from benchmarks.scene import image_of, marks_on
from benchmarks.speed_engine import spread
from napari_weakseg.core.project import Project
from napari_weakseg.engine.factory import trainer_factory
from napari_weakseg.engine.messages import Phase
from napari_weakseg.engine.protocol import Tile
from napari_weakseg.session import Session
from napari_weakseg.widgets.desk import Desk
from napari_weakseg.widgets.panel import WeaksegPanel

_SIZE_PX = 1024
_TIMER_MS = 10
_SETTLE_S = 2.0
_BETWEEN_STROKES_S = 1.0
_DABS, _DAB_INTERVAL_S = 8, 0.02  # positions of the brush in a stroke, and the time from one to the next
_STROKES, _STROKES_S = 6, 90.0  # so many strokes are timed, or as many as that time allows
_PATIENCE_S = 180.0


class Watched:
    """A trainer that notes when the first tile after a stroke left it; all else is the trainer's own.

    Attributes
    ----------
    first_tile_s, knows_s : float
        When the latest first tile was ready, and when the marks that it knows were taken in.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._taken_s: float | None = None
        self.first_tile_s = self.knows_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    def annotations_changed(self, image: str) -> None:
        """Take in a stroke."""
        began_s = time.perf_counter()
        self._trainer.annotations_changed(image)
        self._taken_s = began_s

    def predict(self, *args: Any, **options: Any) -> Iterator[Tile]:
        """Predict; note the first tile after a stroke."""
        taken_s, self._taken_s = self._taken_s, None
        for tile in self._trainer.predict(*args, **options):
            if taken_s is not None:
                self.knows_s, self.first_tile_s, taken_s = taken_s, time.perf_counter(), None
            yield tile


class WatchedSession(Session):
    """A session that notes when it was told of marks."""

    told_s = 0.0

    def annotations_changed(self, name: str) -> None:
        """Pass on that marks changed; they are in the project by now."""
        self.told_s = time.perf_counter()
        super().annotations_changed(name)


class Window:
    """A window with an image and the panel.

    Parameters
    ----------
    folder : Path
    device : str
    threads : int
        Of the engine.
    """

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        import napari

        self.trainers: list[Watched] = []
        self.sessions: list[WatchedSession] = []
        self._device, self._threads = device, threads
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(1200, 800)
        image, self.objects = image_of((_SIZE_PX, _SIZE_PX))
        self.viewer.add_image(image, name="scene")
        self.panel = WeaksegPanel(self.viewer, make_session=self._session, desk=Desk(folder))
        self.panel.train_box.auto.setChecked(False)
        self.viewer.window.add_dock_widget(self.panel, name="weakseg")
        wait(lambda: self.panel.controller.bench.current is not None)
        self.viewer.reset_view()
        self.shown_s = 0.0

    def _session(self, project: Project) -> Session:
        make = trainer_factory(project, None, device=self._device, seed=0, threads=self._threads)

        def watched() -> Any:
            self.trainers.append(Watched(make()))
            return self.trainers[-1]

        session = WatchedSession(project, make_trainer=watched)
        session.preview.connect(self._on_preview)
        self.sessions.append(session)
        return session

    def _on_preview(self, event: object) -> None:
        self.shown_s = time.perf_counter()

    @property
    def annotation(self) -> Any:
        """Layer that is painted on."""
        canvas = self.panel.controller.bench.current
        assert canvas is not None
        return canvas.annotation

    def mark(self) -> None:
        """Paint blobs and a stroke of background, as if filled at once."""
        labels = marks_on(self.objects)
        for value in (1, 2):
            self.annotation.data_setitem(np.nonzero(labels == value), value)
        wait(lambda: self.panel.controller.bench.has_marks(), "the marks to be taken in")

    def train(self) -> float:
        """Start; returns the seconds until training runs."""
        began_s = time.perf_counter()
        link = self.panel.controller.link
        link.start()
        wait(lambda: link.phase is Phase.TRAINING, "training to start")
        return time.perf_counter() - began_s


class Painter:
    """Paints one stroke after another, each some time after the answer to the one before.

    Attributes
    ----------
    delays : list of float
        Seconds from the end of each stroke to the first tile that knows it, shown in the window.
    """

    def __init__(self, window: Window, *, answers: bool) -> None:
        self._window, self._answers = window, answers
        self._rng = np.random.default_rng(1)
        self.delays: list[float] = []
        self._timer = QTimer()
        self._timer.timeout.connect(self._on_tick)
        self._path: list[tuple[int, int]] = []
        self._ended_s: float | None = None
        self._told_s: float | None = None  # when the whole stroke was in the project
        self._next_s = 0.0

    def start(self) -> None:
        """Begin."""
        self._window.annotation.brush_size = 8
        self._timer.start(int(1000 * _DAB_INTERVAL_S))

    def stop(self) -> None:
        """Paint no more."""
        self._timer.stop()

    def _on_tick(self) -> None:
        now_s = time.perf_counter()
        if self._ended_s is not None:
            self._await(now_s)
        elif self._path:
            self._window.annotation.paint(self._path.pop(), 2)
            if not self._path:
                self._ended_s = time.perf_counter()
        elif now_s >= self._next_s:
            self._path = self._stroke()

    def _await(self, now_s: float) -> None:
        assert self._ended_s is not None
        trainer = self._window.trainers[-1] if self._window.trainers else None
        if not self._answers:
            self._next_s, self._ended_s = now_s + _BETWEEN_STROKES_S, None
            return
        window = self._window
        told_s = window.sessions[-1].told_s
        if self._told_s is None and told_s > self._ended_s:
            self._told_s = told_s
        known = self._told_s is not None and trainer is not None and trainer.knows_s > self._told_s
        if known and trainer is not None and window.shown_s > trainer.first_tile_s:
            self.delays.append(window.shown_s - self._ended_s)
            self._next_s, self._ended_s, self._told_s = now_s + _BETWEEN_STROKES_S, None, None

    def enough(self, until_s: float) -> bool:
        """Tell whether enough strokes were timed, or the time is up."""
        return len(self.delays) >= _STROKES or time.perf_counter() > until_s

    def _stroke(self) -> list[tuple[int, int]]:
        """Positions along a line that begins in a cell, where nothing is painted yet."""
        free = (self._window.objects > 0) & (np.asarray(self._window.annotation.data) == 0)
        free[:, -2 * _DABS :] = False
        cells = np.argwhere(free)
        y, x = cells[self._rng.integers(len(cells))]
        return [(int(y), int(x) + 2 * i) for i in range(_DABS)]


def wait(condition: Callable[[], bool], what: str = "the window") -> None:
    """Keep the window alive until something is so."""
    began_s = time.perf_counter()
    while not condition():
        QApplication.processEvents()
        time.sleep(0.005)
        if time.perf_counter() - began_s > _PATIENCE_S:
            raise TimeoutError(f"Waited {_PATIENCE_S:.0f} s for {what}.")


def lateness(seconds: float) -> dict[str, Any]:
    """Milliseconds by which a 10 ms timer is late, in the event loop of the application."""
    stamps: list[float] = []
    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(lambda: stamps.append(time.perf_counter()))
    loop = QEventLoop()  # not the application's own: its end would close the panel
    QTimer.singleShot(int(1000 * seconds), loop.quit)
    timer.start(_TIMER_MS)
    loop.exec()
    timer.stop()
    late = np.maximum(0, 1000 * np.diff(stamps) - _TIMER_MS)
    found = spread([float(value) for value in late], 2)
    found["p50"] = found.pop("median")
    return found


def measure(seconds: float, device: str, threads: int) -> dict[str, Any]:
    """Lateness idle, idle and painting, learning, learning and painting; and what a stroke takes to show."""
    found: dict[str, Any] = {"size": f"{_SIZE_PX}² × 1 channel, all on screen", "engine_threads": threads}
    with tempfile.TemporaryDirectory() as folder:
        window = Window(Path(folder), device, threads)
        window.mark()
        late: dict[str, Any] = {}
        for name, training, painting in (
            ("idle", False, False),
            ("painting", False, True),
            ("learning", True, False),
            ("learning and painting", True, True),
        ):
            if training and not window.trainers:
                found["start_s"] = round(window.train(), 3)
            painter = Painter(window, answers=training)
            if painting:
                painter.start()
            _rest(_SETTLE_S)
            late[name] = lateness(seconds)
            if training and painting:
                wait(partial(painter.enough, time.perf_counter() + _STROKES_S))
                found["stroke_s"] = spread(painter.delays, 3) if painter.delays else None
            painter.stop()
        found |= {"late_ms": late, "steps": window.trainers[-1].steps}
        window.panel.close()
        window.viewer.close()
    return found


def _rest(seconds: float) -> None:
    until_s = time.perf_counter() + seconds
    wait(partial(_past, until_s))


def _past(until_s: float) -> bool:
    return time.perf_counter() > until_s


def main() -> None:
    """Measure and print."""
    seconds, device, threads = sys.argv[1:]
    print(json.dumps(measure(float(seconds), device, int(threads))))


if __name__ == "__main__":
    main()

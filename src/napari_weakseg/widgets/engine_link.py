"""The session of the open project and what comes from it. A timer polls; nothing else touches the engine."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_weakseg.engine.messages import Conflict, GrownPreview, Phase, Preview, StateChanged
from napari_weakseg.widgets.canvas import ImageCanvas, spatial_region
from napari_weakseg.widgets.enablement import RUNNING
from napari_weakseg.widgets.overlay import Role

if TYPE_CHECKING:
    from napari_weakseg.core.project import Project
    from napari_weakseg.session import Session

_POLL_MS = 50


class EngineLink(QObject):
    """Starts, stops and listens to the engine of one project at a time.

    Parameters
    ----------
    make_session : callable
        Project → Session.
    canvas_of : callable
        Name of an image → its canvas, or None where it is not shown.
    """

    phase_changed = Signal(object, str)  # Phase, what to say about it
    progressed = Signal(object)  # Progress
    failed = Signal(object)  # Failed
    conflicts_changed = Signal(str, int)  # image, pixels
    saved = Signal(object)  # Saved
    suggested = Signal(object)  # Suggested
    reviewed = Signal(object)  # Reviewed
    predicted = Signal(object)  # Predicted
    stored = Signal(object)  # Stored
    refused = Signal(object)  # Refused
    polled = Signal()

    def __init__(
        self,
        make_session: "Callable[[Project], Session]",
        canvas_of: Callable[[str], ImageCanvas | None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._make_session = make_session
        self._canvas_of = canvas_of
        self._session: Session | None = None
        self._phase = self._within = Phase.IDLE  # now, and before what is being predicted
        self._last_view: object = None
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self.poll)

    @property
    def phase(self) -> Phase:
        """What the engine is doing, as far as the panel was told."""
        return self._phase

    @property
    def running(self) -> bool:
        """Whether the engine learns, or is about to, or holds on, also while it answers something in between."""
        return (self._within if self._phase is Phase.PREDICTING else self._phase) in RUNNING

    @property
    def trained(self) -> bool:
        """Whether there is anything to predict with."""
        return self._session is not None and self._session.status.trained

    def open(self, project: "Project") -> None:
        """Listen to another project."""
        self.close()
        session = self._session = self._make_session(project)
        session.state_changed.connect(self._on_state)
        session.progress.connect(self.progressed.emit)
        session.preview.connect(self._on_preview)
        session.grown_changed.connect(self._on_grown)
        session.failed.connect(self.failed.emit)
        session.saved.connect(self.saved.emit)
        session.conflict.connect(self._on_conflict)
        session.suggested.connect(self.suggested.emit)
        session.reviewed.connect(self.reviewed.emit)
        session.predicted.connect(self.predicted.emit)
        session.stored.connect(self.stored.emit)
        session.refused.connect(self.refused.emit)
        self._set_phase(Phase.IDLE, "")
        self._timer.start()

    def close(self) -> None:
        """End the engine's thread; what was learned is saved."""
        with suppress(RuntimeError):  # Qt may have done away with the timer: the window is gone
            self._timer.stop()
        session, self._session, self._last_view = self._session, None, None
        if session is None:
            return
        for signal in (
            session.state_changed,
            session.progress,
            session.preview,
            session.grown_changed,
            session.failed,
            session.saved,
            session.conflict,
            session.suggested,
            session.reviewed,
            session.predicted,
            session.stored,
            session.refused,
        ):
            signal.disconnect()
        session.close()
        self._phase = Phase.IDLE

    def start(self) -> None:
        """Learn until stopped."""
        if self._session is not None and not self.running:
            self._set_phase(Phase.PREPARING, "Getting ready …")
            self._session.start()

    def stop(self) -> None:
        """End learning."""
        if self._session is not None:
            self._session.stop()

    def pause(self) -> None:
        """Hold learning."""
        if self._session is not None:
            self._session.pause()

    def resume(self) -> None:
        """Go on after a pause."""
        if self._session is not None:
            self._session.resume()

    def marks_changed(self, image: str) -> None:
        """Tell the engine that marks changed."""
        if self._session is not None:
            self._session.annotations_changed(image)

    def suggest(self, n: int) -> int | None:
        """Ask what to annotate next; gives the number that the answer carries, None without a session."""
        return None if self._session is None else self._session.request_suggestions(n)

    def review(self) -> int | None:
        """Ask how far the masks that may be wrong are trusted; numbered as :meth:`suggest`."""
        return None if self._session is None else self._session.request_claims()

    def find_objects(self, image: str, frame: tuple[int, ...]) -> int | None:
        """Ask for the objects of a frame; gives the number that the answer carries, None without a session."""
        return None if self._session is None else self._session.request_prediction(image, frame=frame, objects=True)

    def save_results(self, image: str, folder: Path, **settings: Any) -> int | None:
        """Ask for files of an image; gives the number that the answer carries, None without a session."""
        return None if self._session is None else self._session.request_results(image, folder, **settings)

    def look_at(self, canvas: ImageCanvas | None) -> None:
        """Tell the engine what is on screen."""
        if self._session is None:
            return
        view = None
        if canvas is not None:
            view = canvas.name, canvas.frame, spatial_region(canvas.shown, canvas.spatial_ndim)
        if repr(view) == self._last_view:
            return
        self._last_view = repr(view)
        if view is None:
            self._session.view(None)
        else:
            self._session.view(*view)

    def poll(self) -> None:
        """Fetch what the engine has to say."""
        if self._session is not None:
            self._session.poll()
            self.polled.emit()

    def _set_phase(self, phase: Phase, message: str) -> None:
        if phase is Phase.PREDICTING and self._phase is not phase:
            self._within = self._phase
        self._phase = phase
        self.phase_changed.emit(phase, message)

    def _on_state(self, event: StateChanged) -> None:
        self._set_phase(event.phase, event.message)

    def _on_preview(self, event: Preview) -> None:
        canvas = self._canvas_of(event.image)
        if canvas is not None:
            canvas.show_block(Role.PREDICTION, event.frame, event.start, event.labels)

    def _on_grown(self, event: GrownPreview) -> None:
        canvas = self._canvas_of(event.image)
        if canvas is not None:
            canvas.show_block(Role.GROWN, event.frame, (0,) * event.labels.ndim, event.labels)

    def _on_conflict(self, event: Conflict) -> None:
        self.conflicts_changed.emit(event.image, event.pixels)


def make_session(project: "Project") -> "Session":
    """Session that leaves one processor core to the window."""
    from napari_weakseg.session import Session

    cores = os.cpu_count() or 2
    return Session(project, threads=max(1, cores - 1))

"""Joins panel, viewer, project and engine. Values go down, wishes come up; no widget knows another."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QCoreApplication, QObject

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.engine.messages import Failed, Phase, Progress, Saved
from napari_weakseg.widgets import messages
from napari_weakseg.widgets.accepting import Accepting
from napari_weakseg.widgets.box_editing import BoxEditing
from napari_weakseg.widgets.completeness import Completeness
from napari_weakseg.widgets.enablement import Action, Situation, enabled, two_classes_marked
from napari_weakseg.widgets.engine_link import EngineLink
from napari_weakseg.widgets.guidance import Guidance
from napari_weakseg.widgets.image_watch import ImageWatch
from napari_weakseg.widgets.keys import Shortcuts
from napari_weakseg.widgets.marking import Marking
from napari_weakseg.widgets.object_finding import ObjectFinding
from napari_weakseg.widgets.projects import Projects
from napari_weakseg.widgets.result_saving import ResultSaving
from napari_weakseg.widgets.theme import theme_colors
from napari_weakseg.widgets.timers import single_shot, stop_timer
from napari_weakseg.widgets.workbench import Workbench

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_weakseg.core.project import Project
    from napari_weakseg.session import Session
    from napari_weakseg.widgets.desk import Desk
    from napari_weakseg.widgets.panel import WeaksegPanel

_VIEW_MS = 120
_DEVICE_SENTENCE = "Learning on "  # how the engine begins the sentence that names the device


class Controller(QObject):
    """One for each panel; ends with :meth:`close`.

    Parameters
    ----------
    viewer : ViewerModel
    panel : WeaksegPanel
    desk : Desk
    make_session : callable
        Project → Session.
    """

    def __init__(
        self,
        viewer: "ViewerModel",
        panel: "WeaksegPanel",
        *,
        desk: "Desk",
        make_session: "Callable[[Project], Session]",
    ) -> None:
        super().__init__()
        self.viewer, self.panel = viewer, panel
        self._closed = False
        self._stopped_by_hand = False
        self._inserted = True  # what is in the viewer already counts as new
        self._settled = single_shot(self, 0, self._on_layers_settled)
        self._looked = single_shot(self, _VIEW_MS, self._look)
        guard = messages.guarded
        self.bench = Workbench(viewer, desk, guard, self)
        self.link = EngineLink(make_session, self.bench.canvases.get, self)
        self.marking = Marking(self.bench, panel.class_table, guard, self)
        self.completeness = Completeness(self.bench, panel.notices, self)
        self.boxes = BoxEditing(self.bench, panel.notices, self)
        self.accepting = Accepting(viewer, panel.accept_box, lambda: self.bench.current, self)
        self.projects = Projects(self.bench, panel, self)
        self.watch = ImageWatch(self.bench, panel.notices, self)
        self.guidance = Guidance(self.bench, self.link, panel.next_box, panel.claims_box, self)
        self.finding = ObjectFinding(self.bench, self.link, panel.objects_box, self)
        self.saving = ResultSaving(self.bench, self.link, panel.save_box, self.finding, self)
        self.keys = Shortcuts(viewer, self._key_actions())
        application = QCoreApplication.instance()
        self._quitting = application.aboutToQuit if application is not None else None
        if self._quitting is not None:
            self._quitting.connect(self.close)
        self._connect()
        self._on_theme()
        self._on_layers_settled()

    def _connect(self) -> None:
        panel, bench, link = self.panel, self.bench, self.link
        panel.train_box.wanted.connect(self.do)
        panel.train_box.auto_changed.connect(self._maybe_start)
        panel.settings.value_changed.connect(self._on_settings)
        self.marking.classes_changed.connect(self._on_classes)
        self.marking.facts_changed.connect(self._on_marks)
        self.completeness.said.connect(self._on_marks)
        self.marking.class_picked.connect(self.accepting.stop_clicking)
        bench.project_closing.connect(link.close)
        bench.project_changed.connect(self._on_project)
        bench.current_changed.connect(self._on_current)
        bench.strokes.marks_changed.connect(self._on_marks)
        bench.aside.changed.connect(self._on_busy)
        link.phase_changed.connect(self._on_phase)
        link.progressed.connect(self._on_progress)
        link.failed.connect(self._on_failed)
        link.conflicts_changed.connect(self.projects.show_conflicts)
        link.saved.connect(self._on_saved)
        link.polled.connect(self._on_polled)
        for emitter, slot in self._viewer_events():
            emitter.connect(slot)

    def _viewer_events(self) -> list[tuple[Any, Callable[..., None]]]:
        layers = self.viewer.layers.events
        camera = getattr(self.viewer, "scene", self.viewer).camera.events  # napari < 0.9: viewer.camera
        return [
            (layers.inserted, self._on_layers),
            (layers.removed, self._on_layers),
            (layers.reordered, self._on_layers),
            (self.viewer.dims.events.current_step, self._on_moved),
            (self.viewer.dims.events.ndisplay, self._on_moved),
            (camera.center, self._on_moved),
            (camera.zoom, self._on_moved),
            (self.viewer.events.theme, self._on_theme),
        ]

    def _key_actions(self) -> dict[str, Callable[[Any], Any]]:
        return {
            **{str(class_id): _picker(self.marking, class_id) for class_id in range(1, 10)},
            "M": lambda _: self.completeness.toggle(),
            "R": lambda _: self.marking.toggle_boxes(),
            "T": lambda _: self.toggle(),
            "Shift-T": lambda _: self.do(Action.STOP),
            "A": lambda _: self.accepting.accept_object(),
            "Shift-A": lambda _: self.accepting.accept_grown(),
            "N": lambda _: self.projects.go_next(),
            "Shift-N": lambda _: self.guide(),
            "O": lambda _: self.find_objects(),
            "Shift-O": lambda _: self.save_results(),
            "H": self._hold_to_hide,
        }

    # ----------------------------------------------------------------------- wishes

    def do(self, action: str) -> None:
        """Train, pause, go on or stop, if that is possible now."""
        if self._closed or Action(action) not in self._enabled():
            return
        self.bench.strokes.flush_all()
        self._stopped_by_hand = action == Action.STOP
        calls = {
            Action.TRAIN: self._start,
            Action.PAUSE: self.link.pause,
            Action.RESUME: self.link.resume,
            Action.STOP: self.link.stop,
        }
        calls[Action(action)]()

    def toggle(self) -> None:
        """Train, pause or go on, whichever is possible."""
        for action in (Action.TRAIN, Action.PAUSE, Action.RESUME):
            if action in self._enabled():
                self.do(action)
                return

    def guide(self) -> None:
        """Ask what to annotate next, if that is possible now."""
        if Action.SUGGEST in self._enabled():
            self.guidance.suggest()

    def find_objects(self) -> None:
        """Look for the objects on screen, if that is possible now."""
        if Action.SUGGEST in self._enabled():
            self.finding.find()

    def save_results(self, all_images: bool = False) -> None:
        """Save the results of the image at hand, or of all, if that is possible now."""
        if Action.SAVE_RESULTS in self._enabled():
            self.saving.ask_and_save(all_images)

    def open_project(self) -> None:
        """Ask for a project folder and open it, if that is possible now."""
        if Action.CHANGE_PROJECT in self._enabled():
            self.projects.ask_and_open()
        else:
            messages.info("Something is being learned, saved or read. Wait for it, or press Stop, then open a project.")

    def set_docked(self, docked: bool) -> None:
        """Bind the keys while the panel is open, and only then."""
        if docked and not self._closed:
            canvas = self.bench.current
            self.keys.bind([canvas.image, *canvas.own_layers] if canvas is not None else [], self.boxes.keys())
        else:
            self.keys.unbind()

    def close(self, *, remove: bool = False) -> None:
        """Hand on the last strokes, end the engine's thread, let go of the viewer.

        `remove` takes our layers out of the viewer, which stays open.
        """
        if self._closed:
            return
        self._closed = True
        if self._quitting is not None:
            with suppress(RuntimeError, TypeError):  # the application may be gone already
                self._quitting.disconnect(self.close)
        for emitter, slot in self._viewer_events():
            emitter.disconnect(slot)
        self.marking.close()
        self.boxes.close()
        self.accepting.close()
        self.finding.close()
        self.keys.unbind()
        self.bench.strokes.flush_all()
        self.saving.close()
        self.link.close()
        self.bench.close(remove=remove)
        for timer in (self._settled, self._looked):
            stop_timer(timer)

    # ------------------------------------------------------------------ what happens

    def _start(self) -> None:
        self.panel.notices.clear("failed")
        self.panel.train_box.curve.clear()
        self.panel.train_box.curve.prepare()
        self.link.start()

    def _on_project(self) -> None:
        project = self.bench.desk.project
        self._stopped_by_hand = False
        self.panel.train_box.curve.clear()
        self.panel.train_box.set_progress("")
        self.guidance.clear()
        self.completeness.clear()
        self.finding.clear()
        self.saving.clear()
        self.panel.project_box.set_path(project.path if project is not None else None)
        if project is None:
            self.link.close()
            return
        self.panel.settings.setValue(project.config)
        self.link.open(project)
        self.link.look_at(self.bench.current)

    def _on_current(self) -> None:
        self.marking.follow()
        self.marking.refresh()
        self.panel.image_box.setValue(self.bench.describe())
        self._on_layers_settled()
        canvas = self.bench.current
        if canvas is not None:
            self.marking.pick(min(2, canvas.bridge.n_classes))
            self.projects.show_notes()
        self._look()

    def _on_layers(self, event: Any) -> None:
        from napari.layers import Image

        self._inserted |= event.type == "inserted" and isinstance(event.value, Image)
        self._settled.start()

    def _on_layers_settled(self) -> None:
        if not self._closed:
            take_new, self._inserted = self._inserted, False
            self.projects.list_images(take_new=take_new)
            self.set_docked(self.keys.active)  # layers that are new need the keys, too
            self._update()

    def _on_moved(self, event: object = None) -> None:
        self._looked.start()

    def _look(self) -> None:
        if not self._closed:
            self.link.look_at(self.bench.current)
            self.marking.look()
            self.completeness.ask()
            self._update()

    def _on_marks(self, name: str) -> None:
        self.link.marks_changed(name)
        if self._closed:
            return
        self.marking.refresh()
        self.completeness.ask()
        self._maybe_start()
        self._update()

    def _maybe_start(self, _: object = None) -> None:
        """Begin to learn once two classes are marked, unless the person stopped it."""
        counts = [canvas.counts for canvas in self.bench.canvases.values()]
        wanted = self.panel.train_box.auto.isChecked() and not self._stopped_by_hand and not self._closed
        if wanted and Action.TRAIN in self._enabled() and two_classes_marked(counts):
            self._start()

    def _on_classes(self) -> None:
        self.bench.strokes.flush_all()  # what was painted for a class that there is now
        self.projects.show_stray()
        if self.link.running:
            self.link.stop()
            by_itself = self.panel.train_box.auto.isChecked()
            further = "It goes on with the next stroke." if by_itself else "Press Train to go on."
            messages.info(f"The classes changed, so learning was stopped. {further}")

    def _on_settings(self, config: TrainConfig) -> None:
        messages.guarded(lambda: self.bench.desk.open_project.set_config(config))

    def _on_busy(self, text: str) -> None:
        self.panel.train_box.set_progress(text)
        self._update()

    def _on_phase(self, phase: Phase, message: str) -> None:
        self.panel.train_box.set_phase(phase)
        if message.startswith(_DEVICE_SENTENCE):
            self.panel.train_box.set_device(message)
        elif message:
            self.panel.train_box.set_progress(message)
        self._update()

    def _on_progress(self, progress: Progress) -> None:
        self.panel.train_box.set_progress(progress.message)
        self.panel.train_box.curve.add(progress.seconds, progress.loss, progress.quality)

    def _on_failed(self, event: Failed) -> None:
        self._stopped_by_hand = True  # nothing is gained by failing again at the next stroke
        self.panel.notices.post("failed", f"{event.problem} {event.remedy}", {"Try again": self.retry})
        messages.warn(event.problem, event.remedy, event.details)
        self._update()

    def _on_saved(self, event: Saved) -> None:
        self.viewer.status = f"What was learned is saved in {event.path}"

    def retry(self) -> None:
        """Train again after a failure."""
        self.panel.notices.clear("failed")
        self.do(Action.TRAIN)

    def _on_polled(self) -> None:
        drawn = False
        for canvas in self.bench.canvases.values():
            drawn |= canvas.refresh()
        if drawn:
            self.completeness.ask()
            self._update()

    def _on_theme(self, event: object = None) -> None:
        colors = theme_colors(self.viewer)
        self.panel.train_box.curve.set_colors(text=colors["text"], background=colors["background"])
        self.panel.notices.set_color(colors["current"])

    def _hold_to_hide(self, _: object) -> Any:
        """Hide what the machine shows until the key is released."""
        canvas = self.bench.current
        layers = [layer for layer in canvas.results() if layer.visible] if canvas is not None else []
        for layer in layers:
            layer.visible = False
        yield
        for layer in layers:
            layer.visible = True

    # --------------------------------------------------------------------- enablement

    def _enabled(self) -> frozenset[Action]:
        canvas = self.bench.current
        return enabled(
            Situation(
                phase=Phase.CLOSED if self._closed else self.link.phase,
                has_image=canvas is not None,
                has_marks=self.bench.has_marks(),
                has_result=canvas is not None and canvas.has_result(),
                trained=self.link.trained,
                busy=bool(self.bench.aside.doing),
                learning=self.link.running,
                saving=self.saving.busy,
            )
        )

    def _update(self) -> None:
        actions, panel, canvas = self._enabled(), self.panel, self.bench.current
        self.bench.may_leave = Action.CHANGE_PROJECT in actions
        panel.train_box.set_enabled(actions)
        panel.accept_box.set_enabled(Action.ACCEPT in actions)
        panel.next_box.button.setEnabled(Action.SUGGEST in actions)
        panel.objects_box.button.setEnabled(Action.SUGGEST in actions)
        panel.save_box.set_enabled(Action.SAVE_RESULTS in actions)
        panel.claims_box.setEnabled(canvas is not None)
        panel.claims_box.review.setEnabled(Action.SUGGEST in actions)
        panel.class_table.setEnabled(Action.EDIT_CLASSES in actions)
        panel.image_box.set_editable(Action.DESCRIBE_IMAGE in actions)
        panel.settings.setEnabled(Action.CHANGE_SETTINGS in actions)
        panel.project_box.set_enabled(Action.CHANGE_PROJECT in actions, self.bench.desk.project is not None)


def _picker(marking: Marking, class_id: int) -> Callable[[Any], None]:
    """Make what a number key does; napari asks for the name of such a function, which a partial has not."""

    def pick(_: Any) -> None:
        marking.pick(class_id)

    return pick

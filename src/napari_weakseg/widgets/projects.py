"""Images and projects as the panel offers them, and the notices that need an answer."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog

from napari_weakseg.core.moved import find_moved
from napari_weakseg.widgets import messages
from napari_weakseg.widgets.axes import Guess
from napari_weakseg.widgets.desk import SUFFIX
from napari_weakseg.widgets.overlay import KEY
from napari_weakseg.widgets.workbench import LEFT, Workbench

if TYPE_CHECKING:
    from napari_weakseg.widgets.panel import WeaksegPanel


class Projects(QObject):
    """Answers the image box, the project menu and the notices.

    Parameters
    ----------
    bench : Workbench
    panel : WeaksegPanel
    """

    def __init__(self, bench: Workbench, panel: "WeaksegPanel", parent: QObject) -> None:
        super().__init__(parent)
        self._bench, self._panel, self._notices = bench, panel, panel.notices
        self._entries: list[tuple[str, Any]] = []
        self._named: list[Any] = []
        self._conflicts: dict[str, int] = {}
        self._missing: tuple[str, ...] = ()  # when last looked: thousands of files on a server take time to look for
        panel.image_box.chosen.connect(self._on_chosen)
        panel.image_box.axes_changed.connect(self._on_axes)
        panel.image_box.ndim_changed.connect(self._on_ndim)
        panel.project_box.new_wanted.connect(self.new)
        panel.project_box.open_wanted.connect(self.ask_and_open)
        panel.project_box.save_as_wanted.connect(self.ask_and_save)
        panel.project_box.merge_wanted.connect(self.ask_and_merge)
        panel.project_box.find_wanted.connect(self.ask_and_find)
        bench.project_changed.connect(self._forget)
        bench.current_changed.connect(self.show_stray)
        bench.layer_removed.connect(self._on_layer_removed)
        bench.strokes.stray_changed.connect(self.show_stray)
        bench.strays_left.connect(self._on_strays_left)
        bench.strokes.unsaved.connect(self._on_unsaved)

    # ----------------------------------------------------------------------- images

    def list_images(self, *, take_new: bool = False) -> None:
        """Show which images there are; where none is worked on, `take_new` begins with one."""
        self._entries = self._bench.entries()
        self._follow_names([layer for _, layer in self._entries if layer is not None])
        current = self._bench.current
        index = next(
            (
                i
                for i, (name, layer) in enumerate(self._entries)
                if current is not None and (layer == current.image or (layer is None and name == current.name))
            ),
            -1,
        )
        self._panel.image_box.set_images([self._shown(*entry) for entry in self._entries], index)
        if current is not None and not current.missing():
            self._notices.clear("removed")
        layers = [layer for _, layer in self._entries if layer is not None]
        waiting = [layer for layer in layers if LEFT in layer.metadata.get(KEY, {})]
        left = waiting if self._bench.desk.project is None else []
        ours = left or [layer for layer in layers if KEY not in layer.metadata]
        idle = current is None or current.image not in self._bench.viewer.layers
        if take_new and idle and ours and not self._bench.aside.doing:
            active = self._bench.viewer.layers.selection.active
            chosen = next((layer for layer in ours if layer == active), ours[-1])
            messages.guarded(lambda: self._bench.choose(chosen))

    def _shown(self, name: str, layer: Any) -> str:
        return f"{name} (not found)" if layer is None and name in self._missing else name

    def _follow_names(self, layers: list[Any]) -> None:
        for layer in self._named:
            layer.events.name.disconnect(self._on_renamed)
        self._named = layers
        for layer in layers:
            layer.events.name.connect(self._on_renamed)

    def _on_renamed(self, event: object = None) -> None:
        self.list_images()

    def _on_chosen(self, index: int) -> None:
        name, layer = self._entries[index]
        if layer is None:
            messages.guarded(lambda: self._bench.open_image(name))
        else:
            messages.guarded(lambda: self._bench.choose(layer))
        self.list_images()

    def _on_axes(self, axes: str) -> None:
        self._begin_again(Guess(axes, True))

    def _on_ndim(self, ndim: int) -> None:
        canvas = self._bench.current
        if canvas is not None:
            self._begin_again(Guess(canvas.axes, True), ndim=ndim)

    def _begin_again(self, guess: Guess, *, ndim: int | None = None) -> None:
        canvas = self._bench.current
        if canvas is not None:
            layer = canvas.image
            messages.guarded(lambda: self._bench.begin(layer, guess, ndim=ndim))

    def go_next(self) -> None:
        """Go to the next slice, or else image, on which nothing is marked."""
        canvas = self._bench.current
        if canvas is None or self._bench.image is None:
            return
        frames = self._bench.image.frames()
        here = frames.index(canvas.frame)
        boxed = {box.start[: len(canvas.frame)] for box in self._bench.image.annotations.boxes}
        for frame in frames[here + 1 :] + frames[:here]:
            if not canvas.bridge.known[frame].any() and frame not in boxed:
                middle = [n // 2 for n in canvas.place.label_shape[len(frame) :]]
                canvas.go_to([*frame, *middle])
                return
        place, n = self._panel.image_box.images.currentIndex(), len(self._entries)
        following = [(place + step) % n for step in range(1, n)]
        index = next((i for i in following if self._is_to_do(*self._entries[i])), None)
        if index is not None:
            self._on_chosen(index)
        else:
            messages.info("Every image has marks. Open another image to go on.")

    def _is_to_do(self, name: str, layer: Any) -> bool:
        if self._bench.is_marked(name, layer):
            return False
        return layer is not None or not self._bench.desk.open_project.images[name].missing

    # --------------------------------------------------------------------- projects

    def new(self) -> None:
        """Begin a new project with the image worked on; the old one stays on disk."""
        canvas = self._bench.current
        if canvas is not None:
            layer, guess = canvas.image, Guess(canvas.axes, True)
            self._bench.strokes.flush_all()
            messages.guarded(lambda: self._bench.begin(layer, guess, fresh=True))

    def ask_and_open(self) -> None:
        """Ask for a project folder and open it."""
        start = str(self._bench.desk.root if self._bench.desk.root.exists() else Path.home())
        chosen = QFileDialog.getExistingDirectory(self._panel, "Open a project folder", start)
        if chosen:
            self.open(Path(chosen))

    def open(self, path: Path) -> None:
        """Open a project folder."""
        messages.guarded(lambda: self._bench.open_project(path))

    def ask_and_save(self) -> None:
        """Ask for a new folder and go on with a copy of the project there."""
        chosen, _ = QFileDialog.getSaveFileName(
            self._panel,
            "Save the project as",
            str(Path.home() / f"my-project{SUFFIX}"),
            f"Projects (*{SUFFIX})",
        )
        if chosen:
            messages.guarded(lambda: self._bench.save_as(Path(chosen)))

    def ask_and_merge(self) -> None:
        """Ask for another project and a new folder, and go on with both in one there."""
        other = QFileDialog.getExistingDirectory(self._panel, "Project to merge with this one", str(Path.home()))
        if not other:
            return
        chosen, _ = QFileDialog.getSaveFileName(
            self._panel, "Save both as", str(Path.home() / f"merged{SUFFIX}"), f"Projects (*{SUFFIX})"
        )
        if chosen:
            messages.guarded(lambda: self._bench.merge(Path(other), Path(chosen)))

    def ask_and_find(self) -> None:
        """Ask for a folder and look for the missing images of the project in it."""
        project, aside = self._bench.desk.project, self._bench.aside
        if project is None or aside.doing:
            return
        if not project.missing:
            messages.info("All images of this project are where they were.")
            return
        folder = QFileDialog.getExistingDirectory(self._panel, "Folder to look for the images in", str(Path.home()))
        if folder:
            looking = partial(find_moved, project, folder, wanted=aside.wanted)
            aside.do(f"Looking for images in “{Path(folder).name}” …", looking, self._on_found)

    def _on_found(self, names: list[str]) -> None:
        self._tell_missing()
        self.list_images()
        if not names:
            messages.info("None of the missing images is there. They are looked for by name and contents.")
        elif self._bench.current is None:
            self._bench.open_image(names[0])

    # ---------------------------------------------------------------------- notices

    def _tell_missing(self) -> None:
        """Say which images are not where they were, with a way to find them."""
        project = self._bench.desk.project
        missing = self._missing = () if project is None else project.missing
        if not missing:
            self._notices.clear("missing")
            return
        if len(missing) == 1:
            text = f"The file of “{missing[0]}” is not where it was."
        else:
            text = f"The files of {len(missing)} images are not where they were."
        self._notices.post("missing", f"{text} Marks are kept.", {"Find moved images…": self.ask_and_find})

    def show_notes(self) -> None:
        """Show what was noticed about the project and the image: missing files, gaps, constant channels."""
        project, image = self._bench.desk.project, self._bench.image
        notes: list[str] = []
        if project is not None and image is not None:
            messages.guarded(lambda: notes.extend(image.source.notes))
            notes.extend(note for note in project.notes if note not in notes)
        if notes:
            self._notices.post("notes", "\n".join(notes), {"OK": lambda: self._notices.clear("notes")})
        else:
            self._notices.clear("notes")

    def _forget(self) -> None:
        """Take the notices of another project away, and list its images, also where none of them can be shown."""
        self._conflicts.clear()
        for kind in ("notes", "conflict", "removed", "unsaved", "failed"):
            self._notices.clear(kind)
        self._tell_missing()
        self.list_images()

    def show_conflicts(self, name: str, pixels: int) -> None:
        """Show, or take away, how many pixels of an image are said to be two things."""
        self._conflicts[name] = pixels
        total = sum(self._conflicts.values())
        if not total:
            self._notices.clear("conflict")
            return
        where = " and ".join(f"“{n}”" for n, count in self._conflicts.items() if count)
        text = (
            f"{total} pixels on {where} are said to be two things at once (paint, coverage or tags "
            "contradict one another). They are not learned from."
        )
        self._notices.post("conflict", text, {"Show": self._show_conflict})

    def _show_conflict(self) -> None:
        name = next((n for n, count in self._conflicts.items() if count), None)
        project = self._bench.desk.project
        if name is None or project is None:
            return
        if self._bench.current is None or self._bench.current.name != name:
            messages.guarded(lambda: self._bench.open_image(name))
        canvas, image = self._bench.current, project.images[name]
        for frame in image.frames():
            places = np.argwhere(image.knowledge(frame).conflicts)
            if len(places) and canvas is not None:
                canvas.go_to([*frame, *places[len(places) // 2]])
                return

    def show_stray(self) -> None:
        """Show that something was painted with a label that is no class."""
        canvas = self._bench.current
        project = self._bench.desk.project
        stray = canvas.bridge.stray if canvas is not None else set()
        if project is None or not stray:
            self._notices.clear("stray")
            return
        text = (
            f"Label {min(stray)} is not a class: there are {len(project.classes)}. What you painted with it "
            "is kept in the layer, but not learned from and not saved. Undo it, or add classes."
        )
        self._notices.post("stray", text)

    def _on_strays_left(self, layer: str) -> None:
        messages.warn(
            "Something is painted with a label that is no class, and is not saved in the project.",
            f"The layer “{layer}” keeps it; save it with File ▸ Save if you need it.",
        )

    def _on_layer_removed(self, name: str) -> None:
        text = f"The layer “{name}” was removed from the viewer. Your marks are safe in the project."
        self._notices.post("removed", text, {"Bring it back": self._bring_back})

    def _bring_back(self) -> None:
        self._notices.clear("removed")
        if self._bench.current is not None:
            self._bench.current.bring_back()
        self.list_images()

    def _on_unsaved(self, problem: str) -> None:
        self._notices.post("unsaved", f"Not saved yet: {problem}", {"Try again": self._save_again})

    def _save_again(self) -> None:
        if messages.guarded(self._bench.desk.open_project.flush):
            self._notices.clear("unsaved")

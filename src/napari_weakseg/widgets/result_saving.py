"""Saves results image by image, in the background; nothing is written over without asking."""

from collections import deque
from pathlib import Path

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_weakseg.engine.messages import Refused, Stored
from napari_weakseg.widgets import messages
from napari_weakseg.widgets.engine_link import EngineLink
from napari_weakseg.widgets.object_finding import ObjectFinding
from napari_weakseg.widgets.save_box import SaveBox
from napari_weakseg.widgets.workbench import Workbench


class ResultSaving(QObject):
    """Answers the box that saves.

    Parameters
    ----------
    bench : Workbench
    link : EngineLink
    box : SaveBox
    finding : ObjectFinding
        Whose sliders tell objects apart.
    """

    def __init__(
        self, bench: Workbench, link: EngineLink, box: SaveBox, finding: ObjectFinding, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._bench, self._link, self._box, self._finding = bench, link, box, finding
        self._waiting: deque[str] = deque()
        self._asked: int | None = None
        self._folder = Path()
        self._total = self._done = self._files = 0
        self._saving = ""
        self._failed: dict[str, Refused] = {}
        box.wanted.connect(self.ask_and_save)
        link.stored.connect(self._on_stored)
        link.refused.connect(self._on_refused)

    @property
    def busy(self) -> bool:
        """Whether files are being made."""
        return self._asked is not None

    def ask_and_save(self, all_images: bool = False) -> None:
        """Ask for a folder and save the image at hand there, or all."""
        project, canvas = self._bench.desk.project, self._bench.current
        if project is None or canvas is None or self.busy:
            return
        title = "Save the results of all images in" if all_images else f"Save the results of “{canvas.name}” in"
        chosen = QFileDialog.getExistingDirectory(None, title, str(project.path.parent))
        if chosen:
            self.save([*project.images] if all_images else [canvas.name], Path(chosen))

    def save(self, names: list[str], folder: Path) -> None:
        """Save the results of some images in a folder."""
        messages.guarded(lambda: self._save(names, folder))

    def _save(self, names: list[str], folder: Path) -> None:
        if not self._may_replace(names, folder):
            return
        self._bench.strokes.flush_all()
        self._waiting, self._folder = deque(names), folder
        self._total, self._done, self._files = len(names), 0, 0
        self._failed.clear()
        self._next()

    def clear(self) -> None:
        """Forget what was asked for another project."""
        self._waiting.clear()
        self._asked = None
        self._box.say("")

    def close(self) -> None:
        """Say what is not saved any more."""
        if self.busy:
            left = len(self._waiting) + 1
            messages.warn(
                f"The results of {left} of {self._total} image{'s' * (self._total != 1)} were not saved in "
                f"“{self._folder}”: the panel was closed.",
                "Open it again and save them anew.",
            )

    def _may_replace(self, names: list[str], folder: Path) -> bool:
        """Ask whether files that are there already may be replaced."""
        from napari_weakseg.engine.exporting import Results

        project, objects = self._bench.desk.open_project, self._box.objects.isChecked()
        results = [Results(project, project.images[name], folder, objects=objects) for name in names]
        there = [file.name for one in results for file in one.files if file.exists()]
        if not there:
            return True
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        answer = QMessageBox.question(
            None, "Replace what is there?", f"“{there[0]}”{more} in “{folder}” would be replaced. Replace?"
        )
        return answer == QMessageBox.StandardButton.Yes

    def _next(self) -> None:
        self._asked = None
        if not self._waiting:
            self._tell_end()
            return
        name = self._waiting.popleft()
        number = f" ({self._total - len(self._waiting)} of {self._total})" if self._total > 1 else ""
        self._box.say(f"Saving “{name}”{number} …")
        split, smallest = self._finding.chosen
        objects = self._box.objects.isChecked()
        self._saving = name
        self._asked = self._link.save_results(name, self._folder, objects=objects, split=split, min_px=smallest)

    def _on_stored(self, event: Stored) -> None:
        if event.request_id == self._asked:
            self._done += 1
            self._files += len(event.files)
            self._next()

    def _on_refused(self, event: Refused) -> None:
        if event.request_id != self._asked:
            return
        self._failed[self._saving] = event
        if not event.of_image:
            self._waiting.clear()
        self._next()

    def _tell_end(self) -> None:
        """Say what was saved, and of images that were not, what was wrong."""
        if self._done == self._total:
            images = f"{self._total} image{'s' * (self._total != 1)}"
            self._box.say(f"Saved {images} ({self._files} files) in {self._folder}")
            return
        some = f"{self._done} of {self._total} are saved in {self._folder}"
        self._box.say(some if self._done else "Nothing was saved.")
        (name, event), *others = self._failed.items()
        if not others:
            messages.warn(event.problem, event.remedy, event.details)
            return
        which = ", ".join(f"“{one}”" for one in list(self._failed)[:3]) + " …" * (len(self._failed) > 3)
        told = "\n".join(f"{one}: {wrong.problem} {wrong.remedy}" for one, wrong in self._failed.items())
        messages.warn(
            f"{len(self._failed)} images are not saved: {which} Of “{name}”: {event.problem}", event.remedy, told
        )

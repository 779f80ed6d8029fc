"""Asks whether every object on screen carries a mark: one word that tells more than a minute of paint."""

from typing import TYPE_CHECKING, TypeAlias

from qtpy.QtCore import QObject, Signal

from napari_weakseg.core.annotations import Annotations, Coverage
from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.regions import Region, intersection, start_of, stop_of
from napari_weakseg.widgets import messages
from napari_weakseg.widgets.side_boxes import NoticeBox
from napari_weakseg.widgets.workbench import Workbench

if TYPE_CHECKING:
    from napari_weakseg.core.project_image import ProjectImage

_Frame: TypeAlias = tuple[str, tuple[int, ...]]  # an image and a frame of it

_NOTICE = "all marked"
_NAMES = {"Z": "slice", "T": "time point"}  # what is on screen, by the last axis that is stepped through


class Completeness(QObject):
    """Asks once for each frame, when a prediction can be seen on it; the answer can be changed at any time.

    Parameters
    ----------
    bench : Workbench
    notices : NoticeBox
        Where it asks.
    """

    said = Signal(str)  # the coverage of this image changed

    def __init__(self, bench: Workbench, notices: NoticeBox, parent: QObject) -> None:
        super().__init__(parent)
        self._bench, self._notices = bench, notices
        self._answered: set[tuple[_Frame, str]] = set()
        self._asked = ""
        self._last: tuple[tuple[_Frame, int], str] = (("", ()), -1), ""

    def clear(self) -> None:
        """Forget the answers given for another project."""
        self._answered.clear()
        self._withdraw()

    def ask(self) -> None:
        """Ask about the frame on screen where that is open, else withdraw the question."""
        canvas = self._bench.current
        question = self._question() if canvas is not None and canvas.has_result() else ""
        if not question or (self._place, question) in self._answered:
            self._withdraw()
        elif question != self._asked:
            self._notices.post(_NOTICE, question, {"Yes, every one": self.toggle, "Not yet": self._decline})
            self._asked = question

    def toggle(self) -> None:
        """Say of every class marked on screen that each of its objects carries a mark, or take that back."""
        image = self._bench.image
        if image is None:
            return
        self._bench.flush_all()
        region = image.frame_region(self._place[1])
        marked = _marked(image.annotations, region)
        if not marked:
            messages.info("Nothing is marked here yet. Put a mark into every object, then say so.")
            return
        open_ = _open(image.annotations, region)
        kind: Coverage = "all objects" if open_ else "some"
        if messages.guarded(lambda: _say(image, open_ or marked, kind, region)):
            self._answered.add((self._place, self._words(open_ or marked)))  # whoever takes it back is not asked again
            self._bench.viewer.status = self._told(open_ or marked, kind)
            self.said.emit(image.name)
        self.ask()

    @property
    def _place(self) -> _Frame:
        canvas = self._bench.current
        return ("", ()) if canvas is None else (canvas.name, canvas.frame)

    def _question(self) -> str:
        """Words of what is open on screen; none where nothing is."""
        image, place = self._bench.image, self._place
        assert image is not None
        if self._last[0] != (place, image.revision):
            open_ = _open(image.annotations, image.frame_region(place[1]))
            self._last = (place, image.revision), self._words(open_) if open_ else ""
        return self._last[1]

    def _words(self, classes: list[int]) -> str:
        return (
            f"Does every {self._names(classes)} in this {self._here} carry a mark? "
            "Then whatever is far from the marks is something else, and much less paint is needed."
        )

    def _told(self, classes: list[int], kind: Coverage) -> str:
        has = "has a mark" if kind == "all objects" else "may be without a mark"
        some = "every" if kind == "all objects" else "some"
        return f"Noted: {some} {self._names(classes, some)} in this {self._here} {has}. M changes that."

    def _names(self, classes: list[int], word: str = "every") -> str:
        names = self._bench.desk.open_project.classes.names
        return f" and {word} ".join(f"“{names[c - 1]}”" for c in classes)

    @property
    def _here(self) -> str:
        image = self._bench.image
        assert image is not None
        axes = image.label_axes[: len(self._place[1])]
        return _NAMES.get(axes[-1], "frame") if len(image.frames()) > 1 else "image"

    def _decline(self) -> None:
        self._answered.add((self._place, self._asked))
        self._withdraw()

    def _withdraw(self) -> None:
        if self._asked:
            self._notices.clear(_NOTICE)
            self._asked = ""


def _marked(annotations: Annotations, region: Region) -> list[int]:
    """Classes other than the background that are painted or boxed in a region."""
    boxed = {box.class_id for box in annotations.boxes if intersection(box.region, region) is not None}
    return sorted({*annotations.painted_counts(region), *boxed} - {BACKGROUND})


def _open(annotations: Annotations, region: Region) -> list[int]:
    """Those of them of which there may be objects without a mark."""
    return [c for c in _marked(annotations, region) if annotations.coverage_of(c, region) == "some"]


def _say(image: "ProjectImage", classes: list[int], kind: Coverage, region: Region) -> None:
    whole = len(image.frames()) == 1
    corners = (None, None) if whole else (start_of(region), stop_of(region))
    for class_id in classes:
        image.coverage(class_id, kind, *corners)

"""Asks whether every object carries a mark: one word, and what is far from all marks is known, too."""

from typing import TypeAlias

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_weakseg.core.annotations import Coverage
from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.regions import intersection, start_of, stop_of
from napari_weakseg.widgets import messages
from napari_weakseg.widgets.side_boxes import NoticeBox
from napari_weakseg.widgets.workbench import Workbench

_Frame: TypeAlias = tuple[str, tuple[int, ...]]  # an image and a frame of it

_NOTICE = "all marked"
_NAMES = {"Z": "slice", "T": "time point"}  # what is on screen, by the last axis that is stepped through


def here(image: ProjectImage) -> str:
    """Word for what is on screen of an image: a slice, time point or frame of several, or all of it."""
    frames = image.frames()
    axes = image.label_axes[: len(frames[0])]
    return _NAMES.get(axes[-1], "frame") if len(frames) > 1 else "image"


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
        self._last = (("", ()), -1), ""
        self._withdraw()

    def ask(self) -> None:
        """Ask about the frame on screen where that is open, else withdraw the question."""
        canvas = self._bench.current
        question = self._question() if canvas is not None and canvas.has_result() else ""
        if not question or (self._place, question) in self._answered:
            self._withdraw()
        elif question != self._asked:
            self._notices.post(_NOTICE, question, {"Yes, every one": self.say, "Not yet": self._decline})
            self._asked = question

    def toggle(self) -> None:
        """Say of every class marked in the frame on screen that each of its objects carries a mark, or take it back."""
        self._bench.strokes.flush_all()
        if self._with_coverage("some"):
            self.say()
        elif told := self._with_coverage("all objects"):
            self._say(told, "some")
        else:
            messages.info(
                "Put a mark into every object first, then say so. What is annotated exactly, wholly or in part, is "
                "changed in the class table only."
            )

    def say(self) -> None:
        """Say of every class marked in the frame on screen that each of its objects carries a mark."""
        self._bench.strokes.flush_all()
        if classes := self._with_coverage("some"):
            self._say(classes, "all objects")

    def _say(self, classes: list[int], kind: Coverage) -> None:
        image, place = self._bench.image, self._place
        assert image is not None
        region = image.frame_region(place[1])
        corners = (None, None) if len(image.frames()) == 1 else (start_of(region), stop_of(region))

        def change() -> None:
            for class_id in classes:
                image.coverage(class_id, kind, *corners)

        if messages.guarded(change):
            self._answered.add((place, self._words(classes)))  # whoever takes it back is not asked again
            self._bench.viewer.status = self._told(classes, kind)
            self.said.emit(image.name)
        self.ask()

    def _with_coverage(self, kind: Coverage) -> list[int]:
        """Classes other than the background that are marked in the frame on screen and of this coverage there."""
        canvas, image = self._bench.current, self._bench.image
        if canvas is None or image is None:
            return []
        notes, region = image.annotations, image.frame_region(canvas.frame)
        open_ = {c for c in self._bench.desk.open_project.classes.ids if notes.coverage_of(c, region) == kind}
        if not open_ - {BACKGROUND}:
            return []
        one = len(image.frames()) == 1  # then the painted pixels are counted already
        painted = np.flatnonzero(canvas.bridge.counts).tolist() if one else notes.painted_counts(region)
        boxed = {box.class_id for box in notes.boxes if intersection(box.region, region) is not None}
        return sorted({*painted, *boxed} & open_ - {BACKGROUND})

    @property
    def _place(self) -> _Frame:
        canvas = self._bench.current
        return ("", ()) if canvas is None else (canvas.name, canvas.frame)

    def _question(self) -> str:
        """Words of what is open on screen; none where nothing is."""
        image = self._bench.image
        assert image is not None
        now = self._place, image.revision
        if self._last[0] != now:
            open_ = self._with_coverage("some")
            self._last = now, self._words(open_) if open_ else ""
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
        return here(image)

    def _decline(self) -> None:
        self._answered.add((self._place, self._asked))
        self._withdraw()

    def _withdraw(self) -> None:
        if self._asked:
            self._notices.clear(_NOTICE)
            self._asked = ""

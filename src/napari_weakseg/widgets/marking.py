"""The class table of the panel and the project's: rows down, edits up."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_weakseg.core.annotations import Coverage
from napari_weakseg.core.classes import ClassTable
from napari_weakseg.core.errors import AnnotationError
from napari_weakseg.widgets.class_table import ClassRow, ClassTableView
from napari_weakseg.widgets.completeness import here
from napari_weakseg.widgets.workbench import Workbench

if TYPE_CHECKING:
    from napari_weakseg.widgets.canvas import ImageCanvas


class Marking(QObject):
    """Edits classes and coverage of the image worked on, and tags of the frame on screen.

    Parameters
    ----------
    bench : Workbench
    table : ClassTableView
    guard : callable
        Runs a function and tells the person what went wrong.
    """

    classes_changed = Signal()  # one was added or removed: a network in training no longer fits
    class_picked = Signal()
    facts_changed = Signal(str)  # coverage or a tag of this image changed

    def __init__(
        self,
        bench: Workbench,
        table: ClassTableView,
        guard: Callable[[Callable[[], None]], bool],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._bench, self._table, self._guard = bench, table, guard
        self._followed: ImageCanvas | None = None
        self._frame: tuple[int, ...] = ()  # that the tags shown are of
        table.picked.connect(self.pick)
        table.renamed.connect(self._on_renamed)
        table.recolored.connect(self._on_recolored)
        table.added.connect(self.add)
        table.removed.connect(self._on_removed)
        table.coverage_changed.connect(self._on_coverage)
        table.tag_changed.connect(self._on_tag)
        table.ruled_out.connect(self._on_ruled_out)
        table.boxes_wanted.connect(self.draw_boxes)
        bench.viewer.layers.selection.events.active.connect(self._on_active)

    def refresh(self) -> None:
        """Show the classes as they stand for the image worked on."""
        canvas, image, project = self._bench.current, self._bench.image, self._bench.desk.project
        if canvas is None or image is None or project is None:
            self._table.setValue(())
            return
        notes = image.annotations
        self._frame, part = canvas.frame, here(image)
        tags = notes.frame_tags.get(self._frame, {})
        of_image = {c: present for c, present in notes.tags.items() if c not in tags}
        if part == "image":
            tags, of_image = notes.tags, {}
        boxes = Counter(box.class_id for box in notes.boxes)
        self._table.setValue(
            [
                ClassRow(
                    class_id,
                    info.name,
                    info.color,
                    int(canvas.bridge.counts[class_id]),
                    notes.coverage_of(class_id),
                    tags.get(class_id),
                    boxes[class_id],
                    part,
                    of_image.get(class_id),
                )
                for class_id, info in enumerate(project.classes, start=1)
            ]
        )

    def look(self) -> None:
        """Show the tags of the frame on screen, if that is another one now."""
        canvas = self._bench.current
        if canvas is not None and canvas.frame != self._frame:
            self.refresh()

    def follow(self) -> None:
        """Show which class the brush of the canvas worked on paints."""
        if self._followed is not None:
            self._followed.annotation.events.selected_label.disconnect(self._on_selected)
        self._followed = self._bench.current
        if self._followed is not None:
            self._followed.annotation.events.selected_label.connect(self._on_selected)
            self._on_selected()

    def pick(self, class_id: int) -> None:
        """Paint with a class; boxes that are selected become boxes of it."""
        canvas, project = self._bench.current, self._bench.desk.project
        if canvas is not None and project is not None and class_id <= len(project.classes):
            canvas.change_selected_boxes(class_id)
        self._pick(class_id)

    def _pick(self, class_id: int) -> None:
        canvas, project = self._bench.current, self._bench.desk.project
        if canvas is not None and project is not None and class_id <= len(project.classes):
            self.class_picked.emit()
            canvas.pick_class(class_id)
            self._table.set_picked(class_id)

    def draw_boxes(self, on: bool = True) -> None:
        """Draw boxes of the class that is picked, or paint again."""
        canvas = self._bench.current
        if canvas is not None:
            self.class_picked.emit()
            if on and self._guard(canvas.draw_boxes):
                self._table.set_picked(canvas.boxes.class_id if canvas.boxes is not None else 0)
            elif not on:
                canvas.select()
                self._on_selected()
        self._on_active()

    def toggle_boxes(self) -> None:
        """Draw boxes, or paint again if the rectangle tool is in hand."""
        canvas = self._bench.current
        boxes = canvas.boxes if canvas is not None and canvas.drawing_boxes else None
        self.draw_boxes(boxes is None or boxes.layer.mode != "add_rectangle")

    def close(self) -> None:
        """Let go of the viewer."""
        self._bench.viewer.layers.selection.events.active.disconnect(self._on_active)

    def _on_active(self, event: object = None) -> None:
        canvas = self._bench.current
        self._table.set_drawing_boxes(canvas is not None and canvas.drawing_boxes)

    def add(self) -> None:
        """Add a class and let the person name it."""
        classes = self._bench.desk.open_project.classes
        number = len(classes)
        while f"object {number}" in classes.names:
            number += 1
        if self._change(lambda table: table.added(f"object {number}")):
            self.classes_changed.emit()
            self._pick(len(classes) + 1)
            self._table.edit_name(len(classes) + 1)

    def _on_removed(self, class_id: int) -> None:
        def shorter(table: ClassTable) -> ClassTable:
            if len(table) <= 2:
                raise AnnotationError(
                    "At least two classes are needed: the background and one kind of object.",
                    "Rename the class instead.",
                )
            return ClassTable(list(table)[:-1])

        if self._change(shorter):
            self.classes_changed.emit()
            self._pick(min(2, class_id - 1))

    def _on_renamed(self, class_id: int, name: str) -> None:
        self._change(lambda table: table.renamed(class_id, name))

    def _on_recolored(self, class_id: int, color: str) -> None:
        self._change(lambda table: table.recolored(class_id, color))

    def _on_coverage(self, class_id: int, kind: Coverage) -> None:
        image = self._bench.image
        if image is not None and self._guard(lambda: image.coverage(class_id, kind)):
            self.facts_changed.emit(image.name)
        self.refresh()

    def _on_tag(self, class_id: int, present: bool | None) -> None:
        image, frame = self._bench.image, self._frame
        of_frame = image is None or present is not None or class_id in image.annotations.frame_tags.get(frame, {})
        self._tag(class_id, present, frame if of_frame else None)  # else what is shown is said of the whole image

    def _on_ruled_out(self, class_id: int) -> None:
        self._tag(class_id, False, None)

    def _tag(self, class_id: int, present: bool | None, frame: tuple[int, ...] | None) -> None:
        image = self._bench.image
        if image is not None and self._guard(lambda: image.tag(class_id, present, frame)):
            self.facts_changed.emit(image.name)
        self.refresh()

    def _on_selected(self, event: object = None) -> None:
        if self._followed is not None:
            self._table.set_picked(int(self._followed.annotation.selected_label))

    def _change(self, change: Callable[[ClassTable], ClassTable]) -> bool:
        def apply() -> None:
            self._bench.set_classes(change(self._bench.desk.open_project.classes))

        done = self._guard(apply)
        self.refresh()
        return done

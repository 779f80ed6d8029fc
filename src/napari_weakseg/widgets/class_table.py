"""The class table: a value editor that knows neither project nor viewer."""

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_weakseg.core.annotations import Coverage
from napari_weakseg.widgets.theme import swatch

COVERAGE_WORDS: dict[Coverage, str] = {
    "some": "only what I painted",
    "all objects": "every object is marked",
    "exact": "exactly what I painted",
}
_COVERAGE_TIP = (
    "How complete the marks of this class are in this image:\n"
    "only what I painted – nothing is known about the rest of the image\n"
    "every object is marked – each object has at least a mark or a box (key M)\n"
    "exactly what I painted – every other pixel is not this class"
)
TAG_WORDS: dict[bool | None, str] = {None: "maybe", True: "is here", False: "not here"}
_TAG_TIP = (
    "What you know about {whole} {here}:\nmaybe – unknown\n"
    "is here – the class occurs somewhere in this {here}\n"
    "not here – no pixel of this {here} is of this class (a cheap and strong hint)"
)
_IMAGE_TIP = "\nin no {here} – no pixel of the whole image is of this class"


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class as the table shows it, for the image chosen.

    Attributes
    ----------
    painted : int
        Painted pixels in the image.
    coverage : str or None
        None where it differs from place to place.
    tag : bool or None
        Present, absent, unknown, in what is on screen of the image.
    boxes : int
        In the image.
    here : str
        What is on screen: the image, or a slice, time point or frame of it.
    image_tag : bool or None
        What is said of the whole image, where that is more than is on screen and nothing is said of what is.
    """

    id: int
    name: str
    color: str
    painted: int = 0
    coverage: Coverage | None = "some"
    tag: bool | None = None
    boxes: int = 0
    here: str = "image"
    image_tag: bool | None = None


class _ClassRowView(QFrame):
    """Two lines: key, colour, name, painted pixels; coverage and tag."""

    def __init__(self, table: "ClassTableView", row: ClassRow) -> None:
        super().__init__(table)
        self._table, self._row = table, row
        self.pick = QPushButton(self)
        self.pick.setText(str(row.id) if row.id <= 9 else "")
        self.pick.setCheckable(True)
        self.pick.setFixedWidth(28)
        self.pick.clicked.connect(self._on_pick)
        self.color = QToolButton(self)
        self.color.setToolTip("Change the colour")
        self.color.clicked.connect(self._on_color)
        self.name = QLineEdit(self)
        self.name.setToolTip("Name of the class; click to paint with it, type to rename it")
        self.name.editingFinished.connect(self._on_name)
        self.name.installEventFilter(self)
        self.painted = QLabel(self)
        self.painted.setToolTip("Pixels painted with this class in this image, and boxes (▭) of it")
        self.coverage, self.tag = QComboBox(self), QComboBox(self)
        for kind, words in COVERAGE_WORDS.items():
            self.coverage.addItem(words, kind)
        self.coverage.setPlaceholderText("differs by place")
        self.coverage.setToolTip(_COVERAGE_TIP)
        for box in (self.coverage, self.tag):
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            box.setMinimumContentsLength(6)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.coverage.activated.connect(self._on_coverage)
        self.tag.activated.connect(self._on_tag)
        self._lay_out()
        self.set_row(row)

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(4, 4, 4, 4)
        grid.setVerticalSpacing(3)
        first, second = QHBoxLayout(), QHBoxLayout()
        for widget in (self.pick, self.color, self.name, self.painted):
            first.addWidget(widget)
        first.setStretch(2, 1)
        second.addWidget(self.coverage, 7)
        second.addWidget(self.tag, 4)
        grid.addLayout(first, 0, 0)
        grid.addLayout(second, 1, 0)

    def set_row(self, row: ClassRow) -> None:
        self._row = row
        key = f" (key {row.id})" if row.id <= 9 else ""
        self.pick.setToolTip(f"Paint {row.name}{key}")
        self.color.setIcon(swatch(row.color))
        if not self.name.hasFocus() and self.name.text() != row.name:
            self.name.setText(row.name)
        marks = []
        if row.painted:
            marks.append(f"{row.painted:,} px".replace(",", "\u2009"))
        if row.boxes:
            marks.append(f"{row.boxes} ▭")
        self.painted.setText(" · ".join(marks) or "–")
        self.coverage.setCurrentIndex(-1 if row.coverage is None else self.coverage.findData(row.coverage))
        self._show_tag(row)

    def _show_tag(self, row: ClassRow) -> None:
        part = row.here != "image"
        words = [*TAG_WORDS.values(), *([f"in no {row.here}"] if part else ())]
        if words != [self.tag.itemText(i) for i in range(self.tag.count())]:
            self.tag.clear()
            self.tag.addItems(words)
        tip = _TAG_TIP + (_IMAGE_TIP if part else "")
        self.tag.setToolTip(tip.format(whole="this" if part else "the whole", here=row.here))
        self.tag.setPlaceholderText(f"in some {row.here}")
        told = {None: list(TAG_WORDS).index(row.tag), True: -1, False: len(TAG_WORDS)}
        self.tag.setCurrentIndex(told[row.image_tag])

    def set_picked(self, picked: bool) -> None:
        self.pick.setChecked(picked)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Pick the class when its name is clicked."""
        if watched is self.name and event is not None and event.type() == QEvent.Type.MouseButtonPress:
            self._table.picked.emit(self._row.id)
        return super().eventFilter(watched, event)

    def _on_pick(self) -> None:
        self.pick.setChecked(True)
        self._table.picked.emit(self._row.id)

    def _on_color(self) -> None:
        color = QColorDialog.getColor(QColor(self._row.color), self, f"Colour of {self._row.name}")
        if color.isValid():
            self._table.recolored.emit(self._row.id, color.name())

    def _on_name(self) -> None:
        name = self.name.text().strip()
        self.name.setText(self._row.name)  # the new one is shown once it is taken; it may be refused
        self.name.deselect()
        self.name.clearFocus()
        if name and name != self._row.name:
            self._table.renamed.emit(self._row.id, name)

    def _on_coverage(self) -> None:
        self._table.coverage_changed.emit(self._row.id, self.coverage.currentData())

    def _on_tag(self) -> None:
        words = list(TAG_WORDS)
        if self.tag.currentIndex() < len(words):
            self._table.tag_changed.emit(self._row.id, words[self.tag.currentIndex()])
        else:
            self._table.ruled_out.emit(self._row.id)


class ClassTableView(QWidget):
    """All classes, with buttons to add and remove.

    The signals tell what a person wants; what is shown changes with :meth:`setValue` only.
    """

    picked = Signal(int)
    renamed = Signal(int, str)
    recolored = Signal(int, str)
    coverage_changed = Signal(int, str)
    tag_changed = Signal(int, object)
    ruled_out = Signal(int)  # the class is nowhere in the image, of which a part is on screen
    added = Signal()
    removed = Signal(int)
    boxes_wanted = Signal(bool)  # boxes are to be drawn, or painted again

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._views: list[_ClassRowView] = []
        self._rows: tuple[ClassRow, ...] = ()
        self._picked = 0
        self._list = QVBoxLayout()
        self._list.setSpacing(4)
        self.add_button = QToolButton(self)
        self.add_button.setText("+ Add class")
        self.add_button.setToolTip("Add another kind of object")
        self.add_button.clicked.connect(self.added)
        self.remove_button = QToolButton(self)
        self.remove_button.setText("− Remove last")
        self.remove_button.setToolTip("Remove the last class; possible as long as nothing is marked with it")
        self.remove_button.clicked.connect(self._on_remove)
        buttons = QHBoxLayout()
        buttons.addWidget(self.add_button)
        buttons.addWidget(self.remove_button)
        buttons.addStretch(1)
        self.boxes_button = QPushButton("▭ Draw boxes", self)
        self.boxes_button.setCheckable(True)
        self.boxes_button.setToolTip(
            "Drag a box around an object: it lies inside and touches all four sides (key R).\n"
            "Boxes are of the class that is picked; the rest is as in any Shapes layer of napari. Press again to paint."
        )
        self.boxes_button.clicked.connect(self.boxes_wanted)
        buttons.addWidget(self.boxes_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._list)
        layout.addLayout(buttons)

    def value(self) -> tuple[ClassRow, ...]:
        """Rows as shown."""
        return self._rows

    def setValue(self, rows: Sequence[ClassRow]) -> None:
        """Show other rows; only what differs is touched."""
        while len(self._views) > len(rows):
            view = self._views.pop()
            self._list.removeWidget(view)
            view.hide()
            view.deleteLater()
        for view, old, new in zip(self._views, self._rows, rows, strict=False):
            if old != new:
                view.set_row(new)
        for row in rows[len(self._views) :]:
            view = _ClassRowView(self, row)
            self._list.addWidget(view)
            self._views.append(view)
        self._rows = tuple(rows)
        self.set_picked(self._picked)

    def set_picked(self, class_id: int) -> None:
        """Show which class the brush paints."""
        self._picked = class_id
        for view, row in zip(self._views, self._rows, strict=True):
            view.set_picked(row.id == class_id)

    def set_drawing_boxes(self, on: bool) -> None:
        """Show whether boxes are drawn or pixels painted."""
        self.boxes_button.setChecked(on)

    def edit_name(self, class_id: int) -> None:
        """Let the person type a name."""
        field = self._views[class_id - 1].name
        field.setFocus(Qt.FocusReason.OtherFocusReason)
        field.selectAll()

    def _on_remove(self) -> None:
        if self._rows:
            self.removed.emit(self._rows[-1].id)

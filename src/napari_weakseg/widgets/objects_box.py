"""Counts objects and tells touching ones apart: a button, two sliders that act at once, and how many there are."""

import math
from collections.abc import Collection

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QPushButton, QSlider, QSpinBox, QVBoxLayout, QWidget

__all__ = ["ObjectsBox"]

_STEPS, _KEY_STEP = 1000, 20
_DIGITS = 3  # of the share: enough for what the slider tells apart, and the default is given back as it was
_AS_MARKED = -1


class ObjectsBox(QWidget):
    """Asks for objects, and how they are to be told apart."""

    wanted = Signal()
    table_wanted = Signal()
    value_changed = Signal(float, object)  # split, smallest in pixels or None

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.button = QPushButton("Find objects", self)
        self.button.setToolTip(
            "Predicts the slice on screen and gives every object a number of its own, in the layer “objects”.\n"
            "What you marked as one object stays one, what you marked as two stays two.  Key: O"
        )
        self.split = QSlider(Qt.Orientation.Horizontal, self)
        self.split.setRange(0, _STEPS)
        self.split.setSingleStep(_KEY_STEP)
        self.split.setPageStep(5 * _KEY_STEP)
        self.split.setToolTip(
            "Left: whatever touches is one object. Right: objects are parted at every waist.\nActs at once."
        )
        self.smallest = QSpinBox(self)
        self.smallest.setRange(_AS_MARKED, 1_000_000)
        self.smallest.setSuffix(" pixels")
        self.smallest.setToolTip(
            "Objects of fewer pixels are left out, unless you marked them. Acts at once.\n"
            "As marked: of each class what is much smaller than what you marked of it. A number counts for all classes."
        )
        self.words = QLabel("", self)
        self.words.setWordWrap(True)
        self.table = QPushButton("Save table…", self)
        self.table.setToolTip("Writes one row for each object: class, size, and where it is (CSV).")
        self.table.clicked.connect(self.table_wanted)
        self._form = QWidget(self)
        form = QFormLayout(self._form)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Part touching ones", self.split)
        form.addRow("Smallest", self.smallest)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(self._form)
        layout.addWidget(self.words)
        layout.addWidget(self.table)
        self.button.clicked.connect(self.wanted)
        self.split.valueChanged.connect(self._on_changed)
        self.smallest.valueChanged.connect(self._on_changed)
        self.clear()

    def value(self) -> tuple[float, int | None]:
        """Give how readily objects are parted, 0 to 1, and the smallest size in pixels; None: as marked."""
        smallest = self.smallest.value()
        return _share_at(self.split.value()), None if smallest == _AS_MARKED else smallest

    def setValue(self, split: float, smallest_px: int | None) -> None:
        """Show other values without saying that they changed."""
        smallest = _AS_MARKED if smallest_px is None else smallest_px
        for part, value in ((self.split, _place_of(split)), (self.smallest, smallest)):
            part.blockSignals(True)
            part.setValue(value)
            part.blockSignals(False)

    def tell_marked(self, sizes_px: Collection[int]) -> None:
        """Say what “as marked” means, from the smallest sizes of the classes."""
        said = "–".join(map(str, sorted({min(sizes_px), max(sizes_px)}))) if sizes_px else ""
        self.smallest.setSpecialValueText(f"as marked ({said})" if said else "as marked")

    def say(self, text: str) -> None:
        """Show a sentence below."""
        self.words.setText(text)
        self.words.setVisible(bool(text))

    def set_found(self, found: bool) -> None:
        """Show the sliders once there is something for them to act on."""
        self._form.setVisible(found)
        self.table.setVisible(found)

    def clear(self) -> None:
        """Forget what was found."""
        self.set_found(False)
        self.say("")

    def _on_changed(self) -> None:
        self.value_changed.emit(*self.value())


def _share_at(place: int) -> float:
    """Share that a place of the slider stands for: most objects are parted or joined between 0.7 and 1."""
    return round(1 - (1 - place / _STEPS) ** 2, _DIGITS)


def _place_of(share: float) -> int:
    return round(_STEPS * (1 - math.sqrt(1 - share)))

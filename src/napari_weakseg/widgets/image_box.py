"""Which image, and what its axes mean: a value editor that knows neither project nor viewer."""

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_weakseg.widgets.axes import choice_words, in_words

NO_IMAGE = "Open an image, or one from File ▸ Open Sample ▸ Weakseg. It appears here."


@dataclass(frozen=True, slots=True)
class ImageDescription:
    """What the box shows about the image chosen.

    Attributes
    ----------
    axes : str
        Letters of TZCYX for each axis of `shape`.
    choices : tuple of str
        Other readings of the axes; none where there is no doubt.
    ndim : int
        2: learned plane by plane, 3: as a volume.
    sure : bool
        False where the axes were guessed and the person should have a look.
    """

    shape: tuple[int, ...] = ()
    axes: str = ""
    rgb: bool = False
    choices: tuple[str, ...] = ()
    ndim: int = 2
    sure: bool = True


class ImageBox(QWidget):
    """Drop-down of images, their axes in words, and whether planes or volumes are learned."""

    chosen = Signal(int)
    axes_changed = Signal(str)
    ndim_changed = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._description = ImageDescription()
        self.images, self.axes, self.ndim = QComboBox(self), QComboBox(self), QComboBox(self)
        self.words = QLabel(NO_IMAGE, self)
        self.words.setWordWrap(True)
        self.images.setToolTip("The image to annotate: a layer of the viewer or another image of the project")
        self.axes.setToolTip(
            "What the axes of this image mean. It can be changed until something is painted;\n"
            "start a new project (Project ▸ New) to change it later."
        )
        self.ndim.setToolTip(
            "Slice by slice: the network looks at one plane at a time (quick, right for most stacks).\n"
            "As a volume: it looks at neighbouring slices as well (slower; slices must lie close together)."
        )
        self.ndim.addItem("slice by slice", 2)
        self.ndim.addItem("as a volume", 3)
        for box in (self.images, self.axes, self.ndim):
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            box.setMinimumContentsLength(10)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.form = QFormLayout()
        self.form.setContentsMargins(0, 0, 0, 0)
        self.form.addRow("Image", self.images)
        self.form.addRow("Axes", self.axes)
        self.form.addRow("Learn", self.ndim)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self.form)
        layout.addWidget(self.words)
        self.images.activated.connect(self.chosen)
        self.axes.activated.connect(self._on_axes)
        self.ndim.activated.connect(self._on_ndim)
        self.setValue(self._description)

    def set_images(self, names: Sequence[str], current: int) -> None:
        """List the images; `current` is -1 where none is chosen."""
        if [self.images.itemText(i) for i in range(self.images.count())] != list(names):
            self.images.clear()
            self.images.addItems(list(names))
        self.images.setCurrentIndex(current)

    def value(self) -> ImageDescription:
        """Give what is shown."""
        return self._description

    def setValue(self, value: ImageDescription) -> None:
        """Describe another image."""
        self._description = value
        self.axes.clear()
        for axes in value.choices:
            self.axes.addItem(choice_words(axes, rgb=value.rgb), axes)
        self.axes.setCurrentIndex(self.axes.findData(value.axes))
        self.ndim.setCurrentIndex(self.ndim.findData(value.ndim))
        self.form.setRowVisible(self.axes, len(value.choices) > 1)
        self.form.setRowVisible(self.ndim, "Z" in value.axes)
        text = in_words(value.axes, value.shape, rgb=value.rgb) if value.axes else NO_IMAGE
        self.words.setText(text if value.sure else f"{text} – is that right? If not, change Axes above.")

    def set_editable(self, editable: bool) -> None:
        """Allow or forbid to change what the axes mean."""
        self.axes.setEnabled(editable)
        self.ndim.setEnabled(editable)

    def _on_axes(self) -> None:
        self.axes_changed.emit(self.axes.currentData())

    def _on_ndim(self) -> None:
        self.ndim_changed.emit(self.ndim.currentData())

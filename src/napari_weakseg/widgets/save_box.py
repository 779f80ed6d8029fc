"""Saves results as files: of the image at hand or of all, with objects or without."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

__all__ = ["SaveBox"]


class SaveBox(QWidget):
    """Two buttons, a tick box, and how far it is."""

    wanted = Signal(bool)  # whether for all images

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.one = QPushButton("This image…", self)
        self.one.setToolTip(
            "Predicts all of this image and saves it in a folder of your choice:\n"
            "NAME_classes.tif (the background is 0), or NAME.ome.zarr where the image is very large.  Key: Shift+O"
        )
        self.all = QPushButton("All images…", self)
        self.all.setToolTip(
            "The same for every image of the project, one after another. Stop ends it; what is saved stays."
        )
        self.objects = QCheckBox("With single objects and a table", self)
        self.objects.setChecked(True)
        self.objects.setToolTip(
            "Saves NAME_objects.tif, in which each object has a number of its own, and NAME_objects.csv: class, size\n"
            "and place of each. The sliders above count here too, once you have used “Find objects”."
        )
        self.words = QLabel("", self)
        self.words.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(self.one)
        row.addWidget(self.all)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.objects)
        layout.addWidget(self.words)
        self.one.clicked.connect(lambda: self.wanted.emit(False))
        self.all.clicked.connect(lambda: self.wanted.emit(True))
        self.say("")

    def set_enabled(self, can_save: bool) -> None:
        """Let the buttons be pressed, or not."""
        self.one.setEnabled(can_save)
        self.all.setEnabled(can_save)

    def say(self, text: str) -> None:
        """Show a sentence below."""
        self.words.setText(text)
        self.words.setVisible(bool(text))

"""What to annotate next, and masks that may be wrong: two short lists with a button each."""

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

__all__ = ["ClaimsBox", "JumpList", "NextBox"]

_HIGHEST_PX = 150
_TRUST = {
    "rough": "drawn roughly",
    "imported": "from elsewhere",
    "machine": "made by a machine",
}


class JumpList(QTreeWidget):
    """Rows of text; picking one says which."""

    picked = Signal(int)

    def __init__(self, columns: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setHeaderLabels(list(columns))
        self.setRootIsDecorated(False)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        header = self.header()
        if header is not None:
            header.setStretchLastSection(False)
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.itemActivated.connect(self._on_item)
        self.itemClicked.connect(self._on_item)

    def set_rows(self, rows: Sequence[Sequence[str]], tips: Sequence[str]) -> None:
        """Show other rows."""
        self.clear()
        for texts, tip in zip(rows, tips, strict=True):
            item = QTreeWidgetItem(list(texts))
            for column in range(len(texts)):
                item.setToolTip(column, tip)
            self.addTopLevelItem(item)
        self.setVisible(bool(rows))
        self.setFixedHeight(self._height(len(rows)))

    def _height(self, rows: int) -> int:
        """Room for so many rows, up to a limit from which the list scrolls."""
        header = self.header()
        top = header.sizeHint().height() if header is not None else 0
        each = self.sizeHintForRow(0) if rows else 0
        return min(_HIGHEST_PX, top + each * rows + 2 * self.frameWidth() + 2)

    def _on_item(self, item: QTreeWidgetItem, column: int = 0) -> None:
        self.picked.emit(self.indexOfTopLevelItem(item))


class NextBox(QWidget):
    """Asks what to annotate next."""

    wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.button = QPushButton("Suggest what to annotate next", self)
        self.button.setToolTip(
            "Looks through the images for those from which the network would learn most, and says with which kind of "
            "mark\nthat takes the least of your time. Click a line to go there.  Key: Shift-N"
        )
        self.button.clicked.connect(self.wanted)
        self.list = JumpList(["Image", "Mark", "Time"], self)
        self.words = QLabel("", self)
        self.words.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(self.list)
        layout.addWidget(self.words)
        self.set_rows([], [])

    def set_rows(self, rows: Sequence[Sequence[str]], reasons: Sequence[str]) -> None:
        """Show suggestions and, of the first, the reason."""
        self.list.set_rows(rows, reasons)
        self.say(reasons[0] if reasons else "")

    def say(self, text: str) -> None:
        """Show a sentence below the list."""
        self.words.setText(text)
        self.words.setVisible(bool(text))


class ClaimsBox(QWidget):
    """Takes masks that may be wrong, and shows how far each of their objects is trusted."""

    take_wanted = Signal(str)  # trust
    drop_wanted = Signal(str)  # trust
    review_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.trust = QComboBox(self)
        for value, text in _TRUST.items():
            self.trust.addItem(text, value)
        self.trust.setToolTip("Masks of each kind are kept apart, one of each for an image.")
        self.take = QPushButton("Take selected labels", self)
        self.take.setToolTip(
            "Takes the Labels layer that is selected as a mask that may be wrong. Its labels are class numbers, as in "
            "the class table.\nTraining weighs each of its objects by how well it agrees with your exact images, and "
            "your own marks always win.\nThe layer itself is not changed."
        )
        self.drop = QPushButton("Take back", self)
        self.drop.setToolTip("Forgets the mask of this kind of the image worked on.")
        self.review = QPushButton("Show the least trusted", self)
        self.review.setToolTip("Lists the objects of these masks that disagree most with what you marked exactly.")
        self.list = JumpList(["Image", "Pixels", "Trust"], self)
        self.list.hide()
        self.take.clicked.connect(lambda: self.take_wanted.emit(self.trust.currentData()))
        self.drop.clicked.connect(lambda: self.drop_wanted.emit(self.trust.currentData()))
        self.review.clicked.connect(self.review_wanted)
        row = QHBoxLayout()
        row.addWidget(self.take, 1)
        row.addWidget(self.drop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.trust)
        layout.addLayout(row)
        layout.addWidget(self.review)
        layout.addWidget(self.list)

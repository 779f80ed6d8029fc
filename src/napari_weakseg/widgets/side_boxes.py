"""Smaller parts of the panel: settings, the project line, notices with a button."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QAction, QFontMetrics, QResizeEvent
from qtpy.QtWidgets import (
    QBoxLayout,
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_weakseg.core.config import MOST_NEIGHBOURS, TrainConfig

_ORIENTATION = {"any": "may be seen from any side", "fixed": "has an up and a down"}
_GROWTH = {
    "monotone": "grow, never shrink",
    "regrow": "grow anew each round",
    "off": "do not grow",
}


class SettingsBox(QWidget):
    """Edits the part of `TrainConfig` that a person decides."""

    value_changed = Signal(object)  # TrainConfig

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._config = TrainConfig()
        self.orientation, self.growth = QComboBox(self), QComboBox(self)
        for box, words in ((self.orientation, _ORIENTATION), (self.growth, _GROWTH)):
            for value, text in words.items():
                box.addItem(text, value)
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            box.setMinimumContentsLength(10)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.activated.connect(self._on_changed)
        self.orientation.setToolTip(
            "May be seen from any side: the sample looks the same turned or mirrored (most microscopy).\n"
            "Has an up and a down: position or direction tells the classes apart, so images are not turned."
        )
        self.growth.setToolTip(
            "How blobs are grown to the borders of their objects while the network learns.\n"
            "Grow, never shrink: each round adds to the last one.\n"
            "Grow anew each round: each round starts from your blobs again, and can take back a mistake."
        )
        self.neighbours = QSpinBox(self)
        self.neighbours.setRange(0, MOST_NEIGHBOURS)
        self.neighbours.setSpecialValueText("none")
        self.neighbours.setToolTip(
            "How many planes above and below are seen beside each plane of a stack that is segmented plane by plane:\n"
            "more than one plane shows, for less work than a volume. Learning begins anew when it is changed."
        )
        self.neighbours.valueChanged.connect(self._on_changed)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Sample", self.orientation)
        form.addRow("Blobs", self.growth)
        form.addRow("Planes beside", self.neighbours)
        self.setValue(self._config)

    def value(self) -> TrainConfig:
        """Give the settings with what is chosen here."""
        return self._config

    def setValue(self, config: TrainConfig) -> None:
        """Show other settings."""
        self._config = config
        with QSignalBlocker(self.neighbours):
            self.neighbours.setValue(config.neighbours)
        self.orientation.setCurrentIndex(self.orientation.findData(config.orientation))
        self.growth.setCurrentIndex(self.growth.findData(config.growth))

    def _on_changed(self) -> None:
        chosen = {
            "orientation": self.orientation.currentData(),
            "growth": self.growth.currentData(),
            "neighbours": self.neighbours.value(),
        }
        self._config = self._config.model_copy(update=chosen)
        self.value_changed.emit(self._config)


class _PathLabel(QLabel):
    """Path shortened in the middle to the room there is."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._path = ""
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def set_path(self, path: str) -> None:
        self._path = path
        self.setToolTip(f"{path}\nEvery stroke is saved here at once.")
        self._elide()

    def minimumSizeHint(self) -> QSize:
        """Any width will do."""
        return QSize(40, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Shorten anew."""
        super().resizeEvent(event)
        self._elide()

    def _elide(self) -> None:
        metrics = QFontMetrics(self.font())
        self.setText(metrics.elidedText(self._path, Qt.TextElideMode.ElideMiddle, max(20, self.width() - 4)))


class ProjectBox(QWidget):
    """Where everything is saved, and a menu to open, copy or begin a project."""

    new_wanted = Signal()
    open_wanted = Signal()
    save_as_wanted = Signal()
    merge_wanted = Signal()
    find_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.path = _PathLabel(self)
        self.button = QToolButton(self)
        self.button.setText("Project ▾")
        self.button.setToolTip("Open a project, save this one elsewhere, or begin a new one")
        self.button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.button)
        self.new_action = QAction("New project for this image", menu)
        self.open_action = QAction("Open project…", menu)
        self.save_action = QAction("Save project as…", menu)
        self.merge_action = QAction("Merge with another project…", menu)
        self.merge_action.setToolTip("A new project of both; classes of the same name are joined")
        self.find_action = QAction("Find moved images…", menu)
        self.find_action.setToolTip("Images of this project that are not where they were; their marks are kept")
        actions = [self.new_action, self.open_action, self.save_action, self.merge_action, self.find_action]
        menu.addActions(actions)
        menu.setToolTipsVisible(True)
        self.new_action.triggered.connect(self.new_wanted)
        self.open_action.triggered.connect(self.open_wanted)
        self.save_action.triggered.connect(self.save_as_wanted)
        self.merge_action.triggered.connect(self.merge_wanted)
        self.find_action.triggered.connect(self.find_wanted)
        self.button.setMenu(menu)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.path, 1)
        layout.addWidget(self.button)
        self.set_path(None)

    def set_path(self, path: Path | None) -> None:
        """Say where the project is."""
        if path is None:
            self.path.set_path("Nothing to save yet")
        else:
            self.path.set_path(f"Saved in {path}")

    def set_enabled(self, can_change: bool, has_project: bool) -> None:
        """Enable the menu's entries."""
        self.new_action.setEnabled(can_change and has_project)
        self.open_action.setEnabled(can_change)
        self.save_action.setEnabled(can_change and has_project)
        self.merge_action.setEnabled(can_change and has_project)
        self.find_action.setEnabled(can_change and has_project)


class NoticeBox(QWidget):
    """Notices that stay until they are dealt with, each with its buttons; one for each kind."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._frames: dict[str, QFrame] = {}
        self._color = "palette(mid)"
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self.hide()

    def set_color(self, color: str) -> None:
        """Take a colour of the theme for the bar that marks a notice."""
        self._color = color
        for frame in self._frames.values():
            frame.setStyleSheet(self._style())

    def _style(self) -> str:
        return f"#weaksegNotice {{ border: none; border-left: 4px solid {self._color}; }}"

    def value(self) -> dict[str, str]:
        """Text of each kind of notice shown."""
        return {kind: frame.findChild(QLabel).text() for kind, frame in self._frames.items()}

    def post(self, kind: str, text: str, buttons: Mapping[str, Callable[[], None]] | None = None) -> None:
        """Show a notice in place of an earlier one of its kind; `buttons`: their words → what they do."""
        self.clear(kind)
        frame = QFrame(self)
        frame.setObjectName("weaksegNotice")
        frame.setStyleSheet(self._style())
        row = QBoxLayout(QBoxLayout.Direction.LeftToRight, frame)
        row.setContentsMargins(6, 4, 4, 4)
        label = QLabel(text, frame)
        label.setWordWrap(True)
        row.addWidget(label, 1)
        beside = QHBoxLayout()
        for words, call in (buttons or {}).items():
            press = QPushButton(words, frame)
            press.clicked.connect(partial(_call, call))
            beside.addWidget(press, 0, Qt.AlignmentFlag.AlignVCenter)
        row.addLayout(beside)
        if beside.count() > 1:  # they would leave the text no room
            row.setDirection(QBoxLayout.Direction.TopToBottom)
        self._frames[kind] = frame
        self._layout.addWidget(frame)
        self.show()

    def clear(self, kind: str) -> None:
        """Take a notice away."""
        frame = self._frames.pop(kind, None)
        if frame is not None:
            self._layout.removeWidget(frame)
            frame.hide()
            frame.deleteLater()
        self.setVisible(bool(self._frames))

    def press(self, kind: str, button: int = 0) -> None:
        """Press one of the buttons of a notice, counted from 0."""
        self._frames[kind].findChildren(QPushButton)[button].click()


def _call(call: Callable[[], None], _: bool) -> None:
    call()

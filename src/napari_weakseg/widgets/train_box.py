"""Buttons to train and accept, and how it goes: emits wishes, shows what it is told."""

from collections.abc import Set as AbstractSet
from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_weakseg.engine.messages import Phase
from napari_weakseg.widgets.curve import CurveView
from napari_weakseg.widgets.enablement import Action

_FIRST_STEPS = "Paint a rough blob inside some objects, and a stroke of background. Learning then begins."


class TrainBox(QWidget):
    """Train, Pause/Resume, Stop; progress in words; device; curve."""

    wanted = Signal(str)  # a value of Action
    auto_changed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._phase = Phase.IDLE
        self.train = self._button("Train", Action.TRAIN, "Start learning, or go on after a stop (key T)")
        self.pause = self._button("Pause", Action.PAUSE, "Hold learning for a moment (key T)")
        self.stop = self._button("Stop", Action.STOP, "End learning and keep what was learned (key Shift+T)")
        self.progress = QLabel(_FIRST_STEPS, self)
        self.progress.setWordWrap(True)
        self.busy = QProgressBar(self)
        self.busy.setRange(0, 0)
        self.busy.setTextVisible(False)
        self.busy.setFixedHeight(6)
        self.device = QLabel("Learns on the graphics card if it can be used, otherwise on the processor.", self)
        self.device.setWordWrap(True)
        self.device.setToolTip("What the network runs on")
        self.curve = CurveView(self)
        self.auto = QCheckBox("Start by itself once two classes are marked", self)
        self.auto.setChecked(True)
        self.auto.setToolTip("Learning starts as soon as two classes have a mark, without pressing Train")
        self.auto.toggled.connect(self.auto_changed)
        self._lay_out()
        self.set_phase(Phase.IDLE)

    def _button(self, text: str, action: Action, tip: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setToolTip(tip)
        button.setProperty("action", str(action))
        button.setMinimumWidth(40)
        button.clicked.connect(partial(self._on_clicked, button))
        return button

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        for button in (self.train, self.pause, self.stop):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        layout.addWidget(self.auto)
        layout.addWidget(self.progress)
        layout.addWidget(self.busy)
        layout.addWidget(self.device)
        layout.addWidget(self.curve)

    def set_phase(self, phase: Phase) -> None:
        """Follow the engine: the middle button says Pause or Resume, a bar moves while it prepares."""
        self._phase = phase
        paused = phase is Phase.PAUSED
        self.pause.setText("Resume" if paused else "Pause")
        self.pause.setProperty("action", str(Action.RESUME if paused else Action.PAUSE))
        self.busy.setVisible(phase in (Phase.PREPARING, Phase.PREDICTING))

    def set_enabled(self, actions: AbstractSet[Action]) -> None:
        """Enable what can be done now."""
        self.train.setEnabled(Action.TRAIN in actions)
        self.pause.setEnabled(bool({Action.PAUSE, Action.RESUME} & actions))
        self.stop.setEnabled(Action.STOP in actions)

    def set_progress(self, text: str) -> None:
        """Say how it goes."""
        self.progress.setText(text or _FIRST_STEPS)

    def set_device(self, text: str) -> None:
        """Say what the network runs on."""
        self.device.setText(text)
        self.device.setVisible(bool(text))

    def _on_clicked(self, button: QPushButton, _: object = None) -> None:
        self.wanted.emit(button.property("action"))


class AcceptBox(QWidget):
    """Three ways to take over what the machine found."""

    clicking_changed = Signal(bool)
    class_wanted = Signal()
    grown_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.click = QPushButton("Accept by clicking", self)
        self.click.setCheckable(True)
        self.click.setToolTip(
            "While this is pressed, a click on a grown or predicted object puts it into your annotation.\n"
            "At any time: point at an object and press A. Ctrl+Z undoes it. Your paint is never changed."
        )
        self.cls = QPushButton("This class", self)
        self.cls.setToolTip("Take over all that is predicted of the class you paint with. Ctrl+Z undoes it.")
        self.grown = QPushButton("All grown", self)
        self.grown.setToolTip("Take over all that your blobs have grown to (key Shift+A). Ctrl+Z undoes it.")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for button, stretch in ((self.click, 3), (self.cls, 2), (self.grown, 2)):
            button.setMinimumWidth(40)
            row.addWidget(button, stretch)
        self.click.toggled.connect(self.clicking_changed)
        self.cls.clicked.connect(self.class_wanted)
        self.grown.clicked.connect(self.grown_wanted)

    def set_clicking(self, on: bool) -> None:
        """Press or release the click button."""
        self.click.setChecked(on)

    def set_enabled(self, enabled: bool) -> None:
        """Enable or disable all three."""
        if not enabled:
            self.set_clicking(False)
        for button in (self.click, self.cls, self.grown):
            button.setEnabled(enabled)

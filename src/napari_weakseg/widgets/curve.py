"""Loss and held-out quality over training time. pyqtgraph is loaded with the first point."""

from typing import Any

from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

_HEIGHT_PX = 130
_MAX_POINTS = 4000


class CurveView(QWidget):
    """Two curves over seconds: the loss, and the quality on marks that were held out (0 to 1)."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._loss: list[tuple[float, float]] = []
        self._quality: list[tuple[float, float]] = []
        self._colors = {"text": "#808080", "background": "#000000", "loss": "#56b4e9", "quality": "#e69f00"}
        self._plot: Any = None
        self._hint = QLabel("The learning curve appears here.", self)
        self._hint.setWordWrap(True)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addWidget(self._hint)
        self.setToolTip(
            "Blue: how far the network is from your marks (falls while it learns; no unit).\n"
            "Orange: how well it does on marks kept aside as a test (1 is perfect)."
        )

    def value(self) -> tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]:
        """Points of loss and of quality as (seconds, value)."""
        return tuple(self._loss), tuple(self._quality)

    def add(self, seconds: float, loss: float, quality: float | None) -> None:
        """Draw one more point."""
        if self._loss and seconds < self._loss[-1][0]:
            self._loss.clear()
            self._quality.clear()
        self._loss = _bounded([*self._loss, (seconds, loss)])
        if quality is not None:
            self._quality = _bounded([*self._quality, (seconds, quality)])
        self.prepare()
        self._loss_curve.setData(*_columns(self._loss))
        self._quality_curve.setData(*_columns(self._quality))
        self._quality_view.setGeometry(self._plot.getPlotItem().vb.sceneBoundingRect())

    def prepare(self) -> None:
        """Make the empty plot, which takes a moment the first time."""
        if self._plot is None:
            self._build()

    def clear(self) -> None:
        """Forget all points."""
        self._loss, self._quality = [], []
        if self._plot is not None:
            self._loss_curve.setData([], [])
            self._quality_curve.setData([], [])

    def set_colors(self, *, text: str, background: str) -> None:
        """Follow the theme."""
        self._colors |= {"text": text, "background": background}
        if self._plot is not None:
            self._paint()

    def _build(self) -> None:
        import pyqtgraph

        self._plot = pyqtgraph.PlotWidget(self)
        self._plot.setFixedHeight(_HEIGHT_PX)
        self._plot.setMenuEnabled(False)
        self._plot.setMouseEnabled(False, False)
        self._plot.hideButtons()
        item = self._plot.getPlotItem()
        self._quality_view = pyqtgraph.ViewBox(enableMenu=False, enableMouse=False)
        item.showAxis("right")
        item.scene().addItem(self._quality_view)
        item.getAxis("right").linkToView(self._quality_view)
        self._quality_view.setXLink(item)
        self._quality_view.setYRange(0, 1, padding=0.08)
        self._loss_curve = self._plot.plot([], [])
        self._quality_curve = pyqtgraph.PlotDataItem([], [])
        self._quality_view.addItem(self._quality_curve)
        item.vb.sigResized.connect(self._on_resized)
        self._hint.hide()
        self._layout.addWidget(self._plot)
        self._paint()

    def _on_resized(self) -> None:
        self._quality_view.setGeometry(self._plot.getPlotItem().vb.sceneBoundingRect())

    def _paint(self) -> None:
        import pyqtgraph

        self._plot.setBackground(self._colors["background"])
        item = self._plot.getPlotItem()
        for side, color in (("left", "loss"), ("right", "quality"), ("bottom", "text")):
            axis = item.getAxis(side)
            axis.setPen(self._colors["text"])
            axis.setTextPen(self._colors[color])
            axis.enableAutoSIPrefix(False)
        item.setLabel("left", "loss", color=self._colors["loss"])
        item.setLabel("right", "quality", color=self._colors["quality"])
        item.setLabel("bottom", "seconds", color=self._colors["text"])
        self._loss_curve.setPen(pyqtgraph.mkPen(self._colors["loss"], width=2))
        self._quality_curve.setPen(pyqtgraph.mkPen(self._colors["quality"], width=2))


def _bounded(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Every second point where there are too many."""
    return points if len(points) <= _MAX_POINTS else points[::2]


def _columns(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]

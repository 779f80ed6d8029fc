"""A hand on the mouse: presses, drags and keys that go through Qt and vispy like a person's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget


class Hand:
    """Acts on the canvas of a viewer.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.canvas: QWidget = viewer.window._qt_viewer.canvas.native

    def place(self, world: Sequence[float]) -> QPointF:
        """Pixel of the canvas over a point (y, x) of the world."""
        camera = self.viewer.scene.camera
        middle = np.array([self.canvas.height(), self.canvas.width()]) / 2
        y, x = (np.asarray(world, float) - np.asarray(camera.center)[-2:]) * camera.zoom + middle
        return QPointF(x, y)

    def stroke(self, *points: Sequence[float]) -> None:
        """Press at the first point, drag through the others, release at the last."""
        path = [self.place(point) for point in points]
        none, left = Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton
        self._send(QEvent.Type.MouseMove, path[0], none, none)
        self._send(QEvent.Type.MouseButtonPress, path[0], left, left)
        for position in path[1:]:
            self._send(QEvent.Type.MouseMove, position, none, left)
        self._send(QEvent.Type.MouseButtonRelease, path[-1], left, none)

    def point_at(self, point: Sequence[float]) -> None:
        """Move the mouse there."""
        none = Qt.MouseButton.NoButton
        self._send(QEvent.Type.MouseMove, self.place(point), none, none)

    def press_key(self, key: Qt.Key, modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        """Press and release a key over the canvas."""
        QTest.keyClick(self.canvas, key, modifiers)

    def _send(self, kind: QEvent.Type, position: QPointF, button: Any, buttons: Any) -> None:
        where = QPointF(self.canvas.mapToGlobal(position.toPoint()))
        event = QMouseEvent(kind, position, where, button, buttons, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(self.canvas, event)
        QApplication.processEvents()

"""The dock widget: lays the parts out and hands them to the controller that joins them."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtGui import QCloseEvent, QHideEvent, QShowEvent
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QSizePolicy, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_weakseg.widgets.class_table import ClassTableView
from napari_weakseg.widgets.controller import Controller
from napari_weakseg.widgets.desk import Desk
from napari_weakseg.widgets.engine_link import make_session as default_session
from napari_weakseg.widgets.image_box import ImageBox
from napari_weakseg.widgets.keys import HELP
from napari_weakseg.widgets.next_box import ClaimsBox, NextBox
from napari_weakseg.widgets.objects_box import ObjectsBox
from napari_weakseg.widgets.save_box import SaveBox
from napari_weakseg.widgets.side_boxes import NoticeBox, ProjectBox, SettingsBox
from napari_weakseg.widgets.train_box import AcceptBox, TrainBox

if TYPE_CHECKING:
    import napari

    from napari_weakseg.core.project import Project
    from napari_weakseg.session import Session

_WIDTH_PX = 360


class WeaksegPanel(QWidget):
    """Learn to segment from rough annotation.

    Parameters
    ----------
    napari_viewer : Viewer
    make_session : callable, optional
        Project → Session.
    desk : Desk, optional
        Where projects are kept.
    """

    def __init__(
        self,
        napari_viewer: "napari.viewer.Viewer",
        *,
        make_session: "Callable[[Project], Session] | None" = None,
        desk: Desk | None = None,
    ) -> None:
        super().__init__()
        self.setObjectName("WeaksegPanel")
        self.notices = NoticeBox(self)
        self.image_box = ImageBox(self)
        self.class_table = ClassTableView(self)
        self.train_box = TrainBox(self)
        self.accept_box = AcceptBox(self)
        self.next_box = NextBox(self)
        self.objects_box = ObjectsBox(self)
        self.save_box = SaveBox(self)
        self.claims_box = ClaimsBox(self)
        self.settings = SettingsBox(self)
        self.project_box = ProjectBox(self)
        self._lay_out()
        self.controller = Controller(
            napari_viewer, self, desk=desk or Desk(), make_session=make_session or default_session
        )
        # A closed window deletes its docks without a close event; the slot holds the controller only.
        self.destroyed.connect(partial(_close, self.controller))

    def _lay_out(self) -> None:
        inside = QWidget()
        parts = QVBoxLayout(inside)
        parts.setContentsMargins(6, 6, 6, 6)
        parts.setSpacing(8)
        parts.addWidget(self.notices)
        parts.addWidget(self.image_box)
        parts.addWidget(self._section("Classes", self.class_table))
        parts.addWidget(self._section("Learn", self.train_box))
        parts.addWidget(self._section("Accept into the annotation", self.accept_box))
        parts.addWidget(self.next_box)
        parts.addWidget(self.objects_box)
        parts.addWidget(self._section("Save results", self.save_box))
        parts.addWidget(self._folded("Masks that may be wrong", self.claims_box))
        parts.addWidget(self._folded("Advanced", self.settings))
        parts.addWidget(self._folded("Keys", _key_help()))
        parts.addStretch(1)
        scroll = QScrollArea(self)
        scroll.setWidget(inside)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll, 1)
        footer = QVBoxLayout()
        footer.setContentsMargins(6, 0, 6, 4)
        footer.addWidget(self.project_box)
        layout.addLayout(footer)
        self.setMinimumWidth(260)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """Wide enough for two drop-downs side by side."""
        size = super().sizeHint()
        size.setWidth(_WIDTH_PX)
        return size

    def _section(self, title: str, widget: QWidget) -> QWidget:
        box = QWidget(self)
        layout = QVBoxLayout(box)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        label = QLabel(f"<b>{title}</b>", box)
        layout.addWidget(label)
        layout.addWidget(widget)
        return box

    def _folded(self, title: str, widget: QWidget) -> QCollapsible:
        fold = QCollapsible(title, self)
        fold.addWidget(widget)
        layout = fold.layout()
        if layout is not None:
            layout.setContentsMargins(0, 0, 0, 0)
        fold.collapse(animate=False)
        return fold

    def _close(self) -> None:
        if hasattr(self, "controller"):
            self.controller.close(remove=True)

    def _set_docked(self, docked: bool) -> None:
        if hasattr(self, "controller"):
            self.controller.set_docked(docked)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Bind the keys."""
        super().showEvent(event)
        self._set_docked(True)

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Give the keys back, unless only the window was minimised."""
        super().hideEvent(event)
        if event is not None and not event.spontaneous():
            self._set_docked(False)

    def event(self, event: QEvent | None) -> bool:
        """Close down when the dock that held the panel was closed."""
        done = super().event(event)
        left = event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None
        if left:
            self._close()
        return done

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """End the engine and let go of the viewer."""
        self._close()
        super().closeEvent(event)


def _close(controller: Controller, _: object = None) -> None:
    controller.close()


def _key_help() -> QLabel:
    rows = "".join(f"<tr><td><b>{key}</b>&nbsp;&nbsp;</td><td>{what}</td></tr>" for key, what in HELP.items())
    label = QLabel(f"<table>{rows}</table>")
    label.setWordWrap(True)
    return label

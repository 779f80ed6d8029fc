"""Says on which images one can paint, and follows what happens to their layers: another picture, another pixel size."""

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QObject

from napari_weakseg.core.errors import WeaksegError
from napari_weakseg.widgets import messages
from napari_weakseg.widgets.canvas import ImageCanvas
from napari_weakseg.widgets.side_boxes import NoticeBox
from napari_weakseg.widgets.source_pixels import shows
from napari_weakseg.widgets.workbench import Workbench

_NOTICE = "another picture"
_SIZE = ("scale", "units")


class ImageWatch(QObject):
    """Lets nobody paint on a picture that is not the one learned from, and keeps the pixel size of the project.

    Nor is anything painted while the project is joined with another one: it would be missing there.

    Parameters
    ----------
    bench : Workbench
    notices : NoticeBox
        Where it says so.
    """

    def __init__(self, bench: Workbench, notices: NoticeBox, parent: QObject) -> None:
        super().__init__(parent)
        self._bench, self._notices = bench, notices
        self._watched: list[ImageCanvas] = []
        bench.current_changed.connect(self._on_current)
        bench.aside.changed.connect(self._on_aside)

    def _on_current(self) -> None:
        for canvas in self._watched:
            canvas.image.events.data.disconnect(self._on_data)
            for event in _SIZE:
                canvas.image.events[event].disconnect(self._on_size)
        self._watched = list(self._bench.canvases.values())
        for canvas in self._watched:
            canvas.image.events.data.connect(self._on_data)
            for event in _SIZE:
                canvas.image.events[event].connect(self._on_size)
        if self._bench.aside.exclusive:
            self._allow(self._watched)
        self._tell()

    def _on_aside(self) -> None:
        self._allow(self._watched)
        self._tell()

    def _on_data(self, event: Any) -> None:
        canvas = self._canvas_of(event.source)
        self._allow([] if canvas is None else [canvas])
        self._tell()

    def _allow(self, canvases: Sequence[ImageCanvas]) -> None:
        for canvas in canvases:
            may = not self._bench.aside.exclusive and self._is_learned_from(canvas)
            if may != canvas.annotation.editable:
                canvas.set_editable(may)

    def _on_size(self, event: Any) -> None:
        canvas = self._canvas_of(event.source)
        if canvas is not None and canvas.in_shape:
            messages.guarded(lambda: self._bench.desk.measure(canvas.name, canvas.image, canvas.axes))

    def _canvas_of(self, layer: Any) -> ImageCanvas | None:
        return next((canvas for canvas in self._watched if canvas.image == layer), None)

    def _is_learned_from(self, canvas: ImageCanvas) -> bool:
        """Tell whether the layer shows what the project holds; a file that is gone is taken as it was."""
        if canvas.image.data is canvas.picture:
            return True
        try:
            return canvas.in_shape and shows(
                canvas.image, canvas.axes, self._bench.desk.open_project.images[canvas.name].source
            )
        except WeaksegError:
            return False

    def _tell(self) -> None:
        """Say it of the image worked on."""
        canvas = self._bench.current
        if canvas is None or canvas.annotation.editable or self._bench.aside.exclusive:
            self._notices.clear(_NOTICE)
            return
        text = (
            f"The layer “{canvas.image.name}” shows another picture than the one that is learned from, so nothing can "
            "be painted on it. What you painted before is safe in the project."
        )
        self._notices.post(_NOTICE, text, {"Show the old one": self._go_back, "Learn from this one": self._go_on})

    def _go_back(self) -> None:
        canvas = self._bench.current
        if canvas is not None:
            canvas.image.data = canvas.picture

    def _go_on(self) -> None:
        """Take what is shown as an image of its own; the old one can be chosen in the list of images."""
        canvas = self._bench.current
        if canvas is not None and not self._bench.aside.doing:
            self._bench.strokes.flush_all()
            self._bench.put_away(canvas)
            messages.guarded(lambda: self._bench.choose(canvas.image))

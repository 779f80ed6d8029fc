"""Finds the objects of the slice on screen and shows them; the sliders act on what was found once."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog

from napari_weakseg.core.names import result_name
from napari_weakseg.core.tables import object_table, write_table
from napari_weakseg.engine.messages import Predicted, Refused
from napari_weakseg.widgets import messages
from napari_weakseg.widgets.canvas import ImageCanvas
from napari_weakseg.widgets.engine_link import EngineLink
from napari_weakseg.widgets.objects_box import ObjectsBox
from napari_weakseg.widgets.overlay import KEY, block_index
from napari_weakseg.widgets.timers import single_shot, stop_timer
from napari_weakseg.widgets.workbench import Workbench

if TYPE_CHECKING:
    from napari.layers import Labels

_ROLE = "objects"
_SOON_MS = 30  # after the last move of a slider
_OPACITY = 0.6


class ObjectFinding(QObject):
    """Answers the box of objects.

    Parameters
    ----------
    bench : Workbench
    link : EngineLink
    box : ObjectsBox
    """

    def __init__(self, bench: Workbench, link: EngineLink, box: ObjectsBox, parent: QObject) -> None:
        super().__init__(parent)
        self._bench, self._link, self._box = bench, link, box
        self._found: Predicted | None = None
        self._asked: int | None = None
        self._fresh = True  # whether the sliders have not been moved yet for this project
        self._soon = single_shot(self, _SOON_MS, self.show)
        box.wanted.connect(self.find)
        box.table_wanted.connect(self.save_table)
        box.value_changed.connect(self._on_value)
        link.predicted.connect(self._on_predicted)
        link.refused.connect(self._on_refused)

    @property
    def chosen(self) -> tuple[float | None, int | None]:
        """How objects are told apart, as the sliders say; None where nobody has found any yet."""
        return self._box.value() if self._found is not None else (None, None)

    def find(self) -> None:
        """Ask for the objects on screen."""
        canvas = self._bench.current
        if canvas is None:
            return
        self._bench.strokes.flush_all()
        self._asked = self._link.find_objects(canvas.name, canvas.frame)
        if self._asked is not None:
            self._box.say("Looking for objects …")

    def show(self) -> None:
        """Show what was found as the sliders say."""
        found = self._found
        canvas = None if found is None else self._bench.canvases.get(found.image)
        if found is None or found.fragments is None or canvas is None:
            return
        split, smallest = self._box.value()
        ids = found.fragments.objects(split=split, min_px=smallest)
        layer = self._layer(canvas)
        at = block_index(found.frame, found.start, ids.shape)
        canvas.place.labels(np.asarray(layer.data))[at] = ids
        layer.refresh()
        n = int(ids.max(initial=0))
        part = f", slice {', '.join(map(str, found.frame))}" if found.frame else ""
        self._box.say(f"{n} object{'s' * (n != 1)} in “{found.image}”{part}")

    def save_table(self) -> None:
        """Ask where to, and write a table of the objects shown."""
        found = self._found
        if found is None or found.fragments is None:
            return
        project = self._bench.desk.open_project
        start = project.prediction_dir / f"{result_name(found.image, project.images)}_objects.csv"
        chosen, _ = QFileDialog.getSaveFileName(None, "Save a table of the objects", str(start), "CSV (*.csv)")
        if chosen:
            messages.guarded(lambda: self._write_table(Path(chosen)))

    def _write_table(self, path: Path) -> None:
        found, project = self._found, self._bench.desk.open_project
        assert found is not None
        assert found.fragments is not None
        split, smallest = self._box.value()
        image, fragments = project.images[found.image], found.fragments
        rows = object_table(
            fragments.objects(split=split, min_px=smallest),
            fragments.classes[fragments.ids],
            project.classes.names,
            axes=image.label_axes[-project.ndim :],
            pixel_size=image.source.pixel_size or {},
        )
        write_table(path, rows)
        messages.info(f"The table is saved in {path}.")

    def clear(self) -> None:
        """Forget what was found for another project; layers of objects go with their images."""
        self._found, self._asked, self._fresh = None, None, True
        self._box.clear()

    def close(self) -> None:
        """Come to rest."""
        stop_timer(self._soon)

    def _layer(self, canvas: ImageCanvas) -> "Labels":
        """Layer of objects of an image; made anew where the person has deleted it."""
        from napari.layers import Labels

        if canvas.objects is None:
            layers = self._bench.viewer.layers
            data = np.zeros(canvas.place.shape, np.int32)
            metadata = {KEY: {"role": _ROLE, "image": canvas.name}}
            settings: dict[str, Any] = canvas.place.settings
            canvas.objects = Labels(data, name=canvas.free_name(_ROLE), metadata=metadata, opacity=_OPACITY, **settings)
            canvas.objects.editable = False
            canvas.objects.visible = canvas is self._bench.current
            active = layers.selection.active
            layers.append(canvas.objects)
            layers.selection.active = active  # the brush stays on the annotation
        return canvas.objects

    def _on_value(self) -> None:
        self._fresh = False
        self._soon.start()

    def _on_predicted(self, event: Predicted) -> None:
        if event.request_id != self._asked or event.fragments is None:
            return
        from napari_weakseg.engine.fragments import SPLIT

        self._found, self._asked = event, None
        if self._fresh:
            self._box.setValue(SPLIT, None)
        self._box.tell_marked(event.fragments.least_px.values())
        self._box.set_found(True)
        self.show()

    def _on_refused(self, event: Refused) -> None:
        if event.request_id == self._asked:
            self._asked = None
            self._box.say("")
            messages.warn(event.problem, event.remedy, event.details)

"""Boxes of one image as a Shapes layer: drawn with napari's rectangle tool, one box for each shape. No Qt."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.annotations import Box
from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.widgets.overlay import KEY, Placement

_CLASS = "class"  # feature of each shape
_EDGE_SHARE, _EDGE_PX = 300, (1.0, 6.0)  # how much narrower than the image the line of a box is, and its bounds
_EXACT = 1e-3  # pixels: vertices are stored with rounding errors
_CLICK_PX = 4.0  # of the screen; what is smaller was clicked, not drawn
_CHOOSING = ("select", "direct")  # modes in which what is selected was selected on purpose


class BoxLayer:
    """Keeps the boxes of a project's image equal to the shapes of a layer.

    Any shape counts by its bounding box. Boxes that reach through several frames cannot be shown as one shape; they are
    neither shown nor touched. Shapes of a class that the project does not have wait until it has.

    Parameters
    ----------
    name : str
        Of the layer.
    image : str
        Of the image, in the project.
    place : Placement
    boxes : sequence of Box
        What the project holds.
    spatial_ndim : int
    colors : sequence of str
        One for each class.
    on_touched : callable
        Called when something may have changed.

    Attributes
    ----------
    layer : Shapes
    class_id : int
        Class of the next box.
    counts : int64 (256,)
        Boxes of each class id, as handed on.
    """

    def __init__(
        self,
        name: str,
        image: str,
        place: Placement,
        boxes: Sequence[Box],
        *,
        spatial_ndim: int,
        colors: Sequence[str],
        on_touched: Callable[[], None],
    ) -> None:
        from napari.layers import Shapes

        self._place, self._colors = place, tuple(colors)
        self._frame_axes = len(place.label_shape) - spatial_ndim
        self._known = self._now = Counter(box for box in boxes if self._is_shown(box))
        self._on_touched, self._stale = on_touched, False
        self.counts = _by_class(self._known)
        shown = list(self._known.elements())
        self.layer = Shapes(
            [self._corners(box) for box in shown],
            ndim=len(place.shape),
            shape_type="rectangle",
            features={_CLASS: np.array([box.class_id for box in shown], int)},
            edge_width=float(np.clip(min(place.label_shape[-2:]) / _EDGE_SHARE, *_EDGE_PX)),
            face_color="transparent",
            name=name,
            metadata={KEY: {"role": "boxes", "image": image}},
            **place.settings,
        )
        self.pick_class(BACKGROUND + 1)
        self.layer.events.data.connect(self._on_data)
        self.layer.events.features.connect(self._touch)  # napari pastes without a word about the data

    # ------------------------------------------------------------------- to the project

    @property
    def drawing(self) -> bool:
        """Whether the mouse is in the middle of drawing or moving a shape."""
        return bool(getattr(self.layer, "_is_creating", False) or getattr(self.layer, "_is_moving", False))

    def changes(self) -> tuple[list[Box], list[Box]]:
        """Boxes that are new and boxes that are gone since `handed_on`; none while the mouse is at work."""
        if not self._stale or self.drawing:
            return [], []
        self._forget_clicks()
        self._now = Counter(self._boxes())
        new, gone = list((self._now - self._known).elements()), list((self._known - self._now).elements())
        self._stale = bool(new or gone)
        if new:
            self._paint()
        return new, gone

    def handed_on(self) -> None:
        """Take note that the last changes are in the project."""
        self._known, self._stale = self._now, False
        self.counts = _by_class(self._known)

    def _boxes(self) -> Iterable[Box]:
        """Read the shapes; what lies outside the image or through several frames, or has no area, is none."""
        for corners, class_id in zip(self.layer.data, self.layer.features[_CLASS], strict=False):
            points = np.asarray(corners, float)
            points = np.stack(self._place.without_channel(list(points.T)), 1)
            extent = np.ptp(points, axis=0)
            flat = (extent[: self._frame_axes] < 0.5).all() and (extent[self._frame_axes :] > 0.5).all()
            if class_id > len(self._colors) or not flat:
                continue
            start = np.floor(points.min(0) + 0.5 + _EXACT).astype(int)
            stop = np.ceil(points.max(0) + 0.5 - _EXACT).astype(int)
            start[: self._frame_axes] = np.round(points[0, : self._frame_axes])
            stop[: self._frame_axes] = start[: self._frame_axes] + 1
            start, stop = np.maximum(start, 0), np.minimum(stop, self._place.label_shape)
            if (start < stop).all():
                yield Box(int(class_id), tuple(start.tolist()), tuple(stop.tolist()))

    def _forget_clicks(self) -> None:
        """Remove a rectangle that a mere click has left."""
        n, pixel = len(self.layer.data), float(self.layer.scale_factor) / abs(float(self.layer.scale[-1]))
        if self.layer.mode in _CHOOSING or n <= sum(self._known.values()):
            return
        if (np.ptp(np.asarray(self.layer.data[n - 1], float), axis=0) < _CLICK_PX * pixel).all():
            self.layer.selected_data = {n - 1}
            self.layer.remove_selected()

    def _is_shown(self, box: Box) -> bool:
        frames = zip(box.start[: self._frame_axes], box.stop[: self._frame_axes], strict=True)
        return all(b - a == 1 for a, b in frames)

    def _corners(self, box: Box) -> NDArray[np.float64]:
        """Vertices of a rectangle around the pixels of a box."""
        (y0, x0), (y1, x1) = np.array(box.start[-2:]) - 0.5, np.array(box.stop[-2:]) - 0.5
        corners = [[*map(float, box.start[:-2]), y, x] for y, x in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))]
        if self._place.channel_axis is not None:
            for corner in corners:
                corner.insert(self._place.channel_axis, 0.0)
        return np.array(corners)

    # ---------------------------------------------------------------------- on screen

    def pick_class(self, class_id: int) -> None:
        """Draw boxes of a class from now on."""
        self.class_id = class_id
        self.layer.feature_defaults = {_CLASS: class_id}
        self._paint()

    def change_selected(self, class_id: int) -> None:
        """Make those boxes that a person has selected boxes of a class."""
        chosen = sorted(self.layer.selected_data) if self.layer.mode in _CHOOSING else []
        if chosen:
            features = self.layer.features.copy()
            features.loc[chosen, _CLASS] = class_id
            self.layer.features = features  # napari takes the last row's class for the next box now
            self.pick_class(self.class_id)

    def draw(self, class_id: int) -> None:
        """Take napari's rectangle tool."""
        self.layer.visible = True
        self.layer.selected_data = set()
        self.layer.mode = "add_rectangle"
        self.pick_class(class_id)

    def rest(self) -> None:
        """Put the tools away; what was being drawn is finished."""
        self.layer.mode = "pan_zoom"

    def set_colors(self, colors: Sequence[str]) -> None:
        """Follow the class table."""
        self._colors = tuple(colors)
        self._paint()
        self._touch()

    def close(self) -> None:
        """Let go of the layer."""
        self.layer.events.data.disconnect(self._on_data)
        self.layer.events.features.disconnect(self._touch)

    def _paint(self) -> None:
        colors = [self._color(int(class_id)) for class_id in self.layer.features[_CLASS]]
        if colors:
            self.layer.edge_color = colors
        with self.layer.block_update_properties():  # of what is selected
            self.layer.current_edge_color = self._color(self.class_id)

    def _color(self, class_id: int) -> str:
        return self._colors[class_id - 1] if class_id <= len(self._colors) else "#ff00ff"

    def _on_data(self, event: Any) -> None:
        surplus = len(self.layer.features) - len(self.layer.data)
        if surplus > 0 and str(event.action) in (
            "added",
            "changed",
        ):  # napari keeps the row of a shape that was given up
            rows = [i % len(self.layer.features) for i in event.data_indices if isinstance(i, int)]
            kept = np.ones(len(self.layer.features), bool)
            kept[rows if len(rows) == surplus else slice(len(self.layer.data), None)] = False
            self.layer.features = self.layer.features[kept].reset_index(drop=True)
            self.layer.feature_defaults = {_CLASS: self.class_id}
        self._touch()

    def _touch(self, event: object = None) -> None:
        self._stale = True
        self._on_touched()


def _by_class(boxes: Counter[Box]) -> NDArray[np.int64]:
    counts = np.zeros(256, np.int64)
    for box, n in boxes.items():
        counts[box.class_id] += n
    return counts

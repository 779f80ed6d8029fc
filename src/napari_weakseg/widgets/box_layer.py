"""Boxes of one image as a Shapes layer: drawn with napari's rectangle tool, one box for each shape. No Qt."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.annotations import Box
from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.widgets.overlay import KEY, Placement, match

_CLASS = "class"  # feature of each shape
_EDGE_SHARE = 300  # the shorter side of the image is so many times wider than the line of a box
_EXACT = 1e-3  # pixels: vertices are stored with rounding errors


class BoxLayer:
    """Keeps the boxes of a project's image equal to the shapes of a layer.

    Any shape counts by its bounding box. Boxes that reach through several frames cannot be shown as one shape; they are
    neither shown nor touched.

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
        self._known = Counter(box for box in boxes if self._is_shown(box))
        self._on_touched = on_touched
        shown = list(self._known.elements())
        self.layer = Shapes(
            [self._corners(box) for box in shown],
            ndim=len(place.shape),
            shape_type="rectangle",
            features={_CLASS: np.array([box.class_id for box in shown], int)},
            edge_width=max(1.0, min(place.label_shape[-2:]) / _EDGE_SHARE),
            face_color="transparent",
            name=name,
            metadata={KEY: {"role": "boxes", "image": image}},
            **place.settings,
        )
        self.pick_class(BACKGROUND + 1)
        self.layer.events.data.connect(self._on_data)

    # ------------------------------------------------------------------- to the project

    @property
    def drawing(self) -> bool:
        """Whether the mouse is in the middle of drawing or moving a shape."""
        return bool(getattr(self.layer, "_is_creating", False) or getattr(self.layer, "_is_moving", False))

    def count(self, class_id: int) -> int:
        """Boxes of a class, as handed on."""
        return sum(n for box, n in self._known.items() if box.class_id == class_id)

    def changes(self) -> tuple[list[Box], list[Box]]:
        """Boxes that are new and boxes that are gone since the last call."""
        now = Counter(self._boxes())
        new, gone = list((now - self._known).elements()), list((self._known - now).elements())
        self._known = now
        return new, gone

    def _boxes(self) -> Iterable[Box]:
        """Read the shapes; what lies outside the image is none."""
        classes = self.layer.features[_CLASS]
        for corners, class_id in zip(self.layer.data, classes, strict=True):
            points = np.asarray(corners, float)
            points = np.stack(self._place.without_channel(list(points.T)), 1)
            start = np.floor(points.min(0) + 0.5 + _EXACT).astype(int)
            stop = np.ceil(points.max(0) + 0.5 - _EXACT).astype(int)
            start[: self._frame_axes] = np.round(points[0, : self._frame_axes])
            stop[: self._frame_axes] = start[: self._frame_axes] + 1
            start, stop = np.maximum(start, 0), np.minimum(stop, self._place.label_shape)
            if (start < stop).all():
                yield Box(int(class_id), tuple(start.tolist()), tuple(stop.tolist()))

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
        """Draw boxes of a class from now on, and make those that are selected boxes of it."""
        self.class_id = class_id
        self.layer.feature_defaults = {_CLASS: class_id}
        chosen = sorted(self.layer.selected_data)
        if chosen:
            features = self.layer.features.copy()
            features.loc[chosen, _CLASS] = class_id
            self.layer.features = features
            self._on_data()
        self._paint()

    def draw(self) -> None:
        """Take napari's rectangle tool."""
        self.layer.selected_data = set()
        self.layer.mode = "add_rectangle"
        self.pick_class(self.class_id)

    def set_colors(self, colors: Sequence[str]) -> None:
        """Follow the class table."""
        self._colors = tuple(colors)
        self._paint()

    def match(self, place: Placement) -> None:
        """Follow the image when it is moved or rescaled."""
        self._place = place
        match(self.layer, place)

    def close(self) -> None:
        """Let go of the layer."""
        self.layer.events.data.disconnect(self._on_data)

    def _paint(self) -> None:
        colors = [self._color(int(class_id)) for class_id in self.layer.features[_CLASS]]
        if colors:
            self.layer.edge_color = colors
        self.layer.current_edge_color = self._color(self.class_id)

    def _color(self, class_id: int) -> str:
        return self._colors[class_id - 1] if class_id <= len(self._colors) else "#ff00ff"

    def _on_data(self, event: Any = None) -> None:
        self._on_touched()

"""Boxes as shapes of a napari layer: one for each box, brought to the plane on screen in volumes. No Qt."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.annotations import Box
from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.widgets.box_outline import Outlines
from napari_weakseg.widgets.overlay import KEY, Placement

_CLASS = "class"  # feature of each shape
_REACH = ["planes before", "planes after"]  # features in volumes: how far the box reaches from the plane of its shape
_EDGE_SHARE, _EDGE_PX = 300, (1.0, 6.0)  # how much narrower than the image the line of a box is, and its bounds
_DRAFT_ALPHA = "50"  # how opaque what is not a box yet is filled, hexadecimal
CHOOSING = ("select", "direct")  # modes in which what is selected was selected on purpose


@dataclass(frozen=True)
class ShapesCopy:
    """All shapes of a layer: vertices and kind of each, widths of the lines, table of features."""

    data: list[tuple[NDArray[Any], str]]
    edge_widths: list[float]
    features: Any


class BoxShapes:
    """A Shapes layer, drawn in with napari's rectangle tool. Any shape counts by its bounding box.

    In a volume a shape says how many planes before and after its own the box reaches through (`follow` brings it to the
    one on screen). A shape that does not say so is a draft, and no box: it becomes one with its second `end_here`.

    Parameters
    ----------
    name : str
        Of the layer.
    image : str
        Of the image, in the project.
    place : Placement
    boxes : sequence of Box
        What is shown, as far as a box lies in one frame.
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

        self._outlines, self._colors, self._on_touched = Outlines(place, spatial_ndim), tuple(colors), on_touched
        boxes = [box for box in boxes if self._outlines.fits(box)]
        self.layer = Shapes(
            [self._outlines.corners(box) for box in boxes],
            ndim=len(place.shape),
            shape_type="rectangle",
            features=self._features_of(boxes),
            edge_width=float(np.clip(min(place.label_shape[-2:]) / _EDGE_SHARE, *_EDGE_PX)),
            face_color="transparent",
            name=name,
            metadata={KEY: {"role": "boxes", "image": image}},
            **place.settings,
        )
        self._plane = 0
        self.pick_class(BACKGROUND + 1)
        self.layer.events.data.connect(self._on_data)
        self.layer.events.visible.connect(self._on_visible)
        self.layer.events.features.connect(self._touch)  # napari pastes without a word about the data

    @property
    def drawing(self) -> bool:
        """Whether the mouse is in the middle of drawing or moving a shape."""
        return bool(getattr(self.layer, "_is_creating", False) or getattr(self.layer, "_is_moving", False))

    def _boxes(self) -> Iterable[Box]:
        """Read the shapes; drafts, shapes that are no box and those of a class that is not there yet are left out."""
        for vertices, class_id, reach in zip(self.layer.data, self.layer.features[_CLASS], self._reach(), strict=False):
            if class_id <= len(self._colors) and not np.isnan(reach).any():
                box = self._outlines.box(class_id, vertices, *reach.astype(int).tolist())
                if box is not None:
                    yield box

    def _shapes(self) -> ShapesCopy:
        """All shapes as they are now; a copy."""
        layer = self.layer
        data = [(np.array(vertices), kind) for vertices, kind in zip(layer.data, layer.shape_type, strict=True)]
        return ShapesCopy(data, list(layer.edge_width), layer.features.copy())

    def _put(self, shapes: ShapesCopy) -> None:
        """Replace all shapes without a word about it."""
        events, editable = self.layer.events, self.layer.editable
        with events.data.blocker(self._on_data), events.features.blocker(self._touch):
            self.layer.data = shapes.data
            self.layer.edge_width = shapes.edge_widths
            self.layer.features = shapes.features  # napari takes the last row for the next shape now
            self._set_defaults()
        self.layer.editable = editable  # napari allows it with new data

    def _selected(self) -> list[int]:
        """Shapes that were selected on purpose: napari leaves what was just drawn selected."""
        return sorted(self.layer.selected_data) if self.layer.mode in CHOOSING else []

    def _remove(self, row: int) -> None:
        self.layer.selected_data = {row}
        self.layer.remove_selected()

    def _features_of(self, boxes: Sequence[Box]) -> dict[str, NDArray[Any]]:
        features: dict[str, NDArray[Any]] = {_CLASS: np.array([box.class_id for box in boxes], int)}
        if self._outlines.depth is not None:
            z = self._outlines.frame_axes
            after = [box.stop[z] - box.start[z] - 1.0 for box in boxes]
            features |= dict(zip(_REACH, (np.zeros(len(boxes)), np.array(after)), strict=True))
        return features

    def pick_class(self, class_id: int) -> None:
        """Draw boxes of a class from now on."""
        self.class_id = class_id
        self._set_defaults()
        self._paint()

    def change_selected(self, class_id: int) -> None:
        """Make those boxes that a person has selected boxes of a class."""
        if chosen := self._selected():
            classes = self.layer.features[_CLASS].to_numpy(copy=True)
            classes[chosen] = class_id
            self._set_features(_CLASS, classes)
            self._paint()

    def _set_features(self, name: str | list[str], values: NDArray[Any]) -> None:
        features = self.layer.features.copy()
        features[name] = values
        self.layer.features = features  # napari takes the last row for the next shape now
        self._set_defaults()

    def _set_defaults(self) -> None:
        """Say what the next shape is: of the class that is picked, in a volume a draft."""
        unsaid = {} if self._outlines.depth is None else dict.fromkeys(_REACH, np.nan)
        self.layer.feature_defaults = {_CLASS: self.class_id, **unsaid}

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
        self.layer.events.visible.disconnect(self._on_visible)

    def _paint(self) -> None:
        colors = [self._color(int(class_id)) for class_id in self.layer.features[_CLASS]]
        if colors:
            self.layer.edge_color = colors
        if colors and self._outlines.depth is not None:
            fills = ["#00000000"] * len(colors)
            for row in self._drafts():
                fills[row] = colors[row] + _DRAFT_ALPHA
            self.layer.face_color = fills
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
            self._set_defaults()
        self._touch()

    def _touch(self, event: object = None) -> None:
        self._on_touched()

    # ------------------------------------------------------------------------ volumes

    def follow(self, plane: int) -> None:
        """Bring the boxes that reach through a plane into it, and the drafts along; as soon as they can be seen."""
        self._plane, depth, reach = plane, self._outlines.depth, self._reach()
        if depth is None or self.drawing or not len(reach) or not self.layer.visible:
            return
        own = np.round([vertices[0, depth] for vertices in self.layer.data])
        inside = np.clip(plane, own - reach[:, 0], own + reach[:, 1])
        steps = np.where(np.isnan(reach).any(1), plane, inside) - own
        if steps.any():
            chosen, now, along = set(self.layer.selected_data), self._shapes(), np.eye(self.layer.ndim)[depth]
            moved = [(vertices + step * along, kind) for (vertices, kind), step in zip(now.data, steps, strict=True)]
            now.features[_REACH] = reach + steps[:, None] * (1, -1)
            self._put(replace(now, data=moved))
            self.layer.selected_data = chosen

    def _on_visible(self, event: object = None) -> None:
        self.follow(self._plane)

    def end_here(self, frame: tuple[int, ...], plane: int) -> bool:
        """Let the draft drawn last, or what is selected, end at a plane; returns whether there is any in this frame.

        The second end makes a box of a draft. Of a box the end that is nearer moves.
        """
        reach, ended = self._reach(), False
        for row in self._selected() or self._drafts()[-1:]:
            flat = self._outlines.box(0, self.layer.data[row])
            if flat is not None and flat.start[: len(frame)] == frame:
                before, after = reach[row].tolist()
                reach[row] = _ended(before, after, plane - flat.start[len(frame)])
                ended = True
        if ended:
            self._set_features(_REACH, reach)
            self.follow(plane)
        return ended

    def give_up(self) -> None:
        """Remove the draft drawn last."""
        for row in self._drafts()[-1:]:
            self._remove(row)

    def _drafts(self) -> list[int]:
        rows: list[int] = np.flatnonzero(np.isnan(self._reach()).any(1)).tolist()
        return rows

    def _reach(self) -> NDArray[np.float64]:
        """Planes before and after its own that the box of each shape reaches through, NaN = not said yet; (N, 2)."""
        n = len(self.layer.data)
        if self._outlines.depth is None:
            return np.zeros((n, 2))
        return np.array(self.layer.features[_REACH], float)[:n]


def _ended(before: float, after: float, plane: float) -> tuple[float, float]:
    """Reach of a shape after it was said that its box ends at a plane, counted from its own."""
    if np.isnan(before):
        return -plane, np.nan
    if np.isnan(after):
        first, last = sorted((-before, plane))
    elif abs(plane + before) <= abs(plane - after):
        first, last = plane, after
    else:
        first, last = -before, plane
    return -first, last

"""The three label layers over an image layer: how they are made, where they lie, their colours. No Qt."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.regions import Region
from napari_weakseg.widgets.axes import label_axes, layer_axes

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer

KEY = "napari-weakseg"  # in a layer's metadata: this layer is ours


class Role(StrEnum):
    """What a label layer shows."""

    ANNOTATION = "annotation"
    GROWN = "grown"
    PREDICTION = "prediction"


_OPACITY = {Role.PREDICTION: 0.4, Role.GROWN: 0.9, Role.ANNOTATION: 0.75}
_CONTOUR_PX = 2
_CONTOUR_LIMIT_PX = 2_000_000  # outlines are computed anew with every refresh: 0.1 s for four million pixels


@dataclass(frozen=True, slots=True)
class Placement:
    """Where label layers lie: the image's own geometry without its channels.

    Attributes
    ----------
    shape : tuple of int
        Shape of the layers' data; a channel axis between other axes is kept with length one.
    channel_axis : int or None
        Index of that axis.
    settings : dict
        Scale, translate, rotate, shear, affine, units and axis labels for napari.
    """

    shape: tuple[int, ...]
    channel_axis: int | None
    settings: dict[str, Any]

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape without the kept channel axis."""
        return tuple(size for axis, size in enumerate(self.shape) if axis != self.channel_axis)

    def labels(self, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """View a layer's data along the label axes."""
        return data if self.channel_axis is None else data.squeeze(self.channel_axis)

    def without_channel(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Drop the kept channel axis from coordinates, one value for each axis of the layer."""
        return tuple(value for axis, value in enumerate(values) if axis != self.channel_axis)

    def indices(self, coordinates: Sequence[NDArray[np.intp]]) -> tuple[NDArray[np.intp], ...]:
        """Fancy index into a layer's data from one along the label axes."""
        index = list(coordinates)
        if self.channel_axis is not None:
            index.insert(self.channel_axis, np.zeros_like(coordinates[0]))
        return tuple(index)


def pixels_of(layer: "Image") -> Any:
    """Full-resolution data of an image layer."""
    return layer.data[0] if layer.multiscale else layer.data


def placement(layer: "Image", axes: str) -> Placement:
    """Work out where the label layers of an image layer with these axes lie."""
    kept = layer_axes(axes, rgb=layer.rgb)
    own = axes[:-1] if layer.rgb else axes
    first = len(own) - len(kept)  # a channel axis in front is left out
    sizes = dict(zip(axes, pixels_of(layer).shape, strict=True))
    scale, translate = np.array(layer.scale)[first:], np.array(layer.translate)[first:]
    channel_axis = kept.index("C") if "C" in kept else None
    if channel_axis is not None:  # one pixel that reaches over all channels
        n = sizes["C"]
        translate[channel_axis] += scale[channel_axis] * (n - 1) / 2
        scale[channel_axis] *= n
    settings = {
        "scale": tuple(scale),
        "translate": tuple(translate),
        "units": tuple(layer.units)[first:],
        "axis_labels": tuple(layer.axis_labels)[first:],
        "rotate": np.asarray(layer.rotate)[first:, first:],
        "affine": _tail(np.asarray(layer.affine.affine_matrix), first),
    }
    if not first:
        settings["shear"] = np.asarray(layer.shear)
    shape = tuple(1 if axis == "C" else int(sizes[axis]) for axis in kept)
    return Placement(shape, channel_axis, settings)


def make_layer(role: Role, data: NDArray[np.uint8], place: Placement, *, image: str, name: str) -> "Labels":
    """Make one of the label layers; everything but the annotation is read-only for the brush."""
    from napari.layers import Labels

    metadata = {KEY: {"role": str(role), "image": image}}
    layer = Labels(data, name=name, metadata=metadata, opacity=_OPACITY[role], **place.settings)
    outline(layer, role, place)
    if role is Role.ANNOTATION:
        layer.brush_size = _brush_size(place.label_shape)
    else:
        layer.editable = False
    return layer


def outline(layer: "Labels", role: Role, place: Placement, *, flat: bool = True) -> None:
    """Show grown regions as outlines, or filled where outlines cost too much or are not drawn (in 3-D)."""
    outlined = flat and math.prod(place.label_shape[-2:]) <= _CONTOUR_LIMIT_PX
    if role is Role.GROWN:
        layer.contour = _CONTOUR_PX if outlined else 0
        layer.opacity = _OPACITY[Role.GROWN if outlined else Role.PREDICTION]


def match(layer: "Layer", place: Placement) -> None:
    """Lay a layer over its image again after the image was moved or rescaled."""
    for name, value in place.settings.items():
        if name != "shear" and not _same(getattr(layer, name), value):
            setattr(layer, name, value)
    if "shear" in place.settings and not _same(layer.shear, place.settings["shear"]):
        layer.shear = place.settings["shear"]


def paint_colors(layer: "Labels", colors: Sequence[str], role: Role) -> None:
    """Give a layer the colours of the class table.

    Background is transparent in what the machine shows and a neutral grey where a person painted it.
    """
    from napari.utils.colormaps import DirectLabelColormap

    table: defaultdict[int | None, str] = defaultdict(lambda: "transparent")
    table[0] = "transparent"
    table[None] = "transparent" if role is not Role.ANNOTATION else "#ff00ff"
    for class_id, color in enumerate(colors, start=1):
        hidden = class_id == 1 and role is not Role.ANNOTATION
        table[class_id] = "transparent" if hidden else color
    layer.colormap = DirectLabelColormap(color_dict=table)


def frame_index(step: Sequence[int], axes: str, spatial_ndim: int) -> tuple[int, ...]:
    """Frame on screen: positions of the label axes before the spatial ones.

    Examples
    --------
    >>> frame_index((4, 7, 0, 0), "TZYX", 2), frame_index((4, 7, 0, 0), "TZYX", 3)
    ((4, 7), (4,))
    """
    letters = label_axes(axes)
    return tuple(int(i) for i in step[: len(letters) - spatial_ndim])


def block_index(frame: Sequence[int], start: Sequence[int], shape: Sequence[int]) -> tuple[int | slice, ...]:
    """Where a tile of a frame lies along the label axes."""
    return (*frame, *(slice(a, a + n) for a, n in zip(start, shape, strict=True)))


def bounding_box(changed: NDArray[np.bool_]) -> Region | None:
    """Smallest region that holds every True, or None.

    Examples
    --------
    >>> bounding_box(np.array([[False, False], [True, False]]))
    (slice(1, 2, None), slice(0, 1, None))
    """
    box = []
    for axis in range(changed.ndim):
        others = tuple(a for a in range(changed.ndim) if a != axis)
        places = np.flatnonzero(changed.any(others))
        if places.size == 0:
            return None
        box.append(slice(int(places[0]), int(places[-1]) + 1))
    return tuple(box)


def _tail(matrix: NDArray[np.float64], first: int) -> NDArray[np.float64]:
    """Affine matrix without its first axes."""
    return matrix[first:, first:]


def _brush_size(shape: Sequence[int]) -> int:
    return int(np.clip(min(shape[-2:]) // 60, 3, 20))


def _same(old: Any, new: Any) -> bool:
    if hasattr(old, "affine_matrix"):
        old = old.affine_matrix
    try:
        return bool(np.array_equal(np.asarray(old, float), np.asarray(new, float)))
    except (TypeError, ValueError):
        return tuple(old) == tuple(new)

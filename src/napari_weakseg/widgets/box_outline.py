"""A box as a rectangle in one plane of a layer, and back. Neither napari nor Qt."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.annotations import Box
from napari_weakseg.widgets.overlay import Placement

_EXACT = 1e-3  # pixels: vertices are stored with rounding errors


@dataclass(frozen=True, slots=True)
class Outlines:
    """How the boxes of an image lie in a layer.

    Attributes
    ----------
    place : Placement
    spatial_ndim : int
        2 or 3; in 3-D a box reaches through planes before and after the one of its rectangle.
    """

    place: Placement
    spatial_ndim: int

    @property
    def frame_axes(self) -> int:
        """Number of label axes before the spatial ones."""
        return len(self.place.label_shape) - self.spatial_ndim

    @property
    def depth(self) -> int | None:
        """Axis of the layer along which boxes reach through planes; None where one plane is all there is."""
        axes = self.place.without_channel(range(len(self.place.shape)))
        return int(axes[self.frame_axes]) if self.spatial_ndim == 3 else None

    def fits(self, box: Box) -> bool:
        """Whether a box lies in one frame, so that a rectangle can stand for it."""
        frames = zip(box.start[: self.frame_axes], box.stop[: self.frame_axes], strict=True)
        return all(b - a == 1 for a, b in frames)

    def corners(self, box: Box) -> NDArray[np.float64]:
        """Vertices of a rectangle around the pixels of a box, in its first plane; (4, ndim of the layer)."""
        (y0, x0), (y1, x1) = np.array(box.start[-2:]) - 0.5, np.array(box.stop[-2:]) - 0.5
        corners = [[*map(float, box.start[:-2]), y, x] for y, x in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))]
        if self.place.channel_axis is not None:
            for corner in corners:
                corner.insert(self.place.channel_axis, 0.0)
        return np.array(corners)

    def box(self, class_id: int, vertices: NDArray[np.float64], before: int = 0, after: int = 0) -> Box | None:
        """Every pixel that a shape touches, with as many planes before and after its own, cut at the border.

        None for what lies outside the image or through several planes, or has no area.
        """
        points = np.asarray(vertices, float)
        points = np.stack(self.place.without_channel(list(points.T)), 1)
        extent = np.ptp(points, axis=0)
        if (extent[:-2] >= 0.5).any() or (extent[-2:] <= 0.5).any():
            return None
        start = np.floor(points.min(0) + 0.5 + _EXACT).astype(int)
        stop = np.ceil(points.max(0) + 0.5 - _EXACT).astype(int)
        start[:-2] = np.round(points[0, :-2])
        stop[:-2] = start[:-2] + 1
        if self.depth is not None:
            start[self.frame_axes] -= before
            stop[self.frame_axes] += after
        start, stop = np.maximum(start, 0), np.minimum(stop, self.place.label_shape)
        return Box(int(class_id), tuple(start.tolist()), tuple(stop.tolist())) if (start < stop).all() else None

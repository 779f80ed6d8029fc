"""Pixels as the window shows them and as a project reads them: the same image, with its axes in another order."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.widgets.overlay import pixels_of

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_weakseg.core.images import ImageSource
    from napari_weakseg.core.project_image import ProjectImage

__all__ = ["SourcePixels", "image_axes", "shown_axes", "shows"]


def shown_axes(source: "ImageSource") -> str:
    """Axes of `SourcePixels`."""
    return "C" * (source.n_channels > 1 and not source.is_rgb) + source.label_axes + "C" * source.is_rgb


class SourcePixels:
    """Pixels of a project's image as napari shows them: channels first, RGB last; read when looked at.

    They can be read after the project was closed, too.
    """

    def __init__(self, image: "ProjectImage") -> None:
        from napari_weakseg.core.images import ImageSource

        self._source = ImageSource.open(image.path, image.axes, image.name)
        self._source.n_channels = image.n_channels
        self._letters = image.axes
        self.rgb = self._source.is_rgb
        n = self._source.n_channels
        channels = (n,) if n > 1 and not self.rgb else ()
        self.shape = (*channels, *self._source.label_shape, *((n,) if self.rgb else ()))
        self.axes = shown_axes(self._source)
        self.dtype = self._source.dtype
        self.ndim = len(self.shape)

    @property
    def path(self) -> Path:
        """Where they are read."""
        assert self._source.path is not None
        return self._source.path.resolve()

    def move(self, path: Path, *, copied: bool = False) -> None:
        """Read them elsewhere; `copied` from what is shown, and not from the file."""
        from napari_weakseg.core.images import ImageSource

        if copied:
            self._letters = self.axes[:-1] + "S" if self.rgb else self.axes
        source = ImageSource.open(path, self._letters, self._source.name)
        source.n_channels = self._source.n_channels
        self._source = source

    def __getitem__(self, index: Any) -> NDArray[Any]:
        given = index if isinstance(index, tuple) else (index,)
        if Ellipsis in given:
            at = given.index(Ellipsis)
            given = (*given[:at], *[slice(None)] * (self.ndim - len(given) + 1), *given[at + 1 :])
        full = (*given, *[slice(None)] * (self.ndim - len(given)))
        first = 1 if len(self.shape) > len(self._source.label_shape) and not self.rgb else 0
        space = full[first : first + len(self._source.label_shape)]
        region: list[slice] = []
        local: list[slice | int] = []
        for part, size in zip(space, self._source.label_shape, strict=True):
            if isinstance(part, slice):
                start, stop, step = part.indices(size)
                region.append(slice(start, max(start, stop)))
                local.append(slice(None, None, step))
            else:
                place = int(part) % size
                region.append(slice(place, place + 1))
                local.append(0)
        block = self._source.read(tuple(region))
        channel = full[-1] if self.rgb else full[0] if first else 0
        found = np.moveaxis(block, 0, -1)[(*local, channel)] if self.rgb else block[(channel, *local)]
        return np.asarray(found).astype(self.dtype, copy=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[(slice(None),) * self.ndim], dtype)


def image_axes(layer: "Image", axes: str) -> str:
    """Axes of a layer with S for its colours."""
    return axes[:-1] + "S" if layer.rgb else axes


def shows(layer: "Image", axes: str, source: "ImageSource") -> bool:
    """Tell whether a layer with these axes shows the pixels of an image; of large ones a sample is compared."""
    from napari_weakseg.core.images import ImageSource

    pixels = pixels_of(layer)
    if len(axes) != pixels.ndim:
        return False
    return source.same_pixels(ImageSource.open(pixels, image_axes(layer, axes), layer.name))

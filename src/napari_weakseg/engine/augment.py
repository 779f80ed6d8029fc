"""Geometric augmentation of image and knowledge together, on the device that holds them.

Drawing parameters (`sample_geometry`) is separate from using them (`apply_geometry`), so one draw serves the
image, every annotation field and the teacher. Parameters live on the host, so nothing waits for the device.
Turns and flips move pixels and are exactly invertible; rotation and scale resample once, bilinearly for the
image and soft fields, by nearest pixel for integer and boolean ones, so that class sets and object ids are
never mixed. Rotation, scale and turns act in the ``(Y, X)`` plane (planes of a volume are often farther
apart than its pixels); flips act on every axis.

Symbols: N batch, C channels, ``*S`` = ``(Y, X)`` or ``(Z, Y, X)``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "Geometry",
    "Orientation",
    "View",
    "apply_geometry",
    "sample_geometry",
    "views",
]

Orientation = Literal["any", "fixed"]


@dataclass(frozen=True, slots=True)
class View:
    """Quarter turns in the ``(Y, X)`` plane, then flips.

    Parameters
    ----------
    turns : int
        Quarter turns from Y towards X, as in `torch.rot90` over the last two axes.
    flips : tuple of int
        Flipped axes, counted from the back: -1 is X.
    """

    turns: int = 0
    flips: tuple[int, ...] = ()

    def apply(self, x: Tensor) -> Tensor:
        """Turn and flip the last axes of a tensor, (..., *S)."""
        return x.rot90(self.turns, (-2, -1)).flip(self.flips)

    def undo(self, x: Tensor) -> Tensor:
        """Invert `apply` exactly."""
        return x.flip(self.flips).rot90(-self.turns, (-2, -1))

    def box(
        self, start: Sequence[int], stop: Sequence[int], shape: Sequence[int]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Move a half-open box of pixels along with an array of this shape (all over ``*S``)."""
        lo, hi, size = list(start), list(stop), list(shape)
        for _ in range(self.turns % 4):  # rot90: new Y = X extent - 1 - X, new X = Y
            lo[-2:], hi[-2:] = [size[-1] - hi[-1], lo[-2]], [size[-1] - lo[-1], hi[-2]]
            size[-2:] = [size[-1], size[-2]]
        for axis in self.flips:
            lo[axis], hi[axis] = size[axis] - hi[axis], size[axis] - lo[axis]
        return tuple(lo), tuple(hi)


@dataclass(frozen=True, slots=True)
class Geometry:
    """One geometric augmentation of a batch.

    Parameters
    ----------
    views : tuple of View
        One per sample.
    affine : float32 Tensor, (N, 2, 2), optional
        Maps offsets from the middle of the output plane to offsets in the input plane, in pixels, ``(Y, X)``
        order. None for a batch that is only turned and flipped.
    """

    views: tuple[View, ...]
    affine: Tensor | None = None


def views(ndim: int, orientation: Orientation = "any", *, square: bool = True) -> tuple[View, ...]:
    """List distinct views of an image for averaging predictions; the first is the image as it is.

    Parameters
    ----------
    ndim : int
        2 or 3 spatial axes.
    orientation : {"any", "fixed"}
        With "fixed" only the image itself.
    square : bool
        Whether ``(Y, X)`` is square; if not, only half turns.

    Returns
    -------
    tuple of View
        4 quarter turns, each with and without a mirror in X; in 3-D every other one also upside down.
    """
    if orientation == "fixed":
        return (View(),)
    plane = [View(k, f) for k in range(0, 4, 1 if square else 2) for f in ((), (-1,))]
    if ndim == 2:
        return tuple(plane)
    return tuple(View(v.turns, (*v.flips, -3)) if i % 2 else v for i, v in enumerate(plane))


def sample_geometry(
    n: int,
    shape: Sequence[int],
    *,
    orientation: Orientation,
    generator: torch.Generator,
    resampled_share: float = 0.3,
    max_angle_deg: float = 20.0,
    zoom: float = 1.25,
) -> Geometry:
    """Draw turns, flips and now and then a rotation and scale for a batch.

    Parameters
    ----------
    n : int
        Samples in the batch.
    shape : sequence of int
        ``*S`` of the patches; quarter turns are drawn only where ``(Y, X)`` is square.
    orientation : {"any", "fixed"}
        "fixed" draws no turn and no flip: something in the image has an up and a down.
    generator : torch.Generator
        On the host.
    resampled_share : float
        Of the *batches*: the samples of these are rotated and scaled, each in its own way.
    max_angle_deg, zoom : float
        Rotation is uniform in ± `max_angle_deg`, scale log-uniform in ``[1 / zoom, zoom]``.

    Returns
    -------
    Geometry
    """
    ndim = len(shape)
    drawn = torch.randint(0, 2, (n, ndim + 2), generator=generator).tolist()
    angle, log_scale = (2 * torch.rand(2, n, generator=generator) - 1).unbind()
    resample = torch.rand((), generator=generator).item() < resampled_share
    each = [View() for _ in range(n)]
    if orientation == "any":
        quarter = 1 if shape[-1] == shape[-2] else 0
        each = [View(2 * row[0] + quarter * row[1], tuple(-1 - a for a in range(ndim) if row[2 + a])) for row in drawn]
    affine = None
    if resample:
        angle = angle * math.radians(max_angle_deg)
        scale = torch.exp(-log_scale * math.log(zoom))
        cos, sin = scale * angle.cos(), scale * angle.sin()
        affine = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    return Geometry(tuple(each), affine)


def apply_geometry(
    image: Tensor,
    fields: Mapping[str, Tensor],
    geometry: Geometry,
    *,
    outside: Mapping[str, float] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Move image and fields alike.

    Parameters
    ----------
    image : float Tensor, (N, C, *S)
        Mirrored where the resampled patch reaches over its border.
    fields : mapping of str to Tensor, (N, *S) or (N, k, *S)
        Floating ones are interpolated, integer and boolean ones keep their values.
    geometry : Geometry
        With N views.
    outside : mapping of str to number, optional
        Value of a field beyond the border, 0 (or False) if not given: "allowed" needs the set of all classes.

    Returns
    -------
    image : float Tensor, (N, C, *S)
    fields : dict of str to Tensor
        Shapes and types as given.
    """
    image = _turned(image, geometry.views)
    moved = {name: _turned(x, geometry.views) for name, x in fields.items()}
    if geometry.affine is None:
        return image, moved
    y, x = _source_pixels(geometry.affine, image)
    height, width = image.shape[-2:]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    row, column = y.round().long(), x.round().long()
    inside = ((row >= 0) & (row < height) & (column >= 0) & (column < width)).flatten(1)
    index = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1)
    for name, field in moved.items():
        fill = 0 if outside is None else outside.get(name, 0)
        if field.is_floating_point():
            moved[name] = _interpolated(field - fill, grid, "zeros") + fill
        else:
            moved[name] = _gathered(field, index, inside, fill)
    return _interpolated(image, grid, "reflection"), moved


def _turned(x: Tensor, each: Sequence[View]) -> Tensor:
    if all(view == View() for view in each):
        return x
    return torch.stack([view.apply(sample) for view, sample in zip(each, x.unbind(), strict=True)])


def _source_pixels(affine: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column in the input plane of every output pixel, each (N, Y, X)."""
    affine = affine.to(image.device, non_blocking=True)[..., None, None]
    middle = [(size - 1) / 2 for size in image.shape[-2:]]
    dy = torch.arange(image.shape[-2], device=image.device).view(-1, 1) - middle[0]
    dx = torch.arange(image.shape[-1], device=image.device).view(1, -1) - middle[1]
    y = affine[:, 0, 0] * dy + affine[:, 0, 1] * dx + middle[0]
    x = affine[:, 1, 0] * dy + affine[:, 1, 1] * dx + middle[1]
    return y, x


def _interpolated(x: Tensor, grid: Tensor, padding: str) -> Tensor:
    """Resample the planes of (N, ..., Y, X) bilinearly."""
    planes = x.reshape(len(x), -1, *x.shape[-2:])
    return F.grid_sample(planes, grid.to(x.dtype), padding_mode=padding, align_corners=False).view(x.shape)


def _gathered(x: Tensor, index: Tensor, inside: Tensor, fill: float) -> Tensor:
    """Take the nearest pixel in the planes of (N, ..., Y, X)."""
    planes = x.reshape(len(x), -1, index.shape[1])
    taken = planes.gather(2, index.unsqueeze(1).expand_as(planes))
    return taken.masked_fill(~inside.unsqueeze(1), fill).view(x.shape)

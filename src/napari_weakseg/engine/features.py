"""A fixed bank of multi-scale filters: what a pixel classifier sees, computed on the device.

A network knows nothing in its first seconds; smoothed intensities, edges and ridges at several scales are worth
a lot then. They feed the early pixel forest (`forest`).
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SCALES_PX", "FilterBank"]

#: Standard deviations of the Gaussians, in pixels.
SCALES_PX = (1.0, 2.0, 4.0, 8.0, 16.0)
_MAX_CHANNELS = 4  # of more channels only the mean is filtered
_WINDOW = 1.5  # of the structure tensor, in scales
_WIDEST_PX = 1.5  # a broader Gaussian works on a smaller image


class FilterBank(nn.Module):
    """Filter responses of every channel at every scale; nothing in it learns.

    At each scale: the smoothed image, its gradient magnitude, the eigenvalues of its Hessian, and the square roots of
    those of its structure tensor (smoothed by 1.5 times the scale), in descending order. Derivatives are multiplied by
    the scale (once per order), so that a structure answers alike at its own scale whatever its size.

    Parameters
    ----------
    ndim : int
        2 or 3 spatial axes.
    channels : int
        C of the images; with more than 4, the mean over the channels is filtered.
    scales_px : tuple of float
        Standard deviations of the Gaussians.
    """

    def __init__(self, ndim: int, channels: int, scales_px: tuple[float, ...] = SCALES_PX) -> None:
        super().__init__()
        self.ndim = ndim
        self.filtered = channels if channels <= _MAX_CHANNELS else 1
        self.scales_px = scales_px

    @property
    def n_features(self) -> int:
        """Channels of the result."""
        return self.filtered * self.per_scale * len(self.scales_px)

    @property
    def per_scale(self) -> int:
        """Responses of one channel at one scale."""
        return 2 + 2 * self.ndim

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Filter a batch.

        Parameters
        ----------
        image : float Tensor, (N, C, *S)

        Returns
        -------
        float Tensor, (N, n_features, *S)
        """
        planes, shape = self._planes(image), image.shape[2:]
        responses = [_enlarged(*self._at_scale(planes, sigma), shape) for sigma in self.scales_px]
        return torch.cat(responses, 1).view(len(image), self.n_features, *shape)

    @torch.no_grad()
    def at(self, image: Tensor, places: Tensor) -> Tensor:
        """Filter one image and give the responses at some of its pixels only, for much less work.

        Parameters
        ----------
        image : float Tensor, (C, *S)
        places : int Tensor, (n, ndim)

        Returns
        -------
        float Tensor, (n, n_features)
        """
        planes = self._planes(image[None])
        found = [_sampled(*self._at_scale(planes, sigma), places) for sigma in self.scales_px]
        return torch.cat(found, 1).flatten(0, 1).T

    def _planes(self, image: Tensor) -> Tensor:
        """Each channel by itself, (M, 1, *S)."""
        if image.shape[1] != self.filtered:
            image = image.mean(1, keepdim=True)
        return image.reshape(-1, 1, *image.shape[2:])

    def _at_scale(self, x: Tensor, sigma: float) -> tuple[Tensor, int]:
        """Responses at one scale, (M, per_scale, *S / step), and how much smaller they are."""
        shape = x.shape[2:]
        step = 1
        while sigma / step > _WIDEST_PX and all(size >= 4 * step for size in shape):
            step *= 2
        if step > 1:
            pool = F.avg_pool2d if self.ndim == 2 else F.avg_pool3d
            x = pool(x, step, ceil_mode=True, count_include_pad=False)
        return self._derivatives(smoothed(x, sigma / step), sigma / step), step

    def _derivatives(self, smooth: Tensor, sigma: float) -> Tensor:
        axes = list(range(2, 2 + self.ndim))
        pairs = [(i, j) for i in range(self.ndim) for j in range(i, self.ndim)]
        first = [_difference(smooth, axis) for axis in axes]
        products = {(i, j): first[i] * first[j] for i, j in pairs}
        gradient = torch.stack([products[i, i] for i in range(self.ndim)]).sum(0).sqrt()
        hessian = {
            (i, j): _second_difference(smooth, axes[i]) if i == j else _difference(first[i], axes[j]) for i, j in pairs
        }
        structure = {pair: smoothed(product, _WINDOW * sigma) for pair, product in products.items()}
        eigenvalues = _eigenvalues_2d if self.ndim == 2 else _eigenvalues_3d
        found = [sigma**2 * c for c in eigenvalues(hessian)]
        found += [sigma * e.clamp_min(0).sqrt() for e in eigenvalues(structure)]
        return torch.cat([smooth, sigma * gradient, *found], 1)


def smoothed(x: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing, (N, C, *S), as sums of shifted images: convolutions of one channel are slow on processors."""
    radius = max(1, math.ceil(2.5 * sigma))
    weights = [math.exp(-0.5 * (at / sigma) ** 2) for at in range(radius + 1)]
    total = 2 * sum(weights) - weights[0]
    for axis in range(2, x.ndim):
        n = x.shape[axis]
        margin = [radius * (a == axis) for a in range(x.ndim - 1, 1, -1) for _ in "<>"]
        wide = F.pad(x, margin, mode="replicate")
        x = wide.narrow(axis, radius, n) * (weights[0] / total)
        for at, weight in enumerate(weights[1:], 1):
            for start in (radius - at, radius + at):
                x.add_(wide.narrow(axis, start, n), alpha=weight / total)
    return x


def _enlarged(found: Tensor, step: int, shape: Sequence[int]) -> Tensor:
    """Bring responses back to the size of the image, (M, R, *S)."""
    if step > 1:
        mode = "bilinear" if len(shape) == 2 else "trilinear"
        scaled = [size * step for size in found.shape[2:]]
        found = F.interpolate(found, size=scaled, mode=mode, align_corners=False)
        found = found[(slice(None), slice(None), *(slice(0, size) for size in shape))]
    return found


def _sampled(found: Tensor, step: int, places: Tensor) -> Tensor:
    """Responses at some pixels of the image, (M, R, n); what `_enlarged` has there."""
    if step == 1:
        return found[(slice(None), slice(None), *places.T)]
    sizes = torch.tensor(found.shape[2:], device=places.device) * step
    at = (2 * (places + 0.5) / sizes - 1).flip(1).to(found.dtype)  # last axis first
    grid = at.view(1, *[1] * (places.shape[1] - 1), -1, places.shape[1]).expand(
        len(found), *[-1] * (places.shape[1] + 1)
    )
    sampled = F.grid_sample(found, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.flatten(2)


def _eigenvalues_2d(h: Mapping[tuple[int, int], Tensor]) -> list[Tensor]:
    """Eigenvalues of symmetric 2 × 2 matrices, given by their upper triangle, the largest first."""
    mean = (h[0, 0] + h[1, 1]) / 2
    half = (((h[0, 0] - h[1, 1]) / 2).square() + h[0, 1].square()).sqrt()
    return [mean + half, mean - half]


def _eigenvalues_3d(h: Mapping[tuple[int, int], Tensor]) -> list[Tensor]:
    """Eigenvalues of symmetric 3 × 3 matrices, given by their upper triangle, the largest first.

    The trigonometric solution of the characteristic polynomial [1]_.

    References
    ----------
    .. [1] O. K. Smith, "Eigenvalues of a symmetric 3 × 3 matrix", Communications of the ACM 4(4), 1961.
    """
    mean = (h[0, 0] + h[1, 1] + h[2, 2]) / 3
    a, b, c = h[0, 0] - mean, h[1, 1] - mean, h[2, 2] - mean
    d, e, f = h[0, 1], h[0, 2], h[1, 2]
    spread = ((a * a + b * b + c * c + 2 * (d * d + e * e + f * f)) / 6).sqrt()
    determinant = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)
    angle = (determinant / (2 * spread**3).clamp_min(torch.finfo(spread.dtype).tiny)).clamp(-1, 1).acos() / 3
    largest = mean + 2 * spread * angle.cos()
    smallest = mean + 2 * spread * (angle + 2 * math.pi / 3).cos()
    return [largest, 3 * mean - largest - smallest, smallest]


def _difference(x: Tensor, axis: int) -> Tensor:
    """Central difference; one-sided, and half of that, at the border."""
    found = torch.zeros_like(x)
    n = x.shape[axis]
    if n > 1:
        step = x.narrow(axis, 1, n - 1) - x.narrow(axis, 0, n - 1)
        found.narrow(axis, 0, n - 1).add_(step, alpha=0.5)
        found.narrow(axis, 1, n - 1).add_(step, alpha=0.5)
    return found


def _second_difference(x: Tensor, axis: int) -> Tensor:
    """Second difference; no slope beyond the border."""
    found = torch.zeros_like(x)
    n = x.shape[axis]
    if n > 1:
        step = x.narrow(axis, 1, n - 1) - x.narrow(axis, 0, n - 1)
        found.narrow(axis, 0, n - 1).add_(step)
        found.narrow(axis, 1, n - 1).sub_(step)
    return found

"""A fixed bank of multi-scale filters: what a pixel classifier sees, computed as convolutions on the device.

A network knows nothing in its first seconds; smoothed intensities, edges and ridges at several scales are worth
a lot then. They feed the early pixel forest (`forest`).
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SCALES_PX", "FilterBank"]

#: Standard deviations of the Gaussians, in pixels.
SCALES_PX = (1.0, 2.0, 4.0, 8.0, 16.0)
_MAX_CHANNELS = 4  # of more channels only the mean is filtered
_WIDEST_PX = 2.0  # a broader Gaussian works on a smaller image


class FilterBank(nn.Module):
    """Filter responses of every channel at every scale; nothing in it learns.

    At each scale: the smoothed image, its gradient magnitude and the eigenvalues of its Hessian, in descending order.
    Derivatives are multiplied by the scale (once per order), so that a structure answers alike at its own scale
    whatever its size.

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
        return 2 + self.ndim

    @property
    def margin_px(self) -> int:
        """How far a response looks."""
        return math.ceil(3 * max(self.scales_px))

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
        if image.shape[1] != self.filtered:
            image = image.mean(1, keepdim=True)
        planes = image.reshape(-1, 1, *image.shape[2:])
        responses = [self._at_scale(planes, sigma) for sigma in self.scales_px]
        joined = torch.cat(responses, 1)
        return joined.view(len(image), self.n_features, *image.shape[2:])

    def _at_scale(self, x: Tensor, sigma: float) -> Tensor:
        """Responses at one scale, (M, per_scale, *S)."""
        shape = x.shape[2:]
        step = 1
        while sigma / step > _WIDEST_PX and all(size >= 4 * step for size in shape):
            step *= 2
        if step > 1:
            pool = F.avg_pool2d if self.ndim == 2 else F.avg_pool3d
            x = pool(x, step, ceil_mode=True, count_include_pad=False)
        smooth = self._smoothed(x, sigma / step)
        found = self._derivatives(smooth, sigma / step)
        if step > 1:
            mode = "bilinear" if self.ndim == 2 else "trilinear"
            scaled = [size * step for size in found.shape[2:]]
            found = F.interpolate(found, size=scaled, mode=mode, align_corners=False)
            found = found[(slice(None), slice(None), *(slice(0, size) for size in shape))]
        return found

    def _smoothed(self, x: Tensor, sigma: float) -> Tensor:
        radius = max(1, math.ceil(2.5 * sigma))
        at = torch.arange(-radius, radius + 1, device=x.device, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (at / sigma) ** 2)
        kernel = (kernel / kernel.sum()).to(x.dtype)
        conv = F.conv2d if self.ndim == 2 else F.conv3d
        x = F.pad(x, [radius] * (2 * self.ndim), mode="replicate")
        for axis in range(self.ndim):
            shape = [1, 1, *(2 * radius + 1 if a == axis else 1 for a in range(self.ndim))]
            x = conv(x, kernel.view(shape))
        return x

    def _derivatives(self, smooth: Tensor, sigma: float) -> Tensor:
        axes = list(range(2, 2 + self.ndim))
        first = [_difference(smooth, axis) for axis in axes]
        gradient = torch.stack([d.square() for d in first]).sum(0).sqrt()
        hessian = {
            (i, j): _second_difference(smooth, axes[i]) if i == j else _difference(first[i], axes[j])
            for i in range(self.ndim)
            for j in range(i, self.ndim)
        }
        curvatures = _eigenvalues_2d(hessian) if self.ndim == 2 else _eigenvalues_3d(hessian)
        return torch.cat([smooth, sigma * gradient, *(sigma**2 * c for c in curvatures)], 1)


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
    """Central difference; one-sided at the border."""
    if x.shape[axis] < 2:
        return torch.zeros_like(x)
    ahead = torch.cat([x.narrow(axis, 1, x.shape[axis] - 1), x.narrow(axis, x.shape[axis] - 1, 1)], axis)
    behind = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, x.shape[axis] - 1)], axis)
    return (ahead - behind) / 2


def _second_difference(x: Tensor, axis: int) -> Tensor:
    """Second difference; 0 curvature beyond the border."""
    if x.shape[axis] < 2:
        return torch.zeros_like(x)
    ahead = torch.cat([x.narrow(axis, 1, x.shape[axis] - 1), x.narrow(axis, x.shape[axis] - 1, 1)], axis)
    behind = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, x.shape[axis] - 1)], axis)
    return ahead - 2 * x + behind

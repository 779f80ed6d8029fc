"""Augmentation of grey values: the strong view that the student learns on.

As in `augment`, drawing parameters is separate from using them and nothing waits for the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Intensity", "apply_intensity", "sample_intensity"]


@dataclass(frozen=True, slots=True)
class Intensity:
    """One augmentation of a batch's grey values; every entry is on the host.

    Parameters
    ----------
    gain, offset, gamma : float32 Tensor, (N, C)
        ``x -> gain * sign(x) |x|^gamma + offset``.
    noise : float32 Tensor, (N, C)
        Standard deviation of additive Gaussian noise.
    blur : tuple of float
        Sigma per sample, in pixels, 0 for none.
    seed : int
        Of the noise.
    """

    gain: Tensor
    offset: Tensor
    gamma: Tensor
    noise: Tensor
    blur: tuple[float, ...]
    seed: int


def sample_intensity(n: int, channels: int, *, generator: torch.Generator, strength: float = 1.0) -> Intensity:
    """Draw gain, offset, gamma, noise and blur for the strong view of a batch.

    Parameters
    ----------
    n, channels : int
        N and C; gain, offset, gamma and noise are drawn per channel, blur per sample.
    generator : torch.Generator
        On the host.
    strength : float
        0 changes nothing. At 1, in units of the image's robust range: gain and gamma in [0.67, 1.5], offset
        ± 0.15, noise up to 0.1 in every second sample, blur of 0.5 to 1.2 px in every fifth.

    Returns
    -------
    Intensity
    """
    u = 2 * torch.rand(3, n, channels, generator=generator) - 1
    level, coin = torch.rand(2, n, channels, generator=generator).unbind()
    sigma = torch.rand(n, generator=generator) * 0.7 + 0.5
    blurred = torch.rand(n, generator=generator) < 0.2
    return Intensity(
        gain=torch.exp(strength * 0.4 * u[0]),
        offset=strength * 0.15 * u[1],
        gamma=torch.exp(strength * 0.4 * u[2]),
        noise=strength * 0.1 * level * (coin[:, :1] < 0.5),
        blur=tuple((strength * sigma * blurred).tolist()),
        seed=int(torch.randint(0, 2**31, (), generator=generator)),
    )


def apply_intensity(image: Tensor, intensity: Intensity) -> Tensor:
    """Change grey values only; pixels stay where they are.

    Parameters
    ----------
    image : float Tensor, (N, C, *S)
        Normalised to about 0 … 1.
    intensity : Intensity

    Returns
    -------
    float Tensor, (N, C, *S)
    """
    ones = [1] * (image.ndim - 2)
    gain, offset, gamma, noise = (
        p.to(image.device, image.dtype, non_blocking=True).view(*p.shape, *ones)
        for p in (intensity.gain, intensity.offset, intensity.gamma, intensity.noise)
    )
    if any(sigma > 0 for sigma in intensity.blur):
        image = _blurred(image, intensity.blur)
    out = image.abs().clamp_min_(1e-6).pow_(gamma).mul_(image.sign()).mul_(gain).add_(offset)
    generator = torch.Generator(image.device).manual_seed(intensity.seed)
    grain = torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)
    return out.addcmul_(grain, noise)


def _blurred(image: Tensor, sigmas: Sequence[float], radius: int = 3) -> Tensor:
    """Blur each sample in its planes with its own sigma."""
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    sigma = torch.tensor(sigmas).clamp_min(1e-3).unsqueeze(1)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(image.device, image.dtype, non_blocking=True)
    planes = image.reshape(len(image), -1, *image.shape[-2:])
    for axis in (-2, -1):
        pad = (radius, radius, 0, 0) if axis == -1 else (0, 0, radius, radius)
        size, padded = planes.shape[axis], F.pad(planes, pad, mode="replicate")
        blurred = torch.zeros_like(planes)
        for i, weight in enumerate(kernel.unbind(1)):
            blurred.addcmul_(padded.narrow(axis, i, size), weight.view(-1, 1, 1, 1))
        planes = blurred
    return planes.view(image.shape)

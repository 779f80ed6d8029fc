"""The network: a compact U-Net, in 2-D and 3-D from the same code.

Most of a U-Net's time goes into its finest level. Here that level is thin: a pixel-wise layer at full resolution,
while the U-Net proper begins at half resolution; both meet again just before the heads.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Outputs", "UNet", "padded_size", "with_classes"]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the network says about a batch, N images of K classes.

    Attributes
    ----------
    logits : Tensor, (N, K, *S)
        Segmentation.
    approximation : Tensor, (N, K + 1, *S)
        Which pixels belong to the current partial masks; channel 0 = to none.
    separation : Tensor, (N, 1, *S)
        Logit of lying between two touching objects.
    features : tuple of Tensor, (N, F_l, *S / 2^l)
        Of every decoder level, coarsest first.
    """

    logits: Tensor
    approximation: Tensor
    separation: Tensor
    features: tuple[Tensor, ...]


class UNet(nn.Module):
    """Compact U-Net with three heads.

    The heads follow Ke et al. [1]_ (one decoder shared by all tasks, segmentation by a residual block on top, the
    separation beside it); their exact layers are ours. Batch normalisation and no other: in evaluation mode it is
    a fixed scaling, so that a pixel's prediction does not depend on the size of the tile it is predicted in.

    Parameters
    ----------
    ndim : int
        2 or 3 spatial axes.
    channels, classes : int
        C of the images and K.
    width : int
        Channels at half resolution; they grow from there.
    depth : int
        Levels below half resolution.

    Notes
    -----
    Sizes of the input must be multiples of `multiple`.

    References
    ----------
    .. [1] R. Ke et al., "Multi-task deep learning for image segmentation using recursive approximation tasks",
       IEEE TIP 2021, arXiv:2005.13053.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, ndim: int, channels: int, classes: int, *, width: int = 32, depth: int = 3) -> None:
        super().__init__()
        conv: Any = nn.Conv2d if ndim == 2 else nn.Conv3d
        transposed: Any = nn.ConvTranspose2d if ndim == 2 else nn.ConvTranspose3d
        norm: Any = nn.BatchNorm2d if ndim == 2 else nn.BatchNorm3d
        self.ndim = ndim
        self.multiple: int = 2 ** (depth + 1)
        fine = max(8, width // 2)
        widths = [width * (2 + level) // 2 for level in range(depth + 1)]
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))
        self.pixel = nn.Sequential(conv(channels, fine, 1, bias=False), norm(fine), nn.SiLU())
        self.shrink = conv(fine, widths[0], 2, stride=2)
        self.down = nn.ModuleList(
            _block(ndim, before, after) for before, after in zip([widths[0], *widths[:-1]], widths, strict=True)
        )
        self.narrow = nn.ModuleList(conv(widths[i + 1], widths[i], 1) for i in reversed(range(depth)))
        self.up = nn.ModuleList(_block(ndim, 2 * widths[i], widths[i]) for i in reversed(range(depth)))
        self.grow = transposed(widths[0], fine, 2, stride=2)
        self.trunk = _block(ndim, 2 * fine, fine, layers=1)
        self.residual = _block(ndim, fine, fine, layers=1)
        self.segment = conv(fine, classes, 1)
        self.approximate = conv(fine, classes + 1, 1)
        self.separate = conv(fine, 1, 1)
        self._layout: Any = torch.channels_last if ndim == 2 else torch.channels_last_3d
        for weights in self.parameters():
            if weights.ndim == ndim + 2:  # convolutions are much faster so, on processors as on cards
                weights.data = weights.data.contiguous(memory_format=self._layout)

    @property
    def halo_px(self) -> int:
        """Margin of a tile within which predictions lack context."""
        return 4 * self.multiple

    def forward(self, image: Tensor) -> Outputs:
        """Say everything about a batch, (N, C, *S)."""
        trunk, levels = self._decoded(image)
        fine = trunk + self.residual(trunk)
        return Outputs(self.segment(fine), self.approximate(trunk), self.separate(fine), (*levels, fine))

    @torch.no_grad()
    def standardise(self, images: Sequence[Tensor]) -> None:
        """Fix the scale of the input channels from some images, each (C, *S).

        Once, before training: were it taken from every batch anew, brightness would lose its meaning.
        """
        values = torch.cat([image.flatten(1) for image in images], 1)
        self.centre.copy_(values.mean(1))
        self.spread.copy_(values.std(1).clamp_min(1e-3))

    def _decoded(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        centre, spread = (x.view(-1, *[1] * self.ndim) for x in (self.centre, self.spread))
        pixel = self.pixel(((image - centre) / spread).contiguous(memory_format=self._layout))
        pool = F.max_pool2d if self.ndim == 2 else F.max_pool3d
        mode = "bilinear" if self.ndim == 2 else "trilinear"
        x = self.shrink(pixel)
        skips: list[Tensor] = []
        for i, level in enumerate(self.down):
            x = level(pool(x, 2) if i else x)
            skips.append(x)
        skips.pop()
        levels = [x]
        for narrow, level in zip(self.narrow, self.up, strict=True):
            x = F.interpolate(narrow(x), scale_factor=2.0, mode=mode, align_corners=False)
            x = level(torch.cat([x, skips.pop()], 1))
            levels.append(x)
        return self.trunk(torch.cat([self.grow(x), pixel], 1)), levels


def _block(ndim: int, before: int, after: int, *, layers: int = 2) -> nn.Sequential:
    """Convolutions of width 3, each normalised and activated."""
    conv: Any = nn.Conv2d if ndim == 2 else nn.Conv3d
    norm: Any = nn.BatchNorm2d if ndim == 2 else nn.BatchNorm3d
    parts: list[nn.Module] = []
    for width in [before, *[after] * (layers - 1)]:
        parts += [conv(width, after, 3, padding=1, bias=False), norm(after), nn.SiLU()]
    return nn.Sequential(*parts)


def with_classes(network: UNet, classes: int) -> UNet:
    """Copy a network for more or fewer classes; what it knows of the classes that stay is kept."""
    result = copy.deepcopy(network)
    for name in ("segment", "approximate"):
        head = getattr(result, name)
        rows = classes + (name == "approximate")
        new = type(head)(head.in_channels, rows, 1).to(head.weight.device)
        n = min(rows, head.out_channels)
        with torch.no_grad():
            new.weight[:n], new.bias[:n] = head.weight[:n], head.bias[:n]
        setattr(result, name, new)
    return result


def padded_size(shape: Sequence[int], multiple: int) -> tuple[int, ...]:
    """Round sizes up to what the network takes."""
    return tuple(-(-size // multiple) * multiple for size in shape)

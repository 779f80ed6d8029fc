"""The network: a compact U-Net, in 2-D and 3-D from the same code.

Most of a U-Net's time goes into its finest level. Here that level is thin: a pixel-wise layer at full resolution,
while the U-Net proper begins at half resolution; both meet again just before the heads.
"""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Head", "Outputs", "UNet", "padded_size", "with_classes"]

Head = Literal["inwardness", "levels", "tags", "decoder", "network"]


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
        Of every decoder level, coarsest first; the last is what the segmentation is read from.
    levels : tuple of Tensor, (N, K, *S / 2^l)
        Multi-label logits of every decoder level, coarsest first; empty without the head "levels".
    class_maps : Tensor, (N, K, *S / 2^L), or None
        Class activation maps at the coarsest level; None without the head "tags".
    second : Tensor, (N, K, *S), or None
        Second opinion; None without the head "decoder" or "network".
    inwardness : Tensor, (N, 1, *S), or None
        Logit of how far inside its object a pixel lies; None without the head "inwardness".
    """

    logits: Tensor
    approximation: Tensor
    separation: Tensor
    features: tuple[Tensor, ...]
    levels: tuple[Tensor, ...] = ()
    class_maps: Tensor | None = None
    second: Tensor | None = None
    inwardness: Tensor | None = None


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
    heads : collection of {"inwardness", "levels", "tags", "decoder", "network"}
        What is said beside segmentation, approximation and separation: how far inside its object a pixel lies, classes
        in the windows of every decoder level (after Reiß et al., CVPR 2021), classes of the whole patch, and a second
        opinion on the segmentation from a decoder or a network of its own.

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

    def __init__(
        self,
        ndim: int,
        channels: int,
        classes: int,
        *,
        width: int = 32,
        depth: int = 3,
        heads: Collection[Head] = (),
    ) -> None:
        super().__init__()
        conv: Any = nn.Conv2d if ndim == 2 else nn.Conv3d
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
        self.decoder = _Decoder(ndim, widths, fine, classes)
        self.approximate = _class_scores(ndim, fine, classes, more=1)
        self.separate = conv(fine, 1, 1)
        self.inwardness = _undecided(conv(fine, 1, 1)) if "inwardness" in heads else None
        self.levels = nn.ModuleList(
            _level_head(ndim, before, classes) for before in (*reversed(widths), fine) if "levels" in heads
        )
        self.classify = _class_scores(ndim, widths[-1], classes) if "tags" in heads else None
        self.second = _Decoder(ndim, widths, fine, classes) if "decoder" in heads else None
        self.twin = UNet(ndim, channels, classes, width=width, depth=depth) if "network" in heads else None
        self._layout: Any = torch.channels_last if ndim == 2 else torch.channels_last_3d
        for weights in self.parameters():
            if weights.ndim == ndim + 2:  # convolutions are much faster so, on processors as on cards
                weights.data = weights.data.contiguous(memory_format=self._layout)

    @property
    def tells_inwardness(self) -> bool:
        """Whether it has learned anything about how far inside its object a pixel lies."""
        return self.inwardness is not None and any(bool(weights.any()) for weights in self.inwardness.parameters())

    @property
    def halo_px(self) -> int:
        """Margin of a tile within which predictions lack context."""
        return 4 * self.multiple

    def forward(self, image: Tensor) -> Outputs:
        """Say everything about a batch, (N, C, *S)."""
        pixel, skips = self._encoded(image)
        features, trunk, logits = self.decoder(pixel, skips)
        return Outputs(
            logits,
            self.approximate(trunk),
            self.separate(features[-1]),
            features,
            tuple(head(x) for head, x in zip(self.levels, features, strict=False)),
            None if self.classify is None else self.classify(features[0]),
            self._second_opinion(image, pixel, skips),
            None if self.inwardness is None else self.inwardness(features[-1]),
        )

    @torch.no_grad()
    def standardise(self, images: Sequence[Tensor]) -> None:
        """Fix the scale of the input channels from some images, each (C, *S).

        Once, before training: were it taken from every batch anew, brightness would lose its meaning.
        """
        values = torch.cat([image.flatten(1) for image in images], 1)
        self.centre.copy_(values.mean(1))
        self.spread.copy_(values.std(1).clamp_min(1e-3))
        if self.twin is not None:
            self.twin.standardise(images)

    def _second_opinion(self, image: Tensor, pixel: Tensor, skips: Sequence[Tensor]) -> Tensor | None:
        if self.twin is not None:
            logits: Tensor = self.twin(image).logits
            return logits
        return None if self.second is None else self.second(pixel, skips)[2]

    def _encoded(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features of every pixel, and of every level below, finest first."""
        centre, spread = (x.view(-1, *[1] * self.ndim) for x in (self.centre, self.spread))
        pixel = self.pixel(((image - centre) / spread).contiguous(memory_format=self._layout))
        pool = F.max_pool2d if self.ndim == 2 else F.max_pool3d
        x = self.shrink(pixel)
        skips: list[Tensor] = []
        for i, level in enumerate(self.down):
            x = level(pool(x, 2) if i else x)
            skips.append(x)
        return pixel, skips


class _Decoder(nn.Module):
    """The way back up, and the segmentation at its end."""

    def __init__(self, ndim: int, widths: Sequence[int], fine: int, classes: int) -> None:
        super().__init__()
        conv: Any = nn.Conv2d if ndim == 2 else nn.Conv3d
        transposed: Any = nn.ConvTranspose2d if ndim == 2 else nn.ConvTranspose3d
        upwards = range(len(widths) - 2, -1, -1)
        self.mode = "bilinear" if ndim == 2 else "trilinear"
        self.narrow = nn.ModuleList(conv(widths[i + 1], widths[i], 1) for i in upwards)
        self.up = nn.ModuleList(_block(ndim, 2 * widths[i], widths[i]) for i in upwards)
        self.grow = transposed(widths[0], fine, 2, stride=2)
        self.trunk = _block(ndim, 2 * fine, fine, layers=1)
        self.residual = _block(ndim, fine, fine, layers=1)
        self.segment = _class_scores(ndim, fine, classes)

    def forward(self, pixel: Tensor, skips: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """Features of every level, coarsest first; the trunk that the tasks share; segmentation logits."""
        *rest, x = skips
        levels = [x]
        for narrow, level in zip(self.narrow, self.up, strict=True):
            x = F.interpolate(narrow(x), scale_factor=2.0, mode=self.mode, align_corners=False)
            x = level(torch.cat([x, rest.pop()], 1))
            levels.append(x)
        trunk = self.trunk(torch.cat([self.grow(x), pixel], 1))
        fine = trunk + self.residual(trunk)
        return (*levels, fine), trunk, self.segment(fine)


def _block(ndim: int, before: int, after: int, *, layers: int = 2) -> nn.Sequential:
    """Convolutions of width 3, each normalised and activated."""
    conv: Any = nn.Conv2d if ndim == 2 else nn.Conv3d
    norm: Any = nn.BatchNorm2d if ndim == 2 else nn.BatchNorm3d
    parts: list[nn.Module] = []
    for width in [before, *[after] * (layers - 1)]:
        parts += [conv(width, after, 3, padding=1, bias=False), norm(after), nn.SiLU()]
    return nn.Sequential(*parts)


def _undecided(head: nn.Module) -> nn.Module:
    """Let a head say the same of every pixel until it has learned something."""
    for weights in head.parameters():
        nn.init.zeros_(weights)
    return head


def _class_scores(ndim: int, before: int, classes: int, *, more: int = 0) -> nn.Module:
    """Linear map to one score for each class, and `more` of them; `with_classes` finds it by its mark."""
    conv: Any = nn.Conv2d if ndim == 2 else nn.Conv3d
    scores: nn.Module = conv(before, classes + more, 1)
    scores.more_rows = more  # type: ignore[assignment]
    return scores


def _level_head(ndim: int, before: int, classes: int) -> nn.Sequential:
    conv: Any = nn.Conv2d if ndim == 2 else nn.Conv3d
    norm: Any = nn.BatchNorm2d if ndim == 2 else nn.BatchNorm3d
    hidden = conv(before, before, 1, bias=False), norm(before), nn.SiLU()
    return nn.Sequential(*hidden, _class_scores(ndim, before, classes))


def with_classes(network: UNet, classes: int) -> UNet:
    """Copy a network for more or fewer classes; what it knows of the classes that stay is kept."""
    result = copy.deepcopy(network)
    for name, head in list(result.named_modules()):
        if isinstance(head, nn.Conv2d | nn.Conv3d) and hasattr(head, "more_rows"):
            old: Any = head
            new: Any = _class_scores(result.ndim, old.in_channels, classes, more=old.more_rows)
            new.to(old.weight.device)
            n = min(new.out_channels, old.out_channels)
            with torch.no_grad():
                new.weight[:n], new.bias[:n] = old.weight[:n], old.bias[:n]
            parent, _, attribute = name.rpartition(".")
            setattr(result.get_submodule(parent), attribute, new)
    return result


def padded_size(shape: Sequence[int], multiples: Sequence[int]) -> tuple[int, ...]:
    """Round sizes up to what the network takes."""
    return tuple(-(-size // multiple) * multiple for size, multiple in zip(shape, multiples, strict=True))

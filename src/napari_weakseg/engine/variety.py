"""How much the views vary that the network learns on.

Of two or three marked images a network learns the size and the brightness by heart, and an image in which cells are
twice as large is strange to it. So it sees fewer images in more ways. Where many are marked, they vary themselves.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.engine.blocks import Block

__all__ = ["Variety"]

_FEW, _MANY = 3, 5  # marked images up to which views vary most, and from which they vary least
_ZOOM, _RESAMPLED, _INTENSITY = (1.25, 2.0), (0.3, 0.7), (0.2, 0.5)  # least and most


@dataclass(frozen=True, slots=True)
class Variety:
    """Settings of the augmentation.

    Attributes
    ----------
    zoom : float
        Patches are made larger or smaller by up to this.
    resampled : float
        Share of the batches that are, 0 to 1.
    intensity : float
        Strength of the change of grey values, as of `intensity.sample_intensity`.
    """

    zoom: float
    resampled: float
    intensity: float

    @classmethod
    def of(cls, blocks: Iterable[Block], config: TrainConfig) -> Self:
        """Choose by the number of images (or frames) that are painted in, unless the settings tell."""
        images = len({(block.place.image, block.place.frame) for block in blocks if block.marked_at})
        few = min(1.0, max(0.0, (_MANY - images) / (_MANY - _FEW)))
        zoom, intensity = config.zoom, config.intensity
        return cls(
            zoom=_between(_ZOOM, few) if zoom is None else zoom,
            resampled=_between(_RESAMPLED, few),
            intensity=_between(_INTENSITY, few) if intensity is None else intensity,
        )


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])

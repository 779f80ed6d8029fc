"""How much the views vary that the network learns on.

Of two or three painted images a network learns the size and the brightness by heart, and an image in which cells are
twice as large is strange to it. So it sees few images in more ways. Where many are painted, they vary themselves.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.engine.blocks import Block

__all__ = ["Variety"]

_FEW, _MANY = 3, 5  # painted images up to which views vary most, and from which they vary least
_ZOOM, _RESAMPLED, _INTENSITY = (1.25, 2.0), (0.3, 0.7), (0.2, 0.5)  # least and most


@dataclass(frozen=True, slots=True)
class Variety:
    """Settings of the augmentation.

    Attributes
    ----------
    zoom : float
        Patches are made larger or smaller by up to this.
    resampled_share : float
        Share of the batches that are, 0 to 1.
    intensity : float
        Strength of the change of grey values, as of `intensity.sample_intensity`.
    """

    zoom: float
    resampled_share: float
    intensity: float

    @classmethod
    def of(cls, blocks: Iterable[Block], config: TrainConfig) -> Self:
        """Choose, unless the settings tell, by the number of images in which something but background is painted.

        Frames count one by one: those of a stack are often as unlike as images. Where there are no others, what is
        painted shows all that there is.
        """
        rare = _rarity(blocks)
        return cls(
            zoom=_between(_ZOOM, rare) if config.zoom is None else config.zoom,
            resampled_share=_between(_RESAMPLED, rare if config.zoom is None else 0),
            intensity=_between(_INTENSITY, rare) if config.intensity is None else config.intensity,
        )


def _rarity(blocks: Iterable[Block]) -> float:
    """How rare images with painted objects are among those in memory: 1 where there are few, 0 where many, or all."""
    painted, others = set[tuple[object, ...]](), set[tuple[object, ...]]()
    for block in blocks:
        place = (block.place.image, block.place.frame)
        if not block.shown or block.marked_at.keys() <= {BACKGROUND}:
            others.add(place)
            continue
        painted.add(place)
        if len(painted) == _MANY:
            return 0.0
    return min(1.0, (_MANY - len(painted)) / (_MANY - _FEW)) if others - painted else 0.0


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])

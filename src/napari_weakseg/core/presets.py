"""Settings that stand for published methods, for comparison; the defaults are meant to be better than any of them.

Each preset switches terms of the one objective on and off (`engine.objective`), nothing else: network, sampling,
optimiser, augmentation and averaging are this project's throughout, so no preset repeats the experiments of its paper.
`docs/methods.md` has the table of what each one is faithful to and where it departs.
"""

from typing import Any, Literal

__all__ = ["PRESETS", "Preset"]

Preset = Literal[
    "partial-masks",
    "every-annotation-counts",
    "presence-masking",
    "hybrid-supervision",
    "tags-and-masks",
]

_NOTHING: dict[str, Any] = {
    "forest": False,
    "prior_correction": 0.0,
    "box_shapes": False,
    "growth": "off",
    "outline_weight": 0.0,
    "weighting": "plain",
    "dice_weight": 0.0,
    "exact_dice_weight": 0.0,
    "dice_warm_up": 0.0,
    "claim_weight": 0.0,
    "approximation_weight": 0.0,
    "separation_weight": 0.0,
    "inwardness_weight": 0.0,
    "rough_weight": 0.0,
    "trust": False,
    "doubt_background": False,
    "bag_weight": 0.0,
    "class_confidence": False,
}

PRESETS: dict[Preset, dict[str, Any]] = {
    "partial-masks": {
        **_NOTHING,
        "growth": "monotone",
        "rounds": 3,
        "dice_weight": 1.0,
        "exact_dice_weight": 1.0,
        "claim_weight": 0.5,
        "approximation_weight": 0.5,
        "separation_weight": 0.5,
    },
    "every-annotation-counts": {**_NOTHING, "multiscale_weight": 1.0, "consistency_weight": 1.0},
    "presence-masking": {**_NOTHING, "presence": "plus", "presence_dice": "log"},
    "hybrid-supervision": {**_NOTHING, "rough_weight": 1.0, "trust": True, "second": "network"},
    "tags-and-masks": {**_NOTHING, "tag_weight": 1.0, "rough_weight": 0.2},  # 0.1: each mask is trusted half,
}
"""
partial-masks
    Ke et al., IEEE TIP 2021, arXiv:2005.13053.
every-annotation-counts
    Reiß et al., CVPR 2021, arXiv:2104.13243.
presence-masking
    Wong et al., arXiv:2008.07030.
hybrid-supervision
    Pan et al., AAAI 2022, arXiv:2203.05956.
tags-and-masks
    Belharbi et al., WACV 2021, arXiv:2010.04889.
"""

"""Lets the blobs of the blocks in memory grow while the network trains, a block at a time.

Each block goes through its rounds when its turn comes, between optimiser steps, so that no step is held up by more
than one small block. `growth` holds the rule of a round, `stopping` judges when to stop.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.core.annotations import Annotations
from napari_weakseg.core.classes import BACKGROUND, ClassTable
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.evaluate import window_around
from napari_weakseg.engine.growth import Evidence, GrowthRules
from napari_weakseg.engine.outline import Outline
from napari_weakseg.engine.stopping import (
    edge_strength,
    far_background,
    simulate_growth_guard,
    watershed_objects,
)
from napari_weakseg.engine.targets import (
    IGNORE,
    approximation_target,
    background_claim,
    boxes_of_seeds,
    simulate_seeds,
)

__all__ = [
    "Guess",
    "claim_outline",
    "everything_marked",
    "grow_block",
    "look_for_background",
    "median_round",
    "outline_accuracy",
    "outline_agreement",
    "rules_for",
    "safe_rounds",
    "take_claims",
]

Guess: TypeAlias = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]
"""An image, (C, *S), and flat indices of n of its pixels → their class probabilities, (K, n)."""

_BLOB_SHARE = 0.25  # of an object that a simulated blob covers
_COMPARED = 8192  # pixels of a block that two guesses are compared on
_WINDOW_PX = {2: 384, 3: 64}  # side of the part of a block that they are compared in, by the number of spatial axes
_ENOUGH = 0.3  # known to be background, of a block: edges are flooded from nothing else then
_SURE, _NTH_PX = 0.95, 3  # by its looks a pixel is surely background; every third pixel along Y and X is looked at
_RING_PX = 4.0  # how far around a marked object its surroundings are taken for background, others may be unmarked


def rules_for(block: Block, *, mode: str, tau: float) -> GrowthRules:
    """Step so far that a blob of a quarter of its object reaches the border in two rounds, in four if it lies aside.

    The radius of such a blob is half of its object's, so it has its own radius to go.
    """
    areas = np.bincount(block.knowledge.seeds.ravel())[1:]
    spacing = np.array(block.spacing or (1.0,) * len(block.shape))
    ndim = len(spacing)
    volume = float(np.median(areas[areas > 0]) * spacing.prod()) if (areas > 0).any() else 1.0
    radius = (volume / np.pi) ** 0.5 if ndim == 2 else (volume * 0.75 / np.pi) ** (1 / 3)
    step = max(2.0, 0.5 * radius)
    return GrowthRules(
        radius_px=tuple((step / spacing).tolist()),
        tau=tau,
        mode="regrow" if mode == "regrow" else "monotone",
    )


def grow_block(
    block: Block,
    probabilities: NDArray[np.float32],
    separation: NDArray[np.float32] | None,
    rules: GrowthRules,
    bound: Outline | None = None,
) -> None:
    """Take one round in a block; with `bound`, no object leaves the outline that the image's edges give it."""
    assert block.growth is not None
    boxes = boxes_of_seeds(block.knowledge.seeds, block.knowledge.seed_class, block.boxes)
    territory = bound.objects if bound is not None else None
    evidence = Evidence(probabilities, block.knowledge.allowed, separation=separation, territory=territory, boxes=boxes)
    block.growth = block.growth.advanced(evidence, rules)


def safe_rounds(
    block: Block,
    probabilities: NDArray[np.float32],
    rules: GrowthRules,
    rounds: int,
    precision: float,
    rng: np.random.Generator,
    *,
    bounded: bool = False,
) -> int | None:
    """Count the rounds that growth would stay as precise as asked for on the held-out part of an exact block.

    `bounded`: where no object leaves its outline; without background there are none. None where that part holds no
    object.
    """
    where = np.argwhere(block.held_out & block.knowledge.complete)
    if not len(where):
        return None
    crop = tuple(slice(int(a), int(b) + 1) for a, b in zip(where.min(0), where.max(0), strict=True))
    found, exact = np.unique(block.knowledge.seeds[crop], return_inverse=True)
    if not found.any():
        return None
    ids = exact.reshape(block.knowledge.seeds[crop].shape).astype(np.int32) + np.int32(found[0] != 0)
    if bounded and ids.all():
        return 0
    classes = block.knowledge.seed_class[found if found[0] == 0 else np.append(0, found)]
    evidence = Evidence(probabilities[(slice(None), *crop)], block.knowledge.allowed[crop])
    edges = edge_strength(block.plane, sampling=block.spacing)[crop] if bounded else None
    return simulate_growth_guard(
        ids, classes, evidence, rules, rounds=rounds, rng=rng, sampling=block.spacing, edges=edges
    ).safe_rounds(precision)


def take_claims(
    block: Block,
    probabilities: NDArray[np.float32],
    *,
    everywhere: bool,
    outline_weight: float = 0.0,
    slopes: bool = True,
) -> None:
    """Turn what has grown into claims: grown pixels, and background around them.

    Trust is the probability at the time; background is claimed only where the network is sure and no grown object is
    near (if every object is marked), or where the edges say so (with `outline_weight`; `slopes` as for
    `claim_outline`). What has grown from held-out blobs is not claimed.
    """
    assert block.growth is not None
    growth = block.growth
    spared = np.zeros(len(growth.seed_class), bool)
    spared[np.unique(growth.seeds[block.held_out])] = True
    grown = np.where((growth.seeds > 0) | spared[growth.ids], 0, growth.ids)
    claim = growth.seed_class[grown]
    weight = np.zeros(claim.shape, np.float32)
    for class_id in np.unique(claim):
        if class_id:
            here = claim == class_id
            weight[here] = probabilities[class_id - 1][here]
    if everywhere:
        bare = background_claim(probabilities, growth.ids, background=BACKGROUND) & (claim == 0) & ~block.held_out
        claim[bare] = BACKGROUND
        weight[bare] = probabilities[BACKGROUND - 1][bare]
    outlined = _outlined(block, everywhere=everywhere, slopes=slopes) if outline_weight else None
    if outlined is not None:  # what the edges say stays claimed, as far as the network does not object
        open_ = (claim == 0) & (outlined > 0) & ~block.knowledge.painted & ~_around_held_out(outlined, block.held_out)
        claim[open_] = outlined[open_]
        said = np.take_along_axis(probabilities, np.maximum(claim.astype(np.int64) - 1, 0)[None], 0)[0]
        weight[open_] = outline_weight * said[open_]
    block.claim = claim.astype(np.uint8)
    block.claim_weight = (255 * weight).astype(np.uint8)
    ring = [1.5] * growth.ids.ndim if growth.rounds.any() else None
    block.approximation = approximation_target(growth.ids, growth.seed_class, ring_px=ring)
    block.approximation[spared[growth.ids] & (growth.ids > 0)] = IGNORE
    block.refresh()


def everything_marked(block: Block, annotations: Annotations, classes: ClassTable) -> bool:
    """Whether every object in a block is said to carry a mark, so that the rest is background."""
    others = [c for c in classes.ids if c != BACKGROUND]
    return not block.exact and all(
        annotations.coverage_of(c, block.place.label_region) == "all objects" for c in others
    )


def look_for_background(block: Block, looks: Guess) -> None:
    """Find pixels that are background by their looks, for outlines to be flooded from them as well.

    A stroke of background leaves most of an image to be flooded from the objects alone. Of every third pixel along Y
    and X it takes a ninth of the time to find, and floods as well. Where much is known to be background, none is found.
    """
    bare, certain = np.zeros(block.shape, bool), block.knowledge.certain
    if (certain == BACKGROUND).mean() < _ENOUGH:
        nth = (..., slice(None, None, _NTH_PX), slice(None, None, _NTH_PX))
        bare[nth] = certain[nth] == 0
        at = np.flatnonzero(bare)
        bare.ravel()[at] = looks(block.pixels, at)[BACKGROUND - 1] >= _SURE
    block.bare = bare


def claim_outline(block: Block, weight: float, *, everywhere: bool, slopes: bool = True) -> None:
    """Claim what the edges say about the outlines of objects; of those that have grown, where nothing else is claimed.

    `everywhere`: every object is marked, so that what belongs to none is background; else this is claimed close to the
    marked objects only. `slopes`: blurred borders lie at the crest of the edge, for want of anything better; else they
    are left open, for exact masks to tell where such borders are drawn.
    """
    if block.growth is None:
        return
    found = _outlined(block, everywhere=everywhere, slopes=slopes)
    if found is not None:
        taken = block.knowledge.painted | _around_held_out(found, block.held_out)
        claim, trust = np.zeros(block.shape, np.uint8), np.zeros(block.shape, np.uint8)
        if block.growth.round:
            claim, trust = block.claim, block.claim_weight
            taken |= (claim > 0) | (block.growth.ids > 0)
        new = np.where(taken, np.uint8(0), found)
        block.claim = np.where(new > 0, new, claim)
        block.claim_weight = np.where(new > 0, np.uint8(255 * weight), trust)
        block.refresh()


def outline_agreement(block: Block, guess: Guess, *, everywhere: bool, rng: np.random.Generator) -> float:
    """Share of the outlined pixels, of which nothing is known, where another guess says the same.

    The two see different things (edges between marks, looks of pixels), so where they agree both are mostly right, and
    where they do not, the edges of the image are not the borders of its objects. Where the guess is sure of background
    they agree more readily, for edges are flooded from there.

    Parameters
    ----------
    block : Block
    guess : Guess
    everywhere : bool
        As for `claim_outline`.
    rng : numpy Generator
        Draws the pixels that are compared.

    Returns
    -------
    float
        nan where there is no outline.
    """
    found = _outlined(block, everywhere=everywhere)
    if found is None:
        return float("nan")
    open_ = (found > 0) & (block.knowledge.certain == 0)
    if not open_.any():
        return float("nan")
    window = window_around(rng.choice(np.argwhere(open_)), block.shape, _WINDOW_PX[block.allowed.ndim])
    at = np.flatnonzero(open_[window])
    at = rng.choice(at, min(len(at), _COMPARED), replace=False)
    said = guess(block.pixels[(slice(None), *window)], at).argmax(0) + 1
    return float((found[window].ravel()[at] == said).mean())


def outline_accuracy(block: Block, rng: np.random.Generator) -> float:
    """Share of the outlined pixels of an exact block that are right, from simulated blobs.

    The blobs cover a quarter of each object; the sure background is the half of it that is farthest from all objects.

    Parameters
    ----------
    block : Block
        Exact.
    rng : numpy Generator
        Draws the blobs.

    Returns
    -------
    float
        nan where there is no object, no background or nothing between.
    """
    truth, ids = block.knowledge.certain, block.knowledge.seeds
    sure = far_background(ids, truth == BACKGROUND, sampling=block.spacing)
    if not ids.any() or not sure.any():
        return float("nan")
    seeds = simulate_seeds(ids, _BLOB_SHARE, rng=rng, sampling=block.spacing)
    objects = watershed_objects(edge_strength(block.plane, sampling=block.spacing), seeds, sure)
    found = np.where(objects > 0, block.knowledge.seed_class[objects], np.uint8(BACKGROUND))
    open_ = (truth > 0) & (seeds == 0) & ~sure
    return float((found == truth)[open_].mean()) if open_.any() else float("nan")


def _outlined(block: Block, *, everywhere: bool, slopes: bool = True) -> NDArray[np.uint8] | None:
    """Class ids that the edges give, 0 where they say nothing; None without blobs or background."""
    if (found := block.outline) is None:
        return None
    said = np.ones(block.shape, bool) if slopes else ~found.slopes
    if not everywhere:
        said &= ndimage.distance_transform_edt(found.objects == 0, sampling=block.spacing) <= _RING_PX
    return np.where(said, found.classes, np.uint8(0))


def _around_held_out(flooded: NDArray[np.uint8], held_out: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find the connected objects that hold a held-out mark."""
    if not held_out.any():
        return held_out
    parts, n = ndimage.label(flooded > BACKGROUND)
    spared = np.zeros(n + 1, bool)
    spared[parts[held_out]] = True
    spared[0] = False
    found: NDArray[np.bool_] = spared[parts]
    return found


def median_round(blocks: Sequence[Block]) -> int:
    """Count the rounds that the middle block has taken."""
    rounds = [block.growth.round for block in blocks if block.growth is not None and not block.exact]
    return int(np.median(rounds)) if rounds else 0

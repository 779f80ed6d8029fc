"""How far each claim of a person can be trusted: one weight for each object of a mask that may be wrong.

The weights are learned from the agreement of gradients, after the dynamic instance indicator of Pan et al. [1]_: a
claim whose gradient points where that of the exact marks points gains weight, one that points away loses it. As in the
authors' code only the gradient of the last layer is looked at; it has a closed form, so no second backward pass is
needed. One weight per object instead of one per image, the cosine in place of the dot product, what it is compared
with (`trust_learning`), longer first steps for objects that are seen seldom, and the way small objects lean on their
image are our constructions.

References
----------
.. [1] J. Pan, Q. Bi, Y. Yang, P. Zhu, C. Bian, "Label-efficient hybrid-supervised learning for medical image
   segmentation", AAAI 2022, arXiv:2203.05956.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_weakseg.engine.losses import full_precision

__all__ = ["ClaimWeights", "agreement", "balanced_weight", "last_layer_gradient"]

Key: TypeAlias = tuple[Hashable, ...]

_BETAS, _EPS = (0.9, 0.999), 1e-8
_FIRST = 6.0  # times the usual step that the first one is long, the second half of it and so on
_FEWEST_PX = 50  # an object of fewer pixels has its parent's weight
_PARENT_PX = 200  # pixels, counted at each look, that the parent's weight stands for when both are joined


def last_layer_gradient(
    features: Tensor, probabilities: Tensor, target: Tensor, weight: Tensor, group: Tensor, groups: int
) -> Tensor:
    """Gradient of each group's cross-entropy in the last layer, a pixel-wise linear map of the features.

    For ``-sum_x weight(x) sum_c target_c log p_c`` this is ``sum_x weight (p - target) f^T``: exact, for soft targets
    too.

    Parameters
    ----------
    features : float Tensor, (N, F, *S)
        What the last layer gets.
    probabilities, target : float Tensor, (N, K, *S)
    weight : Tensor, (N, *S)
    group : int64 Tensor, (N, *S)
        Which group each pixel counts for; negative: none.
    groups : int
        G.

    Returns
    -------
    float32 Tensor, (G, K * (F + 1))
        Of the weights and the bias.
    """
    counted = (group.flatten() >= 0).nonzero().squeeze(1)
    index = group.flatten()[counted]

    def pixels(x: Tensor) -> Tensor:
        return full_precision(x.detach()).movedim(1, -1).flatten(0, -2)[counted]

    f = pixels(features)
    f = torch.cat([f, f.new_ones(len(f), 1)], 1)
    residual = (pixels(probabilities) - pixels(target)) * weight.detach().flatten()[counted].to(f.dtype).unsqueeze(1)
    nothing = f.new_zeros(groups, f.shape[1])  # by class, for adding to a part of one tensor is slow
    return torch.cat([nothing.index_add(0, index, residual[:, k, None] * f) for k in range(residual.shape[1])], 1)


def balanced_weight(labels: Tensor, classes: int) -> Tensor:
    """Weight of each pixel such that every class that occurs counts alike.

    Parameters
    ----------
    labels : int64 Tensor
        Class ids, 0 where nothing is certain.
    classes : int
        K.

    Returns
    -------
    float32 Tensor, shape of `labels`
    """
    counts = torch.bincount(labels.flatten(), minlength=classes + 1).float()
    share = 1 / counts.clamp_min(1)
    share[0] = 0
    return share[labels]


def agreement(claims: Tensor, exact: Tensor) -> NDArray[np.float32]:
    """Cosine between gradients of claims and of exact marks.

    Parameters
    ----------
    claims : float Tensor, (*G, D)
    exact : float Tensor, (*G, D)
        Broadcast against `claims`.

    Returns
    -------
    float32 array, (*G,)
        nan where one of the two is zero.
    """
    lengths = claims.norm(dim=-1) * exact.norm(dim=-1)
    cosine = (claims * exact).sum(-1) / lengths
    found: NDArray[np.float32] = torch.where(lengths > 0, cosine, torch.nan).float().cpu().numpy()
    return found


class ClaimWeights:
    """Weights between 0 and 1, each moved by its own Adam: a claim that is not in the batch does not move.

    Parameters
    ----------
    initial : float
        Of a new claim.
    rate : float
        Step size; the first steps of a weight are longer.
    """

    def __init__(self, *, initial: float = 0.5, rate: float = 0.05) -> None:
        self._initial, self._rate = initial, rate
        self._place: dict[Key, int] = {}
        self._state = np.zeros((0, 4))  # weight, first and second moment, steps

    def __len__(self) -> int:
        return len(self._place)

    def index(self, keys: Iterable[Key]) -> NDArray[np.int64]:
        """Place of each claim in `values`; a new one gets the initial weight."""
        places = [self._place.setdefault(key, len(self._place)) for key in keys]
        missing = len(self._place) - len(self._state)
        if missing:
            self._state = np.concatenate([self._state, np.tile([self._initial, 0.0, 0.0, 0.0], (missing, 1))])
        return np.array(places, np.int64)

    @property
    def values(self) -> NDArray[np.float32]:
        """Weight of each claim, (n,)."""
        return self._state[:, 0].astype(np.float32)

    def by_key(self) -> dict[Key, float]:
        """Weight of each claim by its key."""
        return {key: float(self._state[i, 0]) for key, i in self._place.items()}

    def update(self, index: NDArray[np.int64], agreements: NDArray[np.floating[Any]]) -> None:
        """Raise the weights of claims that agree with the exact marks, lower those of the others.

        Parameters
        ----------
        index : int64 array, (m,)
            Each place at most once.
        agreements : float array, (m,)
            Above 0 where a claim agrees; nan leaves a weight as it is.
        """
        known = np.isfinite(agreements)
        at, gradient = index[known], -agreements[known].astype(float)
        weight, first, second, steps = self._state[at].T
        steps = steps + 1
        first = _BETAS[0] * first + (1 - _BETAS[0]) * gradient
        second = _BETAS[1] * second + (1 - _BETAS[1]) * gradient**2
        step = (first / (1 - _BETAS[0] ** steps)) / (np.sqrt(second / (1 - _BETAS[1] ** steps)) + _EPS)
        rate = self._rate * np.maximum(1, _FIRST / steps)
        self._state[at] = np.stack([np.clip(weight - rate * step, 0, 1), first, second, steps], 1)

    def joined(
        self, index: NDArray[np.int64], parent: NDArray[np.int64], pixels: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """Weight that counts for each object: its own, leaning on its image's the more the less was seen of it.

        Parameters
        ----------
        index, parent : int64 array, (m,)
            Places of the objects and of their images.
        pixels : int array, (m,)
            Of each object.

        Returns
        -------
        float32 array, (m,)
        """
        own = np.where(pixels >= _FEWEST_PX, pixels, 0) * self._state[index, 3]
        values = self.values
        found: NDArray[np.float32] = (own * values[index] + _PARENT_PX * values[parent]) / (own + _PARENT_PX)
        return found.astype(np.float32)

    def save(self) -> list[list[Any]]:
        """Give everything as JSON: key, weight, moments and steps of each claim."""
        return [[list(key), *map(float, self._state[i])] for key, i in self._place.items()]

    def restore(self, saved: Sequence[Sequence[Any]]) -> None:
        """Take back what `save` gave."""
        self._place = {tuple(_hashable(part) for part in key): i for i, (key, *_) in enumerate(saved)}
        self._state = np.array([state for _, *state in saved], float).reshape(len(saved), 4)


def _hashable(part: Any) -> Hashable:
    return tuple(part) if isinstance(part, list) else part

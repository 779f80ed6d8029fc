"""How common each class is in the images, beside how common it is in what the network learns from.

Strokes tell no areas: a person marks as much of a rare class as of a common one, and a network that learned from that
sees the rare one too often. Its answers are therefore multiplied by the share that a class has in the images and
divided by the share it has in the answers about what is learned from: the shares of the marks, each class spread as
the latest answers about its marks are. For a network that has learned, that is the share of the class in the marks; one
that knows little yet sees a class more often or more seldom than that, and to divide by the share in the marks would
paint the image with a rare class. The share in the images is not known; it is found from the answers themselves.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.engine.blocks import Block, areas_told, never_shown
from napari_weakseg.engine.evaluate import window_around
from napari_weakseg.engine.losses import certain_classes
from napari_weakseg.engine.objective import Given

__all__ = ["ClassShares", "counted_shares", "estimated_shares", "mean_answers", "taught_shares"]

_EVERY = 25  # steps between two looks at the images
_LOOKS = 2  # that are remembered
_WINDOWS = 4  # of a look
_WINDOW_PX = {2: 256, 3: 48}  # their side, by the number of spatial axes
_PIXELS = 1000  # of a window
_DECAY = 0.98
_FORGOTTEN = 0.1  # share of the answers about marks that each batch replaces: a young network changes quickly
_RAMP = 100  # batches until the correction counts fully: a network that knows nothing finds any share
_ROUNDS = 3  # with many more, classes that are seldom sure vanish
_MOST = 50.0  # times that a class is made more or less likely
_LEAST = 1e-4


class ClassShares:
    """Keeps both shares, and tells by how much the network's answers are to be multiplied.

    Parameters
    ----------
    classes : int
        K.
    strength : float
        Exponent of the correction, 0 (none) to 1. Less than 1 by default: marks of objects lie in their middle rather
        than at random places, and a network that meets them likes objects too little at their borders.
    """

    def __init__(self, classes: int, *, strength: float) -> None:
        self._strength = strength
        self._taught = torch.zeros(classes)
        self._answers = torch.zeros(classes, classes)  # about marks of each class; a row of zeros before there are any
        self._batches = 0
        self._looks: deque[NDArray[np.float32]] = deque(maxlen=_LOOKS)
        self._left = False  # as they are: whether answers are
        self.weights = np.ones(classes, np.float32)

    def learn(self, config: TrainConfig, given: Given, logits: Tensor) -> None:
        """Look at the answers about what a batch teaches, where they are corrected; nothing waits for the device."""
        if self._strength and not self._left:
            self._batches += 1
            taught, said = taught_shares(config, given), mean_answers(given, logits)
            self._taught = _DECAY * self._taught.to(taught.device) + (1 - _DECAY) * taught
            before, marked = self._answers.to(said.device), said.sum(1, keepdim=True) > 0
            begun = before.sum(1, keepdim=True) > 0
            self._answers = torch.where(marked, torch.where(begun, before.lerp(said, _FORGOTTEN), said), before)

    def look(
        self,
        step: int,
        blocks: Sequence[Block],
        says: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        rng: np.random.Generator,
    ) -> bool:
        """Ask the network about random places now and then; returns whether `weights` is new.

        Exact images tell how common classes are; without any, the answers do. Nothing is corrected where areas follow
        from the coverage that is told, or where a class is learned from what it is not, or from tags alone: nobody
        knows how much of it is.

        Parameters
        ----------
        step : int
        blocks : sequence of Block
        says : callable
            float32 (C, *S) → probabilities (K, *S), multiplied by `weights`.
        rng : numpy Generator
        """
        if not self._strength or not step or step % _EVERY:
            return False
        self._left = areas_told(blocks) or any(block.narrowed for block in blocks) or bool(never_shown(blocks))
        if self._left:
            self.weights = np.ones_like(self.weights)
            return True
        taught = np.maximum(self._shares_taught, _LEAST)
        found = counted_shares(blocks, len(taught))
        if found is None:
            self._looks.append(self._look_around(blocks, says, rng))
            found = estimated_shares(np.concatenate(self._looks, 1), taught)
        ratio = np.clip(found / taught, 1 / _MOST, _MOST)
        strength = self._strength * min(1.0, self._batches / _RAMP)
        both = (taught > _LEAST) & (found > 0)
        self.weights = np.where(both, ratio**strength, 1).astype(np.float32)
        return True

    def _look_around(
        self,
        blocks: Sequence[Block],
        says: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """Answers at random places, as if classes were equally common, (K, n)."""
        sizes = np.array([block.allowed.size for block in blocks], float)
        seen = []
        for i in rng.choice(len(blocks), _WINDOWS, p=sizes / sizes.sum()):
            shape = blocks[i].shape
            window = window_around([int(rng.integers(n)) for n in shape], shape, _WINDOW_PX[len(shape)])
            said = self.even(says(blocks[i].pixels[(slice(None), *window)]))
            said = said.reshape(len(said), -1)
            seen.append(said[:, rng.integers(said.shape[1], size=_PIXELS)])
        return np.concatenate(seen, 1)

    def even(self, said: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn the network's answers, (K, *S), into what they were if all classes were equally common.

        Where nothing is corrected they are left as they are: the forest's are under the same shares.
        """
        return said if self._left or not self._strength else even(said, self.weights * self._shares_taught)

    @property
    def _shares_taught(self) -> NDArray[np.float64]:
        """Shares of the classes in the answers about what is learned from."""
        begun = self._answers.sum(1, keepdim=True) > 0
        answers = torch.where(begun, self._answers, torch.eye(len(self._answers)).to(self._answers))
        taught = (self._taught.to(answers) @ answers).cpu().numpy().astype(float)
        total = taught.sum()
        return taught / total if total > 0 else np.full(len(taught), 1 / len(taught))

    def save(self) -> dict[str, Tensor]:
        """Give the shares and the last looks."""
        looks = {f"shares.look.{i}": torch.from_numpy(look) for i, look in enumerate(self._looks)}
        return {
            "shares.taught": self._taught,
            "shares.answers": self._answers,
            "shares.batches": torch.tensor(self._batches),
            "shares.weights": torch.from_numpy(self.weights),
            "shares.left": torch.tensor(self._left),
            **looks,
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `save` gave, where it is there."""
        if "shares.taught" in tensors:
            self._taught, self.weights = tensors["shares.taught"], tensors["shares.weights"].cpu().numpy()
            self._answers = tensors.get("shares.answers", torch.zeros_like(self._answers))
            self._batches = int(tensors.get("shares.batches", torch.tensor(_RAMP)))
            self._left = bool(tensors.get("shares.left", False))
            looks = sorted(name for name in tensors if name.startswith("shares.look."))
            self._looks.clear()
            self._looks.extend(tensors[name].cpu().numpy() for name in looks)


def taught_shares(config: TrainConfig, given: Given) -> Tensor:
    """Shares of the classes in what a batch teaches, each term by its weight: float32 (K,), sums to 1 or is all 0."""
    n, classes = given.allowed.shape[:2]
    certain = certain_classes(given.allowed).float().flatten(2)
    parts = [certain[a:b].sum((0, 2)) for a, b in ((0, given.exact), (given.exact, n)) if b > a]
    total = torch.stack([_divided(part, part.sum()) for part in parts]).sum(0)
    total = _divided(total, total.sum())
    claims = [("claim", config.claim_weight, given.fields["claim_weight"].float() / 255)]
    if given.trust is not None:
        claims.append(("rough", config.rough_weight, given.trust))
    for name, weight, trust in claims:
        claim = given.fields[name].flatten()
        trusted = total.new_zeros(classes + 1).index_add_(0, claim.int(), trust.flatten())[1:]
        total = total + weight * _divided(trusted, (claim > 0).sum())
    return _divided(total, total.sum())


def mean_answers(given: Given, logits: Tensor) -> Tensor:
    """Mean of the answers about the certain pixels of each class: float32 (K, K), a row of zeros where there are none.

    Parameters
    ----------
    given : Given
    logits : float Tensor, (N, K, *S)
    """
    said = logits.detach().float().softmax(1).transpose(0, 1).flatten(1)
    certain = certain_classes(given.allowed).float().transpose(0, 1).flatten(1)
    return _divided(certain @ said.T, certain.sum(1, keepdim=True))


def _divided(values: Tensor, by: Tensor) -> Tensor:
    return values / torch.where(by > 0, by, torch.ones_like(by))


def counted_shares(blocks: Sequence[Block], classes: int) -> NDArray[np.float64] | None:
    """Shares of the classes in the exact blocks, (K,); None where there is none."""
    known = [block.marked_at for block in blocks if block.exact]
    counts = np.array([sum(len(at.get(c, ())) for at in known) for c in range(1, classes + 1)], float)
    return counts / counts.sum() if counts.any() else None


def even(said: NDArray[np.float32], shares: NDArray[np.floating]) -> NDArray[np.float32]:
    """Turn answers under some shares of the classes, (K, *S), into what they were if all were equally common.

    Classes without a share stay out.
    """
    rise = np.where(shares > _LEAST, 1 / np.maximum(shares, _LEAST), 0)
    weighed = said * rise.astype(np.float32).reshape(-1, *[1] * (said.ndim - 1))
    return np.asarray(weighed / np.maximum(weighed.sum(0), 1e-12))


def estimated_shares(said: NDArray[np.floating], first: NDArray[np.floating]) -> NDArray[np.float64]:
    """Estimate how common classes are from what is said at random places.

    Expectation maximisation: with shares one weighs the answers, their mean gives new shares [1]_. A few rounds from
    the shares that were learned from, instead of many: a class that is never sure would end at 0.

    Parameters
    ----------
    said : float array, (K, n)
        Probabilities as if all classes were equally common.
    first : float array, (K,)
        Shares to begin with; sums to 1.

    Returns
    -------
    float64 array, (K,)
        Sums to 1.

    References
    ----------
    .. [1] M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the outputs of a classifier to new a priori
       probabilities: a simple procedure", Neural Computation 14(1), 2002.
    """
    shares: NDArray[np.float64] = np.maximum(np.asarray(first, float), _LEAST)
    for _ in range(_ROUNDS):
        weighed = said * shares[:, None]
        shares = np.maximum((weighed / np.maximum(weighed.sum(0), 1e-12)).mean(1), _LEAST)
        shares /= shares.sum()
    return shares

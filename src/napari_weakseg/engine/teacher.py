"""The teacher: a running average of the student, and how far its pseudo-labels are believed."""

import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_weakseg.engine.losses import project

__all__ = ["ClassThresholds", "PseudoLabel", "Teacher", "ramp", "settle_statistics", "teacher_target"]


class Teacher:
    """Exponential moving average of a student network.

    The decay rises with the updates, ``a_t = min(1 - 1 / (t + 1), decay)``, so that the first update copies
    the student and the start leaves no trace; buffers are copied. The mean teacher is by Tarvainen and
    Valpola [1]_.

    Parameters
    ----------
    student : nn.Module
        Copied once. The copy is in evaluation mode and takes no gradient.
    decay : float
        In [0, 1); 0 makes the teacher the student. 0.99 averages over about the last 100 updates.

    Attributes
    ----------
    network : nn.Module
        The averaged network: save and load it as any other.
    updates : int
        Updates so far (t); to be saved beside the weights.

    References
    ----------
    .. [1] A. Tarvainen, H. Valpola, "Mean teachers are better role models", NeurIPS 2017.
    """

    def __init__(self, student: nn.Module, *, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1). Got: {decay}")
        self.network = copy.deepcopy(student).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Move towards the student by one step; call after each optimiser step."""
        alpha = min(1 - 1 / (self.updates + 1), self.decay)
        mine, theirs = _matched(self.network.parameters(), student.parameters())
        if mine:
            torch._foreach_lerp_(mine, theirs, 1 - alpha)
        mine, theirs = _matched(self.network.buffers(), student.buffers())
        if mine:
            torch._foreach_copy_(mine, theirs)
        self.updates += 1


@dataclass(frozen=True, slots=True)
class PseudoLabel:
    """What the averaged network says of a batch.

    Attributes
    ----------
    target : float Tensor, (N, K, *S)
    weight : float Tensor, (N, *S)
        1 where it is believed, else 0.
    strength : float
        Weight of the whole term at this step.
    """

    target: Tensor
    weight: Tensor
    strength: float


class ClassThresholds:
    """Confidence at which a pseudo-label is believed, lower for classes that the teacher is less sure of.

    ``tau_k = tau * m_k / max_j m_j``, with ``m_k`` the running mean of the confidence where class k wins. Without it
    rare classes would be starved. Our construction, in the spirit of FlexMatch (Zhang et al., NeurIPS 2021).

    Parameters
    ----------
    classes : int
        K.
    tau : float
        Of the class that the teacher is surest of.
    keep : float
        Share of the old mean that stays at each update.
    """

    def __init__(self, classes: int, *, tau: float = 0.9, keep: float = 0.99) -> None:
        self._tau, self._keep = tau, keep
        self.means = torch.ones(classes)

    @torch.no_grad()
    def update(self, probabilities: Tensor) -> None:
        """Take in a prediction, (N, K, *S); a class that wins nowhere stays as it was."""
        confidence, winner = probabilities.max(1)
        n = torch.bincount(winner.flatten(), minlength=len(self.means))
        total = torch.bincount(winner.flatten(), confidence.flatten().float(), minlength=len(self.means))
        means = self.means.to(total.device)
        self.means = torch.where(n > 0, means.lerp(total.to(means.dtype) / n.clamp_min(1), 1 - self._keep), means)

    @property
    def thresholds(self) -> Tensor:
        """Of each class, (K,)."""
        return self._tau * self.means / self.means.max()


def teacher_target(
    probabilities: Tensor, allowed: Tensor, *, min_mass: float = 0.5, min_confidence: float | Tensor = 0.9
) -> tuple[Tensor, Tensor]:
    """Pseudo-label of the averaged teacher, restricted to the allowed classes, and where to believe it.

    After Reiß et al. (CVPR 2021); the two rejection tests are ours. Use with `soft_ce` and ``norm`` = all
    valid pixels, so that few confident pixels make a small loss.

    Parameters
    ----------
    probabilities : float Tensor, (N, K, *S)
    allowed : bool Tensor, (N, K, *S)
    min_mass : float
        Least share of the teacher's belief that the annotations allow.
    min_confidence : float or Tensor, (K,)
        Least probability of the best class after restriction; of each class where they differ.

    Returns
    -------
    target : float Tensor, (N, K, *S)
    weight : float Tensor, (N, *S)
        1 where both tests pass, else 0.
    """
    target, mass = project(probabilities.detach(), allowed)
    best, winner = target.max(1)
    needed = min_confidence[winner] if isinstance(min_confidence, Tensor) else min_confidence
    accepted = (mass >= min_mass) & (best >= needed) & allowed.any(1)
    return target, accepted.to(target.dtype)


def ramp(step: int, length: int) -> float:
    """Sigmoid-shaped ramp from ``exp(-5)`` at step 0 to 1 at `length`, the usual one for mean teachers."""
    missing = 1 - min(1.0, step / max(1, length))
    return math.exp(-5 * missing**2)


@torch.no_grad()
def settle_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Take the statistics of all batch normalisations from some batches, (N, C, *S) each, weights as they are.

    As stochastic weight averaging does for its averaged network (Izmailov et al., UAI 2018).
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
        norm.train()
    for batch in batches:
        network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _matched(mine: Iterator[Tensor], theirs: Iterator[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    pairs = list(zip(mine, theirs, strict=True))
    return [a for a, _ in pairs], [b.detach() for _, b in pairs]

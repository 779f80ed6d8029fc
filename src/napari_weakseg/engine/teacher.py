"""The teacher: a running average of the student's weights."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

__all__ = ["Teacher"]


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


def _matched(mine: Iterator[Tensor], theirs: Iterator[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    pairs = list(zip(mine, theirs, strict=True))
    return [a for a, _ in pairs], [b.detach() for _, b in pairs]

"""Training on several devices: as many processes as torchrun started, each on patches of its own, in step.

All have the same weights. Each computes gradients for a batch of its own; they are averaged before each step, so that a
step learns from as many batches as there are processes. The first process leads: it alone holds the project, decides
when to step and when to end, saves and reports; the others follow it step by step. As in data-parallel training in
general, each process normalises its batches by itself; here each grows the blobs that it has read by itself too.
"""

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from enum import IntEnum

import torch
import torch.distributed as dist
from torch import Tensor, nn

from napari_weakseg.core.errors import TrainingError

__all__ = ["Peers"]

_PATIENCE = timedelta(minutes=30)  # the leader may predict or save between two steps


class _Word(IntEnum):
    END, STEP, SHARE_AND_STEP = range(3)


class Peers:
    """The processes of one training.

    Parameters
    ----------
    device : torch.device
        That this process trains on.

    Attributes
    ----------
    rank, size : int
        Number of this process, 0 for the leader, and of all.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        try:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                "The processes of this training do not find each other.",
                "Start them all with torchrun, on machines that reach each other.",
                str(error),
            ) from error
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._agreed = False

    @classmethod
    def of_torchrun(cls, device: str = "auto") -> "Peers":
        """Find the other processes that torchrun started.

        With "auto", each process of a machine takes a CUDA card of its own where there are any, else the processor.
        """
        if device == "auto":
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
        chosen = torch.device(device)
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        return cls(chosen)

    @property
    def leads(self) -> bool:
        """Whether this process leads."""
        return self.rank == 0

    def disagree(self) -> None:
        """Let the leader share all weights before the next step: they have changed otherwise than by steps."""
        self._agreed = False

    def call(self) -> bool:
        """Call the others to a step, as the leader; returns whether weights are to be shared first."""
        share, self._agreed = not self._agreed, True
        self._say(_Word.SHARE_AND_STEP if share else _Word.STEP)
        return share

    def hear(self) -> tuple[bool, bool]:
        """Wait for the leader's word, as one of the others.

        Returns
        -------
        on, share : bool
            Whether there is another step, and whether weights are to be shared first.
        """
        word = self._say(_Word.END)
        return word != _Word.END, word == _Word.SHARE_AND_STEP

    def end(self) -> None:
        """Let the others end, as the leader, and leave."""
        if self.leads:
            self._say(_Word.END)
        dist.destroy_process_group()

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give everybody the tensors of the leader, in place."""
        for tensor in tensors:
            on_device = tensor.detach().to(self.device)
            dist.broadcast(on_device, 0)
            if not self.leads:
                with torch.no_grad():
                    tensor.copy_(on_device)

    def share_numbers(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """Give everybody the numbers of the leader."""
        tensor = torch.tensor(numbers, dtype=torch.int64, device=self.device)
        dist.broadcast(tensor, 0)
        return tuple(int(value) for value in tensor)

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average the gradients of all; what has none in one process counts as 0 there."""
        weights = list(parameters)
        here = [w.grad is not None for w in weights]
        there = torch.tensor(here, dtype=torch.float32).to(self.device, non_blocking=True)
        flat = [(torch.zeros_like(w) if w.grad is None else w.grad).flatten().float() for w in weights]
        everything = torch.cat([there, *flat])
        dist.all_reduce(everything)
        found, *means = torch.split(everything, [len(weights), *(w.numel() for w in weights)])
        anywhere = here if all(here) else found.tolist()  # else nobody need wait for the device
        for w, has_gradient, mean in zip(weights, anywhere, means, strict=True):
            if has_gradient:
                w.grad = (mean / self.size).view_as(w).to(w.dtype)

    def _say(self, word: _Word) -> _Word:
        """Give everybody the leader's word."""
        (said,) = self.share_numbers([word])
        return _Word(said)

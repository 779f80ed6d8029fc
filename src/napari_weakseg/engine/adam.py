"""The optimiser: Adam with decoupled weight decay.

Torch's own function does the work, without the class `torch.optim.AdamW` around it: making one imports torch's
compiler, for two seconds that a person would wait for.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

__all__ = ["AdamW"]

_BETAS, _EPS = (0.9, 0.999), 1e-8


class AdamW:
    """Adam with decoupled weight decay [1]_.

    Parameters
    ----------
    parameters : iterable of Parameter
        On one device.
    weight_decay : float

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, weight_decay: float) -> None:
        self._parameters = list(parameters)
        self._weight_decay = weight_decay
        self._fused = bool(self._parameters) and self._parameters[0].device.type in ("cpu", "cuda")
        self._state = [_fresh(parameter, fused=self._fused) for parameter in self._parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move all parameters that have a gradient by steps of so much, and forget the gradients."""
        moved = [(p, s) for p, s in zip(self._parameters, self._state, strict=True) if p.grad is not None]
        adamw(
            [parameter for parameter, _ in moved],
            [parameter.grad for parameter, _ in moved if parameter.grad is not None],
            [state["exp_avg"] for _, state in moved],
            [state["exp_avg_sq"] for _, state in moved],
            [],
            [state["step"] for _, state in moved],
            fused=self._fused,
            foreach=not self._fused,
            amsgrad=False,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            lr=rate,
            weight_decay=self._weight_decay,
            eps=_EPS,
            maximize=False,
        )
        for parameter in self._parameters:
            parameter.grad = None

    def save(self) -> dict[str, Tensor]:
        """Give the state as named tensors."""
        return {f"optimizer.{i}.{name}": x for i, state in enumerate(self._state) for name, x in state.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `save` gave."""
        for i, state in enumerate(self._state):
            for name, x in state.items():
                if (saved := tensors.get(f"optimizer.{i}.{name}")) is not None:
                    x.copy_(saved)


def _fresh(parameter: nn.Parameter, *, fused: bool) -> dict[str, Tensor]:
    steps = torch.zeros((), dtype=torch.float32, device=parameter.device if fused else "cpu")  # where torch wants it
    return {"exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter), "step": steps}

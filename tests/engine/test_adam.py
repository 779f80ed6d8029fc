"""The optimiser does what torch's does, goes on after being saved, and does not load torch's compiler."""

import subprocess
import sys

import torch

from napari_weakseg.engine.adam import AdamW


def parameters(n: int = 2) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.arange(4.0 + i) - 2) for i in range(n)]


def pull(moved: list[torch.nn.Parameter], i: int) -> None:
    for parameter in moved:
        parameter.grad = torch.sin(parameter.detach() + i)


def test_it_moves_as_torch_does() -> None:
    ours, theirs = parameters(), parameters()
    optimiser = AdamW(ours, weight_decay=0.1)
    reference = torch.optim.AdamW(theirs, weight_decay=0.1)
    for i in range(5):
        rate = 0.1 / (1 + i)
        pull(ours, i)
        pull(theirs, i)
        optimiser.step(rate)
        reference.param_groups[0]["lr"] = rate
        reference.step()
        assert all(parameter.grad is None for parameter in ours)
    torch.testing.assert_close(ours, theirs)


def test_a_parameter_without_a_gradient_stays() -> None:
    moved, bare = parameters()
    optimiser = AdamW([moved, bare], weight_decay=0.1)
    before = bare.detach().clone()
    pull([moved], 0)
    optimiser.step(0.1)
    assert torch.equal(bare, before)
    assert not torch.equal(moved, parameters()[0])


def test_it_goes_on_where_it_was() -> None:
    one = parameters()
    first = AdamW(one, weight_decay=0.1)
    for i in range(3):
        pull(one, i)
        first.step(0.1)
    other = [torch.nn.Parameter(parameter.detach().clone()) for parameter in one]
    second = AdamW(other, weight_decay=0.1)
    second.restore({name: x.clone() for name, x in first.save().items()})
    for i in range(3):
        for moved, optimiser in ((one, first), (other, second)):
            pull(moved, i)
            optimiser.step(0.1)
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_training_does_not_load_the_compiler() -> None:
    """It would take two seconds that a person waits for."""
    code = """
import sys, torch
from napari_weakseg.engine.adam import AdamW
from napari_weakseg.engine.networks import UNet
network = UNet(2, 1, 2, width=8)
optimiser = AdamW(network.parameters(), weight_decay=0.1)
network(torch.randn(2, 1, 32, 32)).logits.sum().backward()
optimiser.step(0.1)
print("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"

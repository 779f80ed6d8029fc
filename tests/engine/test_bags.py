"""What tags and boxes teach: somewhere in here is a pixel of this class."""

import math

import pytest
import torch
from torch import Tensor

from napari_weakseg.engine.bags import Boxes, present_loss, tag_loss, tag_targets, tightness_loss, top_share

SHAPES = [(8, 12), (6, 8, 10)]
K = 3
both = pytest.mark.parametrize("shape", SHAPES, ids=["2d", "3d"])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sure_of(where: Tensor, channel: int) -> Tensor:
    """Logits of one image that are sure of a channel where asked, and of channel 0 elsewhere."""
    z = torch.zeros(1, K, *where.shape, dtype=torch.float64)
    z[0, 0] = torch.where(where, -40.0, 40.0)
    z[0, channel] = torch.where(where, 40.0, -40.0)
    z[0, 3 - channel] = -40.0
    return z


def box(shape: tuple[int, ...], start: int, size: int, class_id: int = 2) -> Boxes:
    return Boxes.of([(0, class_id, [start] * len(shape), [start + size] * len(shape))], len(shape))


@both
def test_a_diagonal_meets_every_line_of_its_box(shape: tuple[int, ...]) -> None:
    where = torch.zeros(shape, dtype=torch.bool)
    for i in range(1, 5):
        where[(i,) * len(shape)] = True
    assert tightness_loss(sure_of(where, 1), box(shape, 1, 4)).item() == pytest.approx(0, abs=1e-9)
    assert tightness_loss(sure_of(where, 1), box(shape, 1, 4, class_id=3)).item() > 5


@both
def test_each_line_without_the_class_costs(shape: tuple[int, ...]) -> None:
    where = torch.zeros(shape, dtype=torch.bool)
    where[(slice(1, 3),) * len(shape)] = True  # two of four lines along every axis
    assert tightness_loss(sure_of(where, 1), box(shape, 1, 4)).item() == pytest.approx(math.log(2))


@both
def test_tightness_equals_its_formula_and_sends_nothing_outside(shape: tuple[int, ...]) -> None:
    z = torch.randn(2, K, *shape, generator=rng(), dtype=torch.float64, requires_grad=True)
    boxes = Boxes.of([(1, 3, [1] * len(shape), [4] * len(shape))], len(shape))
    loss = tightness_loss(z, boxes)
    at = (slice(1, 4),) * len(shape)
    p = z.detach().softmax(1)[1, 2][at]
    sums = [p.amax([a for a in range(p.ndim) if a != axis]).sum() for axis in range(p.ndim)]
    torch.testing.assert_close(loss, -(sum(sums) / (3 * p.ndim)).log())
    loss.backward()
    outside = torch.ones(shape, dtype=torch.bool)
    outside[at] = False
    assert (z.grad[0] == 0).all()
    assert (z.grad[1][:, outside] == 0).all()
    assert (z.grad[1][:, ~outside] != 0).any()


@both
def test_lines_that_the_patch_cuts_off_do_not_count(shape: tuple[int, ...]) -> None:
    where = torch.zeros(shape, dtype=torch.bool)
    where[0] = True  # the object is seen at the border only
    start, stop = [1] * len(shape), [4] * len(shape)
    start[0], stop[0] = -3, 1  # the box reaches out of the patch along the first axis
    where[0] = False
    where[(0, *(slice(1, 4),) * (len(shape) - 1))] = True
    cut = Boxes.of([(0, 2, start, stop)], len(shape))
    assert tightness_loss(sure_of(where, 1), cut).item() == pytest.approx(0, abs=1e-9)
    empty = sure_of(torch.zeros(shape, dtype=torch.bool), 1)
    one_line = tightness_loss(empty, cut)  # the one line across the visible part is whole along the other axes
    assert one_line.item() > 5
    all_cut = Boxes.of([(0, 2, [-3] * len(shape), [1] * len(shape))], len(shape))
    assert tightness_loss(empty, all_cut).item() == 0


@both
def test_without_boxes_there_is_nothing_to_learn(shape: tuple[int, ...]) -> None:
    z = torch.randn(1, K, *shape, requires_grad=True)
    loss = tightness_loss(z, Boxes.of([], len(shape)))
    loss.backward()
    assert loss.item() == 0
    assert (z.grad == 0).all()


@both
def test_a_present_class_is_looked_for(shape: tuple[int, ...]) -> None:
    z = torch.randn(2, K, *shape, generator=rng(), dtype=torch.float64, requires_grad=True)
    present = torch.tensor([[False, True, False], [False, False, False]])
    loss = present_loss(z, present, share=0.1)
    loss.backward()
    assert (z.grad[1] == 0).all()
    top = z.detach()[0].softmax(0)[1].flatten().topk(round(0.1 * z[0, 0].numel())).indices
    assert (z.grad[0, 1].flatten()[top] < 0).all()  # raising any of them lowers the loss
    raised = z.detach().clone()
    raised[0, 1].view(-1)[top[-1]] += 0.5
    assert present_loss(raised, present, share=0.1) < loss
    assert present_loss(z, torch.zeros_like(present)).item() == 0


def test_the_top_of_a_tiny_map_is_one_pixel() -> None:
    values = torch.tensor([[[[1.0, 4.0]]]])
    assert top_share(values, 0.1).item() == 4


@both
def test_tags_of_a_patch_are_told_by_its_pixels(shape: tuple[int, ...]) -> None:
    allowed = torch.ones(3, K, *shape, dtype=torch.bool)
    pixel = (0,) * len(shape)
    allowed[(0, slice(None), *pixel)] = torch.tensor([False, True, False])
    allowed[1, 2] = False  # nowhere
    allowed[(2, slice(None), *pixel)] = False  # a conflict says nothing
    none = torch.zeros(3, K, dtype=torch.int8)
    present, weight = tag_targets(allowed, none)
    assert present.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert weight.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    said = none.clone()
    said[2] = torch.tensor([1, -1, 0])
    present, weight = tag_targets(allowed, said)
    assert present[2].tolist() == [1, 0, 0]
    assert weight[2].tolist() == [1, 1, 0]


@both
def test_unknown_tags_teach_the_classifier_nothing(shape: tuple[int, ...]) -> None:
    maps = torch.randn(2, K, *shape, generator=rng(), dtype=torch.float64, requires_grad=True)
    present = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    weight = torch.tensor([[1.0, 1, 0], [0, 0, 0]])
    loss = tag_loss(maps, present, weight)
    n = max(1, round(0.1 * maps[0, 0].numel()))
    score = maps.detach().flatten(2).sort(2, descending=True).values[..., :n].mean(2)
    expected = -(score[0, 0].sigmoid().log() + (-score[0, 1]).sigmoid().log()) / 2
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert (maps.grad[0, 2] == 0).all()
    assert (maps.grad[1] == 0).all()

"""The averaged teacher and the filter on its pseudo-labels."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_weakseg.engine.losses import soft_ce
from napari_weakseg.engine.teacher import Teacher, ramp, teacher_target


def network(value: float) -> nn.Module:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    for p in net.parameters():
        nn.init.constant_(p, value)
    return net


def test_first_update_copies_the_student() -> None:
    teacher = Teacher(network(0.0))
    student = network(0.3)
    student[1].running_mean.fill_(5.0)
    teacher.update(student)
    for a, b in zip(teacher.network.state_dict().values(), student.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_late_update_moves_by_one_hundredth() -> None:
    teacher = Teacher(network(0.0), decay=0.99)
    teacher.updates = 10_000
    teacher.update(network(1.0))
    for p in teacher.network.parameters():
        torch.testing.assert_close(p, torch.full_like(p, 0.01))


def test_early_updates_average_all_students_alike() -> None:
    teacher = Teacher(network(0.0))
    for value in (1.0, 2.0, 6.0):
        teacher.update(network(value))
    assert next(teacher.network.parameters()).mean().item() == pytest.approx(3.0)


def test_without_decay_the_teacher_is_the_student() -> None:
    teacher = Teacher(network(0.0), decay=0.0)
    for value in (1.0, 2.0):
        teacher.update(network(value))
    assert next(teacher.network.parameters()).mean().item() == 2.0


def test_teacher_takes_no_gradient_and_shares_no_memory() -> None:
    student = network(0.5)
    teacher = Teacher(student)
    x = torch.randn(2, 1, 8, 8)
    loss = (student(x) - teacher.network(x)).square().sum()
    loss.backward()
    teacher.update(student)
    assert not teacher.network.training
    assert all(p.grad is None and not p.requires_grad for p in teacher.network.parameters())
    assert all(p.grad is not None for p in student.parameters())
    with torch.no_grad():
        next(student.parameters()).fill_(9.0)
    assert next(teacher.network.parameters()).max() < 9


def test_a_decay_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="decay"):
        Teacher(network(0.0), decay=1.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from([(6, 5), (3, 4, 5)]))
def test_pseudo_labels_never_name_an_excluded_class(seed: int, shape: tuple[int, ...]) -> None:
    g = torch.Generator().manual_seed(seed)
    t = (3 * torch.randn(1, 4, *shape, generator=g)).softmax(1)
    allowed = torch.rand(1, 4, *shape, generator=g) < 0.5
    target, weight = teacher_target(t, allowed, min_mass=0.3, min_confidence=0.6)
    label = target.argmax(1)
    accepted = weight == 1
    assert torch.isfinite(target).all()
    assert (target[~allowed] == 0).all()
    assert allowed.gather(1, label.unsqueeze(1)).squeeze(1)[accepted].all()
    assert (target.amax(1)[accepted] >= 0.6).all()
    torch.testing.assert_close(target.sum(1)[accepted], torch.ones(int(accepted.sum())))
    free, weight = teacher_target(t, torch.ones_like(allowed), min_mass=0, min_confidence=0)
    torch.testing.assert_close(free, t)
    assert (weight == 1).all()


def test_belief_in_forbidden_classes_only_is_left_out() -> None:
    t = F.one_hot(torch.zeros(1, 3, 3, dtype=torch.long), 2).movedim(-1, 1).float()
    allowed = torch.zeros(1, 2, 3, 3, dtype=torch.bool)
    allowed[:, 1] = True
    target, weight = teacher_target(t, allowed)
    assert (weight == 0).all()
    assert torch.isfinite(target).all()
    z = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = soft_ce(z, target, weight, weight.numel())
    loss.backward()
    assert loss.item() == 0
    assert (z.grad == 0).all()


def test_half_the_confident_pixels_make_half_the_loss() -> None:
    t = torch.tensor([0.95, 0.05]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    everything = torch.ones(1, 2, 4, 4, dtype=torch.bool)
    z = torch.zeros(1, 2, 4, 4)
    target, weight = teacher_target(t, everything)
    whole = soft_ce(z, target, weight, 16)
    weight[..., :2] = 0
    torch.testing.assert_close(soft_ce(z, target, weight, 16), whole / 2)


def test_ramp_rises_from_nearly_nothing_to_one() -> None:
    assert ramp(0, 100) == pytest.approx(math.exp(-5))
    assert ramp(100, 100) == ramp(500, 100) == 1
    assert ramp(0, 0) == pytest.approx(math.exp(-5))
    assert all(ramp(i, 100) < ramp(i + 1, 100) for i in range(100))

"""Claims gain weight where their gradients agree with those of exact marks, and lose it where they do not."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_weakseg.engine.losses import project, soft_ce
from napari_weakseg.engine.trust import ClaimWeights, agreement, balanced_weight, last_layer_gradient

SHAPES = [(5, 7), (3, 4, 5)]
K, FEATURES = 3, 4
both = pytest.mark.parametrize("shape", SHAPES, ids=["2d", "3d"])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@both
@pytest.mark.parametrize("kind", ["one class", "set", "weighted"])
def test_the_closed_form_equals_autograd(shape: tuple[int, ...], kind: str) -> None:
    f = torch.randn(2, FEATURES, *shape, generator=rng(), dtype=torch.float64)
    layer = torch.nn.Linear(FEATURES, K).double()
    z = layer(f.movedim(1, -1)).movedim(-1, 1)
    p = z.detach().softmax(1)
    labels = torch.randint(0, K, (2, *shape), generator=rng(1))
    target = F.one_hot(labels, K).movedim(-1, 1).double()
    if kind == "set":  # what the set loss pulls to: the prediction, restricted to two of the classes
        target, _ = project(p, (torch.arange(K) != 2).view(1, K, *[1] * len(shape)).expand_as(p))
    weight = (
        torch.rand(2, *shape, generator=rng(2), dtype=torch.float64) if kind == "weighted" else torch.ones(2, *shape)
    )
    group = torch.randint(-1, 3, (2, *shape), generator=rng(3))
    found = last_layer_gradient(f, p, target, weight, group, 4)
    for g in range(4):
        loss = soft_ce(z, target, weight * (group == g), 1.0)
        slope, bias = torch.autograd.grad(loss, [layer.weight, layer.bias], retain_graph=True)
        expected = torch.cat([slope, bias[:, None]], 1).flatten()
        torch.testing.assert_close(found[g], expected, rtol=1e-12, atol=1e-12)
    assert (found[3] == 0).all()


@both
def test_agreement_is_the_influence_of_a_look_ahead_step(shape: tuple[int, ...]) -> None:
    """-alpha <g_S, g_k> is what one step on claim k does to the exact loss, so both have one sign."""
    f = torch.randn(1, FEATURES, *shape, generator=rng(), dtype=torch.float64)
    weights = torch.randn(K, FEATURES, generator=rng(1), dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, K, (2, 1, *shape), generator=rng(2))

    def loss(w: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(torch.einsum("kf,nf...->nk...", w, f), y)

    gamma = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (of_claim,) = torch.autograd.grad(loss(weights, labels[0]), weights)
    ahead = loss(weights.detach() - 0.1 * gamma * of_claim, labels[1])
    (influence,) = torch.autograd.grad(ahead, gamma)
    (of_exact,) = torch.autograd.grad(loss(weights, labels[1]), weights)
    cosine = agreement(of_claim.flatten()[None], of_exact.flatten())
    torch.testing.assert_close(influence, -0.1 * (of_claim * of_exact).sum())
    assert np.sign(cosine[0]) == -np.sign(influence.item())


def test_agreement_does_not_depend_on_size_and_is_unknown_without_a_gradient() -> None:
    exact = torch.tensor([1.0, 0.0])
    claims = torch.tensor([[2.0, 0], [-7, 0], [0, 3], [0, 0]])
    found = agreement(claims, exact)
    np.testing.assert_allclose(found[:3], [1, -1, 0])
    assert np.isnan(found[3])
    np.testing.assert_allclose(agreement(10 * claims, 0.01 * exact)[:3], found[:3])
    assert np.isnan(agreement(claims, torch.zeros(2))).all()


def test_steps_are_long_at_first_and_only_those_asked_for_move() -> None:
    weights = ClaimWeights(rate=0.01)
    at = weights.index([("a", 1), ("a", 2), ("b", 1), ("b", 2)])
    for expected in ([0.56, 0.44, 0.5, 0.5], [0.59, 0.41, 0.5, 0.5]):
        weights.update(at[:3], np.array([0.3, -0.7, np.nan]))
        np.testing.assert_allclose(weights.values, expected, atol=1e-6)
    for _ in range(20):
        before = weights.values
        weights.update(at[:1], np.array([0.3]))
    assert weights.values[0] - before[0] == pytest.approx(0.01, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), max_size=40))
def test_weights_never_leave_their_bounds(rounds: list[list[float]]) -> None:
    weights = ClaimWeights(rate=0.2)
    at = weights.index([(i,) for i in range(3)])
    for agreements in rounds:
        weights.update(at, np.array(agreements))
        assert ((weights.values >= 0) & (weights.values <= 1)).all()


def test_a_weight_of_zero_can_come_back() -> None:
    weights = ClaimWeights(rate=0.1)
    at = weights.index([("a",)])
    for _ in range(30):
        weights.update(at, np.array([-1.0]))
    assert weights.values[0] == 0
    for _ in range(200):
        weights.update(at, np.array([1.0]))
    assert weights.values[0] == 1


def test_small_objects_have_the_weight_of_their_image() -> None:
    weights = ClaimWeights()
    at = weights.index([("image",), ("image", 1), ("image", 2)])
    weights._state[:, 0] = 0.2, 1.0, 1.0
    weights._state[:, 3] = 7, 1, 9
    joined = weights.joined(at[1:], at[[0, 0]], np.array([200, 10]))
    np.testing.assert_allclose(joined, [(200 * 1 + 200 * 0.2) / 400, 0.2], rtol=1e-6)


def test_an_object_counts_for_itself_the_more_often_it_was_seen() -> None:
    weights = ClaimWeights()
    at = weights.index([("image",), ("image", 1), ("image", 2)])
    weights._state[:, 0] = 0.2, 1.0, 0.5
    weights._state[:, 3] = 7, 3, 0
    joined = weights.joined(at[1:], at[[0, 0]], np.array([200, 200]))
    np.testing.assert_allclose(joined, [(3 * 200 * 1 + 200 * 0.2) / 800, 0.2], rtol=1e-6)


def test_weights_come_back_from_json_and_go_on_alike() -> None:
    weights, again = ClaimWeights(), ClaimWeights()
    keys = [("a", (0, 1), 5), ("b", (), 7)]
    at = weights.index(keys)
    weights.update(at, np.array([0.5, -0.5]))
    again.restore(json.loads(json.dumps(weights.save())))
    assert again.by_key() == weights.by_key()
    for w in (weights, again):
        w.update(w.index(keys[::-1]), np.array([0.9, 0.9]))
    np.testing.assert_array_equal(weights.values, again.values)


def test_every_class_counts_alike() -> None:
    labels = torch.tensor([0, 1, 1, 1, 1, 2])
    weight = balanced_weight(labels, 3)
    assert weight.tolist() == [0, 0.25, 0.25, 0.25, 0.25, 1]


def test_corrupted_claims_of_a_separable_toy_lose_their_weight() -> None:
    """Half of the claims are turned round; a linear model learns from all and tells them apart."""
    generator = rng()
    centre = torch.tensor([[-1.0, 0], [1.0, 0]])
    y = torch.randint(0, 2, (21, 64), generator=generator)
    x = centre[y] + 0.6 * torch.randn(21, 64, 2, generator=generator)
    claimed = y.clone()
    claimed[11:] = 1 - claimed[11:]  # 0: exact, 1-10 clean, 11-20 corrupt
    layer = torch.nn.Linear(2, 2)
    weights = ClaimWeights()
    at = weights.index([(i,) for i in range(20)])
    optimizer = torch.optim.SGD(layer.parameters(), 0.5)
    group = torch.arange(20).view(20, 1).expand(20, 64)
    for _ in range(100):
        z = layer(x).movedim(-1, 1)
        trust = torch.cat([torch.ones(1), torch.from_numpy(weights.values)])
        loss = (F.cross_entropy(z, claimed, reduction="none").mean(1) * trust).sum()
        p, t, f = z.detach().softmax(1), F.one_hot(claimed, 2).movedim(-1, 1), x.movedim(-1, 1)
        exact = last_layer_gradient(f[:1], p[:1], t[:1], torch.ones(1, 64), torch.zeros(1, 64, dtype=torch.int64), 1)
        of_claims = last_layer_gradient(f[1:], p[1:], t[1:], torch.ones(20, 64), group, 20)
        weights.update(at, agreement(of_claims, exact[0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert weights.values[:10].mean() - weights.values[10:].mean() > 0.2

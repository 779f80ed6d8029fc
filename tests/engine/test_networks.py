"""The network: sizes, and that a prediction depends on what is near alone."""

import pytest
import torch

from napari_weakseg.engine.networks import UNet, padded_size, with_classes


def network(ndim: int = 2, channels: int = 1, classes: int = 3) -> UNet:
    torch.manual_seed(0)
    result = UNet(ndim, channels, classes, width=8)
    for x in (2, 4):  # running statistics that are not those of the start
        result.train()(torch.randn(x, channels, *[32] * ndim))
    return result.eval()


@pytest.mark.parametrize(("ndim", "shape"), [(2, (32, 48)), (3, (16, 32, 16))])
def test_says_everything_at_every_pixel(ndim: int, shape: tuple[int, ...]) -> None:
    out = network(ndim, 2, 4)(torch.randn(2, 2, *shape))
    assert out.logits.shape == (2, 4, *shape)
    assert out.approximation.shape == (2, 5, *shape)
    assert out.separation.shape == (2, 1, *shape)
    assert [level.shape[2] for level in out.features] == [shape[0] // n for n in (16, 8, 4, 2, 1)]


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_weight_learns(ndim: int) -> None:
    model = UNet(ndim, 1, 2, width=8)
    out = model(torch.randn(2, 1, *[32] * ndim))
    (out.logits.square().mean() + out.approximation.square().mean() + out.separation.square().mean()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@torch.no_grad()
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_prediction_does_not_depend_on_its_batch_mates(ndim: int) -> None:
    model, image = network(ndim), torch.randn(3, 1, *[32] * ndim)
    together = model(image).logits
    for i in range(3):
        torch.testing.assert_close(model(image[i : i + 1]).logits[0], together[i], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_prediction_does_not_depend_on_the_size_of_its_tile() -> None:
    model, image = network(), torch.randn(1, 1, 480, 480)
    whole, tile = model(image).logits, model(image[..., 64:464, 64:464]).logits
    away = 160
    inside = tile[..., away:-away, away:-away]
    there = whole[..., 64 + away : 464 - away, 64 + away : 464 - away]
    torch.testing.assert_close(inside, there, atol=1e-4, rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_classes_that_stay_keep_their_scores(classes: int) -> None:
    model, image = network(classes=3), torch.randn(1, 1, 32, 32)
    before, after = model(image), with_classes(model, classes)(image)
    n = min(3, classes)
    assert after.logits.shape[1] == classes
    assert after.approximation.shape[1] == classes + 1
    torch.testing.assert_close(after.logits[:, :n], before.logits[:, :n])
    torch.testing.assert_close(after.approximation[:, : n + 1], before.approximation[:, : n + 1])


def test_fixing_the_scale_makes_inputs_even() -> None:
    model = UNet(2, 1, 2, width=8)
    image = 5 + 3 * torch.randn(1, 64, 64)
    model.standardise([image])
    assert model.centre[0].item() == pytest.approx(5, abs=0.3)
    assert model.spread[0].item() == pytest.approx(3, abs=0.3)
    model.standardise([torch.ones(1, 16, 16)])
    assert torch.isfinite(model.eval()(torch.ones(1, 1, 16, 16)).logits).all()


def test_sizes_are_rounded_up() -> None:
    assert padded_size((1, 16, 17), (8, 16, 16)) == (8, 16, 32)


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_optional_head_says_something_and_learns(ndim: int) -> None:
    side = 32
    model = UNet(ndim, 1, 3, width=8, heads=("levels", "tags", "decoder"))
    out = model(torch.randn(2, 1, *[side] * ndim))
    assert [level.shape[1:] for level in out.levels] == [(3, *[side // n] * ndim) for n in (16, 8, 4, 2, 1)]
    assert out.class_maps is not None
    assert out.class_maps.shape == (2, 3, *[side // 16] * ndim)
    assert out.second is not None
    assert out.second.shape == out.logits.shape
    parts = [out.logits, out.approximation, out.separation, *out.levels, out.class_maps, out.second]
    torch.stack([part.square().mean() for part in parts]).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@torch.no_grad()
def test_a_second_network_is_another_one_and_takes_new_classes_too() -> None:
    model, image = UNet(2, 1, 2, width=8, heads=("network", "levels", "tags")).eval(), torch.randn(1, 1, 32, 32)
    model.standardise([image[0] * 3 + 5])
    before, after = model(image), with_classes(model, 4)(image)
    assert before.second is not None
    assert after.second is not None
    assert not torch.equal(before.second, before.logits)
    assert torch.equal(after.second[:, :2], before.second)
    assert torch.equal(after.levels[0][:, :2], before.levels[0])
    assert after.class_maps is not None
    assert after.class_maps.shape[1] == 4
    assert model.twin is not None
    assert model.twin.centre.item() == pytest.approx(model.centre.item())

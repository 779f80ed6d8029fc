"""Image and knowledge move together, and grey values change without moving anything."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_weakseg.engine.augment import Geometry, View, apply_geometry, sample_geometry, views
from napari_weakseg.engine.intensity import Intensity, apply_intensity, sample_intensity

SHAPES = [(12, 12), (5, 8, 8)]
both = pytest.mark.parametrize("shape", SHAPES, ids=["2d", "3d"])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(shape: tuple[int, ...], n: int = 3, seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    g = rng(seed)
    image = torch.rand(n, 2, *shape, generator=g)
    fields = {
        "allowed": torch.randint(0, 2**31 - 1, (n, *shape), generator=g, dtype=torch.int32),
        "painted": torch.rand(n, *shape, generator=g) < 0.5,
        "seeds": torch.randint(0, 300, (n, *shape), generator=g, dtype=torch.int32),
        "claim": torch.rand(n, 3, *shape, generator=g),
    }
    return image, fields


view_of = {
    2: st.builds(View, st.integers(0, 3), st.sets(st.sampled_from([-1, -2])).map(tuple)),
    3: st.builds(View, st.integers(0, 3), st.sets(st.sampled_from([-1, -2, -3])).map(tuple)),
}


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([(4, 4), (4, 6), (3, 4, 4), (2, 3, 5)]))
def test_undoing_a_view_gives_the_array_back(data: st.DataObject, shape: tuple[int, ...]) -> None:
    view = data.draw(view_of[len(shape)])
    x = torch.rand(2, *shape)
    assert torch.equal(view.undo(view.apply(x)), x)
    assert torch.equal(view.apply(view.undo(x)), x)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([(4, 6), (7, 5), (3, 4, 6)]))
def test_a_box_moves_with_its_pixels(data: st.DataObject, shape: tuple[int, ...]) -> None:
    view = data.draw(view_of[len(shape)])
    start = [data.draw(st.integers(0, s - 1)) for s in shape]
    stop = [data.draw(st.integers(a + 1, s)) for a, s in zip(start, shape, strict=True)]
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[tuple(map(slice, start, stop))] = True
    turned = view.apply(mask)
    expected = torch.zeros_like(turned)
    lo, hi = view.box(start, stop, shape)
    expected[tuple(map(slice, lo, hi))] = True
    assert torch.equal(turned, expected)


@both
def test_views_are_distinct_and_start_with_the_image_itself(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape)
    seen = views(len(shape))
    assert seen[0] == View()
    assert len({v.apply(x).numpy().tobytes() for v in seen}) == len(seen) == 8
    assert views(len(shape), "fixed") == (View(),)
    assert all(v.apply(torch.zeros(2, 3, 5)).shape == (2, 3, 5) for v in views(len(shape), square=False))


@both
def test_flips_and_turns_move_image_and_fields_alike(shape: tuple[int, ...]) -> None:
    image, fields = batch(shape)
    geometry = sample_geometry(3, shape, orientation="any", generator=rng(), resampled_share=0)
    moved, turned = apply_geometry(image, fields, geometry)
    for i, view in enumerate(geometry.views):
        assert torch.equal(moved[i], view.apply(image[i]))
        for name, x in fields.items():
            assert torch.equal(turned[name][i], view.apply(x[i]))
            assert torch.equal(view.undo(turned[name][i]), x[i])
    assert {v for s in range(20) for v in sample_geometry(9, shape, orientation="any", generator=rng(s)).views} > {
        View(0),
        View(1),
        View(2),
        View(3),
    }


@both
def test_an_image_with_an_up_and_a_down_is_neither_turned_nor_flipped(shape: tuple[int, ...]) -> None:
    image, fields = batch(shape)
    geometry = sample_geometry(3, shape, orientation="fixed", generator=rng(), resampled_share=0)
    moved, turned = apply_geometry(image, fields, geometry)
    assert torch.equal(moved, image)
    assert all(torch.equal(turned[k], fields[k]) for k in fields)


def test_a_plane_that_is_not_square_takes_half_turns_only() -> None:
    geometry = sample_geometry(64, (6, 8), orientation="any", generator=rng())
    assert {v.turns for v in geometry.views} == {0, 2}


@both
def test_resampling_by_nothing_changes_nothing(shape: tuple[int, ...]) -> None:
    image, fields = batch(shape)
    same = Geometry((View(),) * 3, torch.eye(2).expand(3, 2, 2))
    moved, resampled = apply_geometry(image, fields, same, outside={"allowed": -1})
    torch.testing.assert_close(moved, image, atol=1e-5, rtol=0)
    for name in ("allowed", "painted", "seeds"):
        assert torch.equal(resampled[name], fields[name])
    torch.testing.assert_close(resampled["claim"], fields["claim"], atol=1e-5, rtol=0)


@both
def test_resampling_keeps_sets_and_ids_whole_and_knows_nothing_beyond_the_border(
    shape: tuple[int, ...],
) -> None:
    image, fields = batch(shape)
    away = Geometry((View(),) * 3, 2.0 * torch.eye(2).expand(3, 2, 2))
    moved, resampled = apply_geometry(image, fields, away, outside={"allowed": 14})
    assert torch.isfinite(moved).all()
    for name in ("allowed", "painted", "seeds", "claim"):
        assert resampled[name].dtype == fields[name].dtype
        assert resampled[name].shape == fields[name].shape
    corner = (slice(None), ..., 0, 0)
    assert (resampled["allowed"][corner] == 14).all()
    assert not resampled["painted"][corner].any()
    assert (resampled["seeds"][corner] == 0).all()
    assert (resampled["claim"][corner] == 0).all()
    known = set(fields["allowed"].flatten().tolist()) | {14}
    assert set(resampled["allowed"].flatten().tolist()) <= known


@both
def test_a_quarter_turn_by_resampling_equals_the_exact_one(shape: tuple[int, ...]) -> None:
    image, fields = batch(shape)
    quarter = torch.tensor([[0.0, 1.0], [-1.0, 0.0]]).expand(3, 2, 2)
    moved, resampled = apply_geometry(image, fields, Geometry((View(),) * 3, quarter))
    exact, turned = apply_geometry(image, fields, Geometry((View(1),) * 3))
    torch.testing.assert_close(moved, exact, atol=1e-5, rtol=0)
    for name in ("allowed", "painted", "seeds"):
        assert torch.equal(resampled[name], turned[name])


def test_image_and_sets_stay_aligned_under_rotation_and_scale() -> None:
    y, x = np.mgrid[:64, :64]
    disc = torch.from_numpy(np.hypot(y - 24, x - 38) < 12)
    image = disc.float().expand(8, 1, 64, 64)
    geometry = sample_geometry(8, (64, 64), orientation="any", generator=rng(), resampled_share=1)
    assert geometry.affine is not None
    moved, fields = apply_geometry(image, {"painted": disc.expand(8, 64, 64)}, geometry)
    agreement = ((moved[:, 0] > 0.5) == fields["painted"]).float().mean()
    assert agreement > 0.995
    areas = fields["painted"].flatten(1).sum(1)
    assert (areas < 1.7 * disc.sum()).all()
    assert (areas > 0.6 * disc.sum()).all()


def test_same_seed_draws_the_same_augmentation() -> None:
    image, fields = batch((12, 12))
    results = []
    for _ in range(2):
        g = rng(5)
        moved, turned = apply_geometry(
            image, fields, sample_geometry(3, (12, 12), orientation="any", generator=g, resampled_share=1)
        )
        results.append((apply_intensity(moved, sample_intensity(3, 2, generator=g)), turned["allowed"]))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@both
def test_no_strength_leaves_the_grey_values(shape: tuple[int, ...]) -> None:
    image, _ = batch(shape)
    quiet = sample_intensity(3, 2, generator=rng(), strength=0)
    torch.testing.assert_close(apply_intensity(image, quiet), image, atol=2e-6, rtol=0)


@both
def test_grey_values_follow_the_drawn_numbers(shape: tuple[int, ...]) -> None:
    image, _ = batch(shape)
    image = image - 0.5
    intensity = Intensity(
        gain=torch.full((3, 2), 2.0),
        offset=torch.full((3, 2), 0.25),
        gamma=torch.full((3, 2), 3.0),
        noise=torch.zeros(3, 2),
        blur=(0.0, 0.0, 0.0),
        seed=0,
    )
    torch.testing.assert_close(apply_intensity(image, intensity), 2 * image**3 + 0.25)


@both
def test_blur_keeps_the_mean_of_a_spot_and_only_blurs_the_drawn_samples(shape: tuple[int, ...]) -> None:
    image = torch.zeros(2, 1, *shape)
    image[..., shape[-2] // 2, shape[-1] // 2] = 1.0
    one = torch.ones(2, 1)
    blurred = apply_intensity(image, Intensity(one, 0 * one, one, 0 * one, (0.0, 1.0), 0))
    torch.testing.assert_close(blurred[0], image[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(blurred[1].sum(), image[1].sum(), atol=2e-3, rtol=0)
    assert blurred[1].max() < 0.3


def test_noise_has_the_drawn_spread() -> None:
    one = torch.ones(1, 1)
    noisy = apply_intensity(torch.zeros(1, 1, 256, 256), Intensity(one, 0 * one, one, 0.1 * one, (0.0,), 3))
    assert noisy.std().item() == pytest.approx(0.1, rel=0.02)


def test_patches_are_zoomed_both_ways_and_no_further() -> None:
    geometry = sample_geometry(400, (8, 8), orientation="fixed", generator=rng(), resampled_share=1, zoom=2)
    assert geometry.affine is not None
    scales = torch.linalg.det(geometry.affine).sqrt()
    assert 0.5 <= scales.min() < 0.52
    assert 1.9 < scales.max() <= 2

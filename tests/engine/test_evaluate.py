"""Held-out marks: which, that they stay so, and what they say."""

from collections import deque
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.core.project import Project
from napari_weakseg.engine.evaluate import hold_out, quality
from napari_weakseg.engine.growing import claim_outline, take_claims
from napari_weakseg.engine.growth import Evidence, GrowthRules
from napari_weakseg.engine.store import BlockStore

MakeProject = Callable[..., Project]


def filled(project: Project, seed: int = 0) -> BlockStore:
    store = BlockStore(project, np.random.default_rng(seed))
    deque(store.scan(), maxlen=0)
    while store.read_one() is not None:
        pass
    store.settle()
    return store


def blobs(n: int, shape: tuple[int, int] = (120, 120), *, skip: int = -1) -> NDArray[np.uint8]:
    """Lay n blobs of class 2 out on a grid, and a line of background below."""
    labels = np.zeros(shape, np.uint8)
    for i in range(n):
        if i != skip:
            y, x = divmod(i, 11)
            labels[10 * y + 12 : 10 * y + 16, 10 * x + 4 : 10 * x + 8] = 2
    labels[-3:] = 1
    return labels


def project_of(make_project: MakeProject, *labels: NDArray[np.uint8]) -> Project:
    project = make_project()
    for i, each in enumerate(labels):
        project.add_image(np.zeros(each.shape, np.uint8), name=f"{i}", axes="YX").paint(each)
    return project


def test_about_one_blob_in_eight_is_spared(make_project: MakeProject) -> None:
    store = filled(project_of(make_project, *[blobs(99)] * 4))
    shares = [block.held_out.sum() / (99 * 16) for block in store.blocks]
    assert 0.06 < float(np.mean(shares)) < 0.2
    assert len({block.held_out.tobytes() for block in store.blocks}) == 4  # not the same ones in every image


def test_few_marks_are_all_learned_from(make_project: MakeProject) -> None:
    store = filled(project_of(make_project, blobs(15)))
    assert not store.blocks[0].held_out.any()


def test_training_never_knows_what_is_held_out(make_project: MakeProject) -> None:
    (block,) = filled(project_of(make_project, blobs(99))).blocks
    spared = block.held_out
    assert spared.any()
    assert (block.knowledge.painted[spared]).all()
    assert (block.allowed[spared] == block.knowledge.full).all()
    known = np.zeros(block.shape, bool)
    for at in block.marked_at.values():
        known.ravel()[at] = True
    assert not (known & spared).any()
    assert (known | spared)[block.knowledge.painted].all()


def test_what_grows_from_held_out_blobs_is_not_claimed(make_project: MakeProject) -> None:
    (block,) = filled(project_of(make_project, blobs(99))).blocks
    assert block.growth is not None
    p = np.full((2, *block.shape), 0.02, np.float32)
    p[1] = 0.98
    block.growth = block.growth.advanced(Evidence(p, block.knowledge.allowed), GrowthRules((2.0, 2.0)))
    take_claims(block, p, everywhere=False)
    spared = np.unique(block.knowledge.seeds[block.held_out])
    grown = np.isin(block.growth.ids, spared[spared > 0])
    assert grown.sum() > block.held_out.sum()
    assert not block.claim[grown].any()
    assert not block.claim_weight[grown].any()
    assert (block.approximation[grown] == 255).all()
    assert (block.claim == 2).any()


def test_background_is_not_claimed_where_it_is_held_out(make_project: MakeProject) -> None:
    (block,) = filled(project_of(make_project, blobs(99))).blocks
    held = block.held_out & (block.knowledge.certain == 1)
    assert held.any()
    p = np.full((2, *block.shape), 0.02, np.float32)
    p[0] = 0.98
    take_claims(block, p, everywhere=True)
    assert (block.claim == 1).any()
    assert not block.claim[held].any()


def test_some_of_the_marks_that_are_painted_while_training_are_held_out(make_project: MakeProject) -> None:
    project = project_of(make_project, blobs(22), np.zeros((120, 120), np.uint8))
    store = filled(project)
    before = {block.place.image: block.held_out.copy() for block in store.blocks}
    labels = blobs(99)
    project.images["0"].paint(labels[30:], start=(30, 0))
    (block,) = store.changed("0")
    new = block.held_out & ~before["0"]
    assert new.any()
    assert not new[:30].any()  # what was learned from stays so
    assert (block.held_out >= before["0"]).all()
    assert 0.04 < new[labels == 2].sum() / (77 * 16) < 0.25
    for seed in np.unique(block.knowledge.seeds[new])[1:]:
        assert block.held_out[block.knowledge.seeds == seed].all()
    assert not any((block.marked_at[c][:, None] == np.flatnonzero(new)).any() for c in (1, 2))


def test_outlines_of_held_out_blobs_are_not_claimed(make_project: MakeProject) -> None:
    project = make_project()
    truth = ndimage.binary_dilation(blobs(99) == 2, iterations=2)
    image = project.add_image(truth.astype(np.float32), name="0", axes="YX")
    image.paint(blobs(99))
    (block,) = filled(project).blocks
    claim_outline(block, 0.5, everywhere=True)
    near = ndimage.binary_dilation(block.held_out, iterations=2)
    assert block.held_out.any()
    assert (block.claim == 2).any()
    assert not (block.claim[near] == 2).any()


def test_a_mark_stays_held_out_whatever_else_is_painted(make_project: MakeProject) -> None:
    project = project_of(make_project, blobs(60, skip=0), blobs(60))
    before = {block.place.image: block.held_out.copy() for block in filled(project).blocks}
    first = np.zeros((4, 4), np.uint8) + 2  # in front of all others, so that every blob gets another number
    project.images["0"].paint(first, start=(12, 4))
    project.images["1"].paint(np.where(blobs(80) == 2, 2, blobs(60)))
    for block in filled(project, seed=5).blocks:
        old = blobs(60, skip=0 if block.place.image == "0" else -1) > 0
        np.testing.assert_array_equal(block.held_out & old, before[block.place.image])


def test_a_held_out_blob_that_is_erased_is_held_out_no_more(make_project: MakeProject) -> None:
    project = project_of(make_project, blobs(99))
    store = filled(project)
    (block,) = store.blocks
    spared = block.held_out.copy()
    project.images["0"].paint(np.where(spared, 0, blobs(99)))
    store.changed("0")
    assert not (block.held_out & spared).any()


def exact(make_project: MakeProject, n: int) -> Project:
    project = make_project()
    for i in range(n):
        labels = np.zeros((20, 40), np.uint8)
        labels[5:15, 5:36] = 2
        image = project.add_image(np.zeros((20, 40), np.uint8), name=f"{i}", axes="YX")
        image.paint(labels)
        image.coverage(None, "exact")
    return project


def test_of_every_third_exact_block_a_quarter_is_held_out(make_project: MakeProject) -> None:
    store = filled(exact(make_project, 6))
    shares = {int(block.place.image): block.held_out.mean() for block in store.blocks}
    assert [i for i in range(6) if shares[i]] == [2, 5]
    assert shares[2] == 0.25
    block = next(block for block in store.blocks if block.place.image == "2")
    assert block.held_out[:, 30:].all()
    store.changed("2")
    assert block.held_out[:, 30:].all()


def test_a_stroke_in_an_exact_block_leaves_held_out_background_held_out(make_project: MakeProject) -> None:
    project = exact(make_project, 3)
    store = filled(project)
    project.images["2"].paint(np.full((3, 3), 2, np.uint8), start=(0, 0))
    store.changed("2")
    block = next(block for block in store.blocks if block.place.image == "2")
    assert block.held_out[:, 30:].all()


def test_quality_is_the_mean_dice_on_held_out_pixels(make_project: MakeProject) -> None:
    store = filled(exact(make_project, 3))
    truth = np.ones((20, 40), int)
    truth[5:15, 5:36] = 2

    def answering(labels: NDArray[np.int_]) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        return lambda pixels: np.stack([labels == 1, labels == 2]).astype(np.float32)

    assert quality(store.blocks, answering(truth), 2) == (1.0, 200)
    assert quality(store.blocks, answering(3 - truth), 2) == (0.0, 200)
    score, n = quality(store.blocks, answering(np.ones_like(truth)), 2)
    n_object = 10 * 6
    assert n == 200
    assert score == (2 * (200 - n_object) / (200 + 200 - n_object) + 0) / 2


def test_no_quality_without_held_out_marks(make_project: MakeProject) -> None:
    store = filled(exact(make_project, 1))
    hold_out(store.blocks[0], 0, [0, 0, 1])

    def never(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        raise AssertionError("nothing to judge")

    assert quality(store.blocks, never, 2) == (None, 0)


def test_background_is_held_out_in_some_images_with_objects(make_project: MakeProject) -> None:
    """Else nothing would tell whether objects swell into it; in all, too little would be left to learn from."""
    labels = blobs(99)
    store = filled(project_of(make_project, *[labels] * 12))
    shares = [float(block.held_out[labels == 1].mean()) for block in store.blocks]
    assert 0 < sum(share > 0 for share in shares) < 12
    assert max(shares) < 0.3
    assert all(block.held_out[labels == 2].any() and 1 in block.marked_at for block in store.blocks)


def test_a_little_background_is_all_learned_from(make_project: MakeProject) -> None:
    labels = blobs(99)
    labels[-3:, 40:] = 0
    (block,) = filled(project_of(make_project, labels)).blocks
    assert block.held_out[labels == 2].any()
    assert not block.held_out[labels == 1].any()


def test_few_objects_and_two_strokes_are_all_learned_from(make_project: MakeProject) -> None:
    labels = blobs(3)
    labels[60:63] = 1
    (block,) = filled(project_of(make_project, labels)).blocks
    assert not block.held_out.any()


def everywhere_an_object(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([np.zeros(pixels.shape[1:], np.float32), np.ones(pixels.shape[1:], np.float32)])


@pytest.mark.parametrize("window_px", [256, 24])
def test_a_network_that_sees_objects_everywhere_is_not_good(make_project: MakeProject, window_px: int) -> None:
    store = filled(project_of(make_project, blobs(99)))
    score, n = quality(store.blocks, everywhere_an_object, 2, window_px=window_px)
    assert score is not None
    assert score < 0.6
    assert n <= store.blocks[0].held_out.sum()


def test_no_quality_where_one_class_is_held_out(make_project: MakeProject) -> None:
    objects = np.where(blobs(99) == 2, 2, 0).astype(np.uint8)
    store = filled(project_of(make_project, objects))
    assert store.blocks[0].held_out.any()
    assert quality(store.blocks, everywhere_an_object, 2) == (None, 0)

"""While few images are marked, the forest is kept as far as it is right about images that it has not seen."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_weakseg.core.project import Project
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.early import EarlyForest
from napari_weakseg.engine.forest import PixelForest
from napari_weakseg.engine.store import BlockStore
from napari_weakseg.engine.unseen_images import UnseenImages

MakeProject = Callable[..., Any]


def store_of(make_project: MakeProject, images: int, *, alike: bool, speckled: bool = False) -> BlockStore:
    """Images with a bright object, or specks of it; where they are not alike, nothing in them tells where it is."""
    rng = np.random.default_rng(0)
    project = make_project()
    for i in range(images):
        labels = np.zeros((48, 48), np.uint8)
        labels[10:22, 10:22], labels[34:46] = 2, 1
        if speckled:
            labels = rng.integers(1, 3, (12, 12), np.uint8).repeat(4, 0).repeat(4, 1)
        pixels = np.where(labels == 2, 0.9, 0.3) if alike else np.full(labels.shape, 0.5)
        project.add_image(pixels + rng.normal(0, 0.05, labels.shape), name=f"i{i}", axes="YX").paint(labels)
    return filled(project)


def filled(project: Project) -> BlockStore:
    store = BlockStore(project, np.random.default_rng(0))
    list(store.scan())
    while store.read_one():
        pass
    store.settle()
    return store


def told(blocks: list[Block]) -> list[Block]:
    """Tell where objects are and where none is."""
    for block in blocks:
        block.follows = block.open = block.allowed.size
    return blocks


def looked(blocks: list[Block], turns: int = 4) -> UnseenImages:
    unseen, forest = UnseenImages(seed=0), PixelForest(2, 1, 2, seed=0, jobs=1)
    for _ in range(turns):
        unseen.look(blocks, forest)
    return unseen


def test_it_is_kept_where_images_look_alike_and_less_the_more_are_marked(make_project: MakeProject) -> None:
    shares = [looked(told(store_of(make_project, n, alike=True).blocks)).share for n in (3, 4, 8)]
    assert shares[0] > 0.7
    assert shares[1] > 0.7
    assert 0.3 < shares[2] < 0.45


def test_it_is_not_kept_where_looks_tell_nothing(make_project: MakeProject) -> None:
    assert looked(told(store_of(make_project, 4, alike=False).blocks)).share == 0


def test_with_few_marks_in_a_few_images_half_of_it_stays_whatever_it_tells(make_project: MakeProject) -> None:
    assert looked(store_of(make_project, 4, alike=False).blocks).share == 0.5
    assert looked(store_of(make_project, 8, alike=False).blocks).share == 0.25


def test_it_is_not_kept_with_many_images(make_project: MakeProject) -> None:
    assert looked(store_of(make_project, 13, alike=True).blocks).share == 0


@pytest.mark.parametrize(
    ("images", "alike", "low", "high"), [(9, True, 0.9, 1), (13, True, 0.9, 1), (13, False, 0, 0.8)]
)
def test_how_often_it_is_right_about_images_left_out_of_many(
    make_project: MakeProject, images: int, *, alike: bool, low: float, high: float
) -> None:
    blocks = store_of(make_project, images, alike=alike).blocks
    right = looked(blocks).right_from_many
    assert right is not None
    assert low <= right <= high
    assert looked(blocks, 3).right_from_many is None


def test_with_few_images_there_is_nothing_to_compare_a_network_with(make_project: MakeProject) -> None:
    assert looked(store_of(make_project, 8, alike=True).blocks).right_from_many is None


def test_many_images_are_not_looked_at_in_vain(make_project: MakeProject) -> None:
    """Neither for a forest that is silent nor where held-out marks judge."""
    blocks = store_of(make_project, 13, alike=True).blocks
    unseen, forest = UnseenImages(seed=0), PixelForest(2, 1, 2, seed=0, jobs=1)
    unseen.look(blocks, forest, counts=False)
    assert unseen.save()["parts"] == []
    unseen.look(blocks, forest)
    assert len(unseen.save()["parts"]) == 13
    for block in blocks[:2]:
        block.held_out[:, :24] = block.knowledge.painted[:, :24]
        block.refresh()
    assert looked(blocks).save()["parts"] == []


@pytest.mark.parametrize(
    ("images", "alike", "knows", "stays"),
    [(9, False, True, False), (9, False, False, True), (9, True, True, True), (8, False, True, True)],
)
def test_it_goes_where_the_network_is_right_about_many_images_and_it_about_none(
    make_project: MakeProject, images: int, *, alike: bool, knows: bool, stays: bool
) -> None:
    store = store_of(make_project, images, alike=alike)
    early = EarlyForest(store, np.random.default_rng(0), seed=0, wanted=True)
    early.begin(2, 1, 2)
    early.learn(0)

    def network(pixels: np.ndarray) -> np.ndarray:
        certain = next(b.knowledge.certain for b in store.blocks if np.array_equal(b.pixels, pixels))
        said = np.full((2, *certain.shape), 0.5, np.float32)
        said[1] = np.where(certain == 2, 1, 0) if knows else 0.6
        return said

    for step in range(1, 51):
        early.judge(step, network)
    assert early.judged_share is None  # no mark is held out
    assert (early.share(50) > 0.1) is stays
    if not stays:  # nor is it looked at ever again
        store.blocks.pop()
        early.judge(60, network)
        assert len(early.judged()["unseen"]["parts"]) == images


@pytest.mark.parametrize("alike", [True, False])
def test_of_a_single_image_parts_of_the_marks_are_left_out(make_project: MakeProject, *, alike: bool) -> None:
    blocks = store_of(make_project, 1, alike=alike).blocks
    told(blocks)
    assert (looked(blocks).share > 0.7) is alike
    assert looked(blocks, 3).share == 0


def test_a_single_image_is_looked_at_anew_when_it_has_twice_as_many_marks(make_project: MakeProject) -> None:
    project = make_project()
    labels = np.zeros((48, 48), np.uint8)
    labels[:4], labels[20:24, :4], labels[20:24, 8:12] = 1, 2, 2
    image = project.add_image(np.where(labels == 2, 0.9, 0.3), name="a", axes="YX")
    image.paint(labels)
    unseen, forest = looked(filled(project).blocks), PixelForest(2, 1, 2, seed=0, jobs=1)
    for left, anew in ((16, False), (24, True)):  # a third and a fourth
        before = unseen.save()["parts"]
        labels[20:24, left : left + 4] = 2
        image.paint(labels)
        unseen.look(filled(project).blocks, forest)
        assert (unseen.save()["parts"] != before) is anew


def test_with_a_few_marks_in_one_image_it_stays_whatever_it_tells(make_project: MakeProject) -> None:
    """Unless areas are told: then nothing is left that the network could fill as it likes."""
    shares = []
    for n_blobs, areas in ((4, "some"), (8, "some"), (16, "some"), (4, "all objects")):
        project, labels = make_project(), np.zeros((48, 48), np.uint8)
        labels[:4] = 1
        for i in range(n_blobs):
            y, x = divmod(i, 4)
            labels[8 + 8 * y : 12 + 8 * y, 12 * x : 12 * x + 4] = 2
        image = project.add_image(np.full(labels.shape, 0.5), name="a", axes="YX")
        image.paint(labels)
        image.coverage("nucleus", areas)
        shares.append(looked(filled(project).blocks).share)
    assert shares == pytest.approx([0.5, 0.5, 0.25, 0.0])


def test_a_stack_of_which_several_frames_are_marked_is_like_several_images(make_project: MakeProject) -> None:
    project, labels = make_project(), np.zeros((3, 48, 48), np.uint8)
    labels[:, 10:22, 10:22], labels[:, 34:46] = 2, 1
    project.add_image(np.where(labels == 2, 0.9, 0.3), name="stack", axes="TYX").paint(labels)
    unseen = looked(filled(project).blocks, 2)
    assert [part[0] for part in unseen.save()["parts"]] == [("stack", (0,)), ("stack", (1,)), ("stack", (2,))]
    assert unseen.share == 0
    assert looked(filled(project).blocks, 3).share == 0.5


def test_it_says_nothing_before_every_image_had_its_turn(make_project: MakeProject) -> None:
    blocks = store_of(make_project, 3, alike=True).blocks
    assert looked(blocks, 2).share == 0
    assert looked(blocks, 3).share == 0.5


def test_what_was_found_is_saved_and_thrown_away_when_other_images_are_marked(make_project: MakeProject) -> None:
    blocks = store_of(make_project, 4, alike=True).blocks
    unseen, again, forest = looked(blocks), looked([]), PixelForest(2, 1, 2, seed=0, jobs=1)
    again.restore(unseen.save())
    assert again.share == unseen.share > 0
    others = [block for block in blocks if block.place.image != "i0"]
    again.look(others, forest)
    assert again.share == unseen.share  # until all of those that are marked now have had their turn
    again.look([], forest)
    assert again.share == 0


def test_the_forest_stays_long_after_it_would_have_faded(make_project: MakeProject) -> None:
    early = EarlyForest(store_of(make_project, 3, alike=True), np.random.default_rng(0), seed=0, wanted=True)
    early.begin(2, 1, 2)
    assert early.looks(0) is None
    early.learn(0)
    assert early.looks(0) is not None
    assert early.share(1000) < 0.01
    assert early.looks(1000) is None
    for step in range(1, 41):
        early.judge(step, lambda pixels: np.full((2, *pixels.shape[1:]), 0.5, np.float32))
    assert early.share(1000) == 0.5
    early.judged_share = 0.0  # by marks that lie in images that were learned from
    assert early.share(1000) == 0.5
    early._store.blocks[0].exact = True
    told = early.share(1000)
    assert told < 0.01
    loaded = EarlyForest(
        BlockStore(early._store._project, np.random.default_rng(0)), np.random.default_rng(0), seed=0, wanted=True
    )
    loaded.restore(early.save(0), early.judged())
    assert loaded.share(1000) == told  # no image is read to predict
    early._store.blocks[0].exact = False
    assert early.counts(1000)


def test_a_forest_that_was_kept_is_kept_when_another_image_is_marked(make_project: MakeProject) -> None:
    store = store_of(make_project, 4, alike=True)
    early = EarlyForest(store, np.random.default_rng(0), seed=0, wanted=True)
    fourth = store.blocks.pop()

    def go_on(first: int, last: int) -> None:
        for step in range(first, last):
            early.judge(step, lambda pixels: np.full((2, *pixels.shape[1:]), 0.5, np.float32))

    early.begin(2, 1, 2)
    early.learn(0)
    go_on(1, 200)
    kept = early.share(1000)
    store.blocks.append(fourth)
    go_on(1000, 1020)
    assert early.share(1020) == kept == 0.5
    go_on(1020, 1050)
    assert early.share(1050) == 0.5
    early.begin(2, 1, 2)  # as with another class
    assert early.share(2000) < 0.01
    go_on(2000, 2050)
    assert early.share(2050) == 0.5
    assert early.ready is not None


@pytest.mark.parametrize("alike", [True, False])
def test_a_forest_that_tells_held_out_marks_no_better_than_chance_is_left_out(
    make_project: MakeProject, *, alike: bool
) -> None:
    store = store_of(make_project, 3, alike=alike, speckled=True)
    for block in store.blocks:
        block.held_out[:, :16] = True
        block.refresh()
    early = EarlyForest(store, np.random.default_rng(0), seed=0, wanted=True)
    early.begin(2, 1, 2)
    early.learn(0)
    early.judge(50, lambda pixels: np.full((2, *pixels.shape[1:]), 0.5, np.float32))
    assert (early.share(50) > 0) is alike
    again = EarlyForest(store, np.random.default_rng(0), seed=0, wanted=True)
    again.begin(2, 1, 2)
    again.restore({}, early.judged())
    assert again.share(50) == early.share(50)
    again.begin(2, 1, 3)
    assert again.share(50) > 0

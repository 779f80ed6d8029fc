"""Blocks and their store: what is read, what is read again, and what vanishes."""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_weakseg.core.project import Project
from napari_weakseg.core.regions import shape_of
from napari_weakseg.engine import blocks as reading
from napari_weakseg.engine import store as storing
from napari_weakseg.engine.blocks import Block, areas_told, places
from napari_weakseg.engine.growing import rules_for, take_claims
from napari_weakseg.engine.growth import Evidence, GrowthRules
from napari_weakseg.engine.store import BlockStore
from napari_weakseg.engine.suggesting import candidates

LARGE = (2100, 3200)


def filled(project: Project) -> BlockStore:
    store = BlockStore(project, np.random.default_rng(0))
    deque(store.scan(), maxlen=0)
    while store.read_one() is not None:
        pass
    store.settle()
    return store


def square(shape: tuple[int, ...], *at: int, size: int = 8, value: int = 2) -> NDArray[np.uint8]:
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(a, a + size) for a in at)] = value
    return labels


def test_a_small_frame_is_one_block(painted: Project) -> None:
    store = filled(painted)
    assert [block.shape for block in store.blocks] == [(96, 96)]
    assert store.complete
    assert store.blocks[0].marked_at.keys() == {1, 2}


def test_of_a_large_frame_only_marked_and_a_few_bare_cells_are_read(make_project: Callable[..., Project]) -> None:
    project = make_project()
    image = project.add_image(np.zeros(LARGE, np.uint8), name="a", axes="YX")
    image.paint(square((8, 8), 0, 0), start=(1000, 3000))
    found = list(places(image, 2))
    assert all(max(shape_of(place.region)) <= 1536 for place in found)
    marked = [place for place in found if place.marked]
    assert len(marked) in (1, 2)  # the stored chunk may reach into the next cell
    assert len(found) - len(marked) <= 4
    cells = np.zeros(LARGE, int)
    for place in found:
        cells[place.region] += 1
    assert cells.max() == 1
    assert found == list(places(image, 2))


def test_a_stack_is_read_frame_by_frame_and_few_bare_ones(make_project: Callable[..., Project]) -> None:
    project = make_project()
    image = project.add_image(np.random.default_rng(0).random((40, 32, 32), np.float32), name="a", axes="TYX")
    image.paint(square((1, 32, 32), 0, 8, 8, value=2), start=(7, 0, 0))
    image.paint(square((1, 32, 32), 0, 4, 4, value=1), start=(31, 0, 0))
    store = filled(project)
    frames = [block.place.frame for block in store.blocks]
    assert {(7,), (31,)} <= set(frames)
    assert len(frames) == 2 + 4
    by_frame = {block.place.frame: block for block in store.blocks}
    assert by_frame[(7,)].marked_at.keys() == {2}
    assert by_frame[(31,)].marked_at.keys() == {1}
    np.testing.assert_array_equal(by_frame[(7,)].pixels, image.source.normalised(image.frame_region((7,)))[:, 0])


def test_many_unlabelled_images_are_not_all_read(make_project: Callable[..., Project]) -> None:
    project = make_project()
    project.add_image(np.zeros((9, 9), np.uint8), name="a", axes="YX").paint(square((9, 9), 0, 0, size=2))
    for i in range(storing._MAX_BARE + 5):
        project.add_image(np.zeros((9, 9), np.uint8), name=f"b{i}", axes="YX")
    store = filled(project)
    assert len(store.blocks) == 1 + storing._MAX_BARE
    assert store.blocks[0].place.image == "a"


def test_a_stroke_is_taken_in(painted: Project) -> None:
    store = filled(painted)
    (block,) = store.blocks
    before = block.knowledge
    painted.images["a"].paint(square((8, 8), 0, 0, value=2), start=(80, 80))
    assert store.changed("a") == [block]
    assert (block.knowledge.allowed != before.allowed).sum() == 64
    assert block.growth is not None
    assert len(block.growth.seed_class) == 4
    assert (block.approximation[80:88, 80:88] == 2).all()
    assert store.changed("a") == []


def test_only_the_blocks_that_a_stroke_touches_are_updated(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project()
    image = project.add_image(np.random.default_rng(0).random((6, 32, 32), np.float32), name="a", axes="TYX")
    for t in range(6):
        image.paint(square((1, 8, 8), 0, 0, 0, value=1 + t % 2), start=(t, 2, 2))
    store = filled(project)
    updated = []
    update = reading.update

    def counted(block: Block, *rest: Any) -> None:
        updated.append(block.place.frame)
        update(block, *rest)

    monkeypatch.setattr(reading, "update", counted)
    image.paint(square((1, 4, 4), 0, 0, 0), start=(3, 20, 20))
    assert [block.place.frame for block in store.changed("a")] == [(3,)]
    assert updated == [(3,)]
    updated.clear()
    image.tag("nucleus", False)  # counts everywhere
    store.changed("a")
    assert len(updated) == 6


def test_a_stroke_in_a_cell_that_was_not_read_is_read_at_once(make_project: Callable[..., Project]) -> None:
    project = make_project()
    image = project.add_image(np.zeros((100, 16, 16), np.uint8), name="a", axes="TYX")
    image.paint(square((1, 8, 8), 0, 0, 0), start=(0, 2, 2))
    store = BlockStore(project, np.random.default_rng(0))
    deque(store.scan(), maxlen=0)
    store.read_one()
    (bare, *_) = [place for place in places(image, 2) if not place.marked]  # waits to be read as a bare one
    for frame in ((50,), bare.frame):
        image.paint(square((1, 8, 8), 0, 0, 0), start=(*frame, 2, 2))
        assert [block.place.frame for block in store.changed("a")] == [frame]
    while store.read_one() is not None:
        pass
    keys = [(block.place.image, block.place.frame) for block in store.blocks]
    assert len(keys) == len(set(keys))


def test_very_many_new_marks_wait_their_turn(make_project: Callable[..., Project]) -> None:
    project = make_project()
    image = project.add_image(np.zeros((60, 16, 16), np.uint8), name="a", axes="TYX")
    image.paint(square((1, 8, 8), 0, 0, 0), start=(0, 2, 2))
    store = filled(project)
    image.paint(np.broadcast_to(square((16, 16), 4, 4), (60, 16, 16)))
    assert len(store.changed("a")) < 20
    assert not store.complete
    while store.read_one() is not None:
        pass
    assert sum(bool(block.knowledge.painted.any()) for block in store.blocks) == 60


def test_an_absent_tag_on_a_large_image_does_not_pile_up_blocks(make_project: Callable[..., Project]) -> None:
    project = make_project()
    image = project.add_image(np.zeros((200, 8, 8), np.uint8), name="a", axes="TYX")
    image.tag("nucleus", False)
    image.paint(square((1, 8, 8), 0, 0, 0, value=1), start=(0, 0, 0))
    store = filled(project)
    for t in range(1, 4):
        image.paint(square((1, 8, 8), 0, 0, 0, value=1), start=(t, 0, 0))
        store.changed("a")
    assert len(store.blocks) <= 4 + 4


def test_a_tag_of_a_frame_is_told_to_its_block_alone(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project()
    image = project.add_image(np.zeros((40, 16, 16), np.uint8), name="a", axes="TYX")
    for t in range(3):
        image.paint(square((1, 8, 8), 0, 0, 0, value=1), start=(t, 2, 2))
    image.tag("nucleus", True, (1,))
    store = filled(project)
    by_frame = {block.place.frame: block for block in store.blocks}
    assert all(block.whole for block in store.blocks)
    assert [by_frame[(t,)].tags for t in range(3)] == [{}, {2: True}, {}]
    assert [by_frame[(t,)].only_tagged for t in range(3)] == [False, True, False]
    updated: list[tuple[int, ...]] = []
    update = reading.update

    def counted(block: Block, *rest: Any) -> None:
        updated.append(block.place.frame)
        update(block, *rest)

    monkeypatch.setattr(reading, "update", counted)
    image.tag("nucleus", False, (2,))
    assert [block.place.frame for block in store.changed("a")] == [(2,)]
    assert updated == [(2,)]
    assert [bool((by_frame[(t,)].knowledge.allowed & 0b100).any()) for t in range(3)] == [True, True, False]
    image.tag("nucleus", None, (1,))
    assert [block.place.frame for block in store.changed("a")] == [(1,)]
    assert store.changed("a") == []
    assert not by_frame[(1,)].tags


def test_a_frame_that_is_tagged_is_read(make_project: Callable[..., Project]) -> None:
    project = make_project()
    image = project.add_image(np.zeros((60, 8, 8), np.uint8), name="a", axes="TYX")
    image.paint(square((1, 8, 8), 0, 0, 0, value=1), start=(0, 0, 0))
    image.tag("nucleus", True, (17,))
    store = filled(project)
    assert len(store.blocks) == 2 + 4
    assert {place.frame for place in places(image, 2) if place.marked} == {(0,), (17,)}
    image.tag("nucleus", False, (41,))
    changed = store.changed("a")
    assert [(block.place.frame, block.tags) for block in changed] == [((41,), {2: False})]


def test_a_tag_may_be_suggested_for_a_frame_that_is_seen_whole(make_project: Callable[..., Project]) -> None:
    project = make_project()
    project.add_image(np.zeros((3, 8, 8), np.uint8), name="a", axes="TYX").tag("nucleus", False, (1,))

    def unsure(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return np.full((1, 2, *pixels.shape[1:]), 0.5, np.float32), np.zeros(1, np.float32)

    found = {place.frame: place for place in candidates(project, [], unsure, 0, neighbours=0, tags_teach=True)}
    assert found[(1,)].presence.tolist() == [1, 0]
    assert [any(offer.kind == "tag" for offer in found[(t,)].offers) for t in range(3)] == [True, False, True]


def test_of_a_large_frame_with_a_tag_a_few_cells_are_read(make_project: Callable[..., Project]) -> None:
    project = make_project()
    image = project.add_image(np.zeros((2, 3100, 3100), np.uint8), name="a", axes="TYX")
    image.tag("nucleus", False, (1,))
    marked = [place for place in places(image, 2) if place.marked]
    assert [place.frame for place in marked] == [(1,)] * 4
    assert not reading.read(image, marked[0], {}, 0).whole


def test_erased_marks_vanish_with_all_that_came_of_them(painted: Project) -> None:
    store = filled(painted)
    (block,) = store.blocks
    assert block.growth is not None
    p = np.stack([np.where(np.arange(96) < 48, 0.95, 0.05)] * 96).astype(np.float32)
    evidence = Evidence(np.stack([p, 1 - p]), block.knowledge.allowed)
    block.growth = block.growth.advanced(evidence, GrowthRules((4.0, 4.0)))
    take_claims(block, evidence.probabilities, everywhere=True)
    assert {1, 2} == set(np.unique(block.claim[block.claim > 0]))
    labels = np.asarray(painted.images["a"].annotations.labels[...])
    painted.images["a"].paint(np.where(labels == 2, 0, labels))
    assert store.changed("a") == [block]
    assert 2 not in block.marked_at
    assert not block.growth.ids.any()
    assert not (block.claim == 2).any()
    assert not block.claim_weight[block.claim == 0].any()
    assert not (block.approximation == 2).any()
    painted.images["a"].paint(np.zeros((96, 96), np.uint8))
    store.changed("a")
    assert not block.marked_at
    assert not block.knowledge.painted.any()


def test_a_blob_painted_late_gets_its_rounds(painted: Project) -> None:
    store = filled(painted)
    (block,) = store.blocks
    assert block.growth is not None
    evidence = Evidence(np.full((2, 96, 96), 0.5, np.float32), block.knowledge.allowed)
    for _ in range(3):
        block.growth = block.growth.advanced(evidence, GrowthRules((2.0, 2.0)))
    assert block.growth.round == 3
    painted.images["a"].paint(square((6, 6), 0, 0, value=2), start=(4, 88))
    store.changed("a")
    assert block.growth.round == 0
    late = block.knowledge.seeds[5, 90]
    assert not block.growth.frozen[late]
    assert block.growth.rounds.tolist() == [0 if i == late else 3 for i in range(4)]


def test_a_missing_image_is_left_out_with_a_note(make_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_project()
    file = tmp_path / "gone.tif"
    tifffile.imwrite(file, np.zeros((20, 20), np.uint8))
    project.add_image(file, name="gone").paint(square((20, 20), 2, 2))
    project.add_image(np.zeros((20, 20), np.uint8), name="here", axes="YX").paint(square((20, 20), 2, 2))
    path = project.path
    project.close()
    file.unlink()
    with Project.open(path) as again:
        store = filled(again)
        assert [block.place.image for block in store.blocks] == ["here"]
        assert any("gone" in note for note in store.notes)
        assert store.changed("gone") == []


def test_an_image_removed_while_training_is_forgotten(make_project: Callable[..., Project]) -> None:
    project = make_project()
    for name in "abc":
        project.add_image(np.zeros((20, 20), np.uint8), name=name, axes="YX").paint(square((20, 20), 2, 2))
    store = BlockStore(project, np.random.default_rng(0))
    deque(store.scan(), maxlen=0)
    store.read_one()
    project.remove_image("a")
    project.remove_image("b")  # nobody told the store of this one
    assert store.changed("a") == []
    while store.read_one() is not None:
        pass
    assert "c" in {block.place.image for block in store.blocks}
    assert "a" not in {block.place.image for block in store.blocks}
    assert store.complete
    store.settle()


def test_exact_blocks_are_read_first(make_project: Callable[..., Project]) -> None:
    project = make_project()
    for i in range(6):
        image = project.add_image(np.zeros((20, 20), np.uint8), name=f"{i}", axes="YX")
        image.paint(square((20, 20), 2, 2))
        if i >= 4:
            image.coverage(None, "exact")
    store = filled(project)
    assert [block.exact for block in store.blocks] == [True] * 2 + [False] * 4


def test_all_objects_marked_while_training_rules_out_what_is_far(make_project: Callable[..., Project]) -> None:
    project = make_project()
    image = project.add_image(np.zeros((120, 120), np.uint8), name="a", axes="YX")
    image.coverage("nucleus", "all objects")
    image.paint(square((120, 120), 10, 10, size=4))
    store = filled(project)
    (block,) = store.blocks
    far = int((block.allowed == 2).sum())  # of one blob not much can be said
    assert far > 0
    for at in ((10, 30), (30, 10), (30, 30)):
        image.paint(square((4, 4), 0, 0, size=4), start=at)
    store.changed("a")
    assert (block.allowed == 2).sum() > far
    assert 1 not in block.marked_at  # known, but patches are placed on what was painted


def test_the_first_object_painted_in_an_exact_image_is_a_partial_mask_at_once(
    make_project: Callable[..., Project],
) -> None:
    project = make_project()
    image = project.add_image(np.zeros((40, 40), np.uint8), name="a", axes="YX")
    image.coverage(None, "exact")
    (block,) = filled(project).blocks
    assert block.exact
    image.paint(square((40, 40), 10, 10, size=8))
    reading.update(block, image, {})
    np.testing.assert_array_equal(block.approximation, square((40, 40), 10, 10, size=8))


def test_a_box_that_was_taken_in_with_something_else_is_still_told(make_project: Callable[..., Project]) -> None:
    project = make_project()
    images = [project.add_image(np.zeros((60, 60), np.uint8), name=n, axes="YX") for n in "ab"]
    for image in images:
        image.paint(square((60, 60), 2, 2, size=5))
    store = filled(project)
    images[1].add_box("nucleus", (20, 20), (40, 40))
    store.classes_changed()
    assert store.changed("a") == []
    assert [block.place.image for block in store.changed("b")] == ["b"]
    assert store.changed("b") == []


def test_contradictions_are_counted_by_image(make_project: Callable[..., Project]) -> None:
    project = make_project()
    image = project.add_image(np.zeros((20, 20), np.uint8), name="a", axes="YX")
    image.paint(square((20, 20), 2, 2, size=5))
    image.tag("nucleus", False)
    store = filled(project)
    assert store.conflicts() == {"a": 25}
    image.tag("nucleus", None)
    store.changed("a")
    assert store.conflicts() == {}


def test_memory_has_a_limit(make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project()
    for i in range(5):
        project.add_image(np.zeros((20, 20), np.uint8), name=f"{i}", axes="YX").paint(square((20, 20), 2, 2))
    monkeypatch.setattr(storing, "_MAX_VALUES", 900)
    store = filled(project)
    assert len(store.blocks) == 3
    assert "memory" in store.notes[-1]


def test_reach_and_growth_take_planes_for_as_thick_as_they_are(make_project: Callable[..., Project]) -> None:
    project = make_project(ndim=3)
    z, y, x = np.mgrid[:12, :60, :120]
    balls = [(5 * (z - 6)) ** 2 + (y - 30) ** 2 + (x - middle) ** 2 < 100 for middle in (20, 60, 100)]
    size = {axis: (step, "um") for axis, step in zip("ZYX", (2.5, 0.5, 0.5), strict=True)}
    image = project.add_image(np.zeros(z.shape, np.float32), name="v", axes="ZYX", pixel_size=size)
    image.paint(np.where(np.any(balls, 0), 2, 0).astype(np.uint8))
    image.coverage("nucleus", "all objects")
    store = filled(project)
    store.settle()
    _, state = store.save()
    assert dict(state["reach"])[2] == pytest.approx(6 * 10, rel=0.05)
    radius = rules_for(store.blocks[0], mode="monotone", tau=0.9).radius_px
    assert radius == pytest.approx((1, 5, 5), rel=0.05)


def test_an_image_that_cannot_be_read_does_not_end_suggestions(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project()
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32))
        project.add_image(tmp_path / f"{name}.tif")
    path = project.path
    project.close()
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((7, 9), np.float32))

    def says(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return np.full((4, 2, *pixels.shape[1:]), 0.5, np.float32), np.zeros(3, np.float32)

    with Project.open(path) as again:
        found = list(candidates(again, [], says, 0, neighbours=0, tags_teach=False))
    assert [candidate.image for candidate in found] == ["b"]


@pytest.mark.parametrize(
    ("images", "marked_rows", "told"),
    [(2, 1, True), (2, 8, False), (12, 8, True)],  # one object in each, or a column of eight
)
def test_areas_are_told_where_most_of_a_few_images_or_some_of_many_follows(
    make_project: Callable[..., Project], images: int, marked_rows: int, told: bool
) -> None:
    project = make_project()
    for i in range(images):
        image = project.add_image(np.zeros((96, 96), np.uint8), name=f"i{i}", axes="YX")
        for row in range(marked_rows):
            image.paint(square((8, 8), 0, 0), start=(12 * row, 40))
        image.coverage("nucleus", "all objects")
    blocks = filled(project).blocks
    assert all(0 < block.follows < block.open for block in blocks)
    assert areas_told(blocks) is told
    assert not areas_told([])

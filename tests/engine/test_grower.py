"""Growth is judged by the best there is: exact marks, else the image's edges, else it stays short."""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.project import Project
from napari_weakseg.engine.grower import Grower
from napari_weakseg.engine.growing import Guess
from napari_weakseg.engine.memory import BlockMemory
from napari_weakseg.engine.store import BlockStore

MakeProject = Callable[..., Project]
SIDE = 64


def discs() -> NDArray[np.bool_]:
    """Draw four discs of radius 9."""
    y, x = np.mgrid[:SIDE, :SIDE]
    middles = [(16, 16), (16, 48), (48, 16), (48, 48)]
    return np.any([(y - a) ** 2 + (x - b) ** 2 <= 81 for a, b in middles], axis=0)


def grower_of(
    project: Project, *, background: bool = True, coverage: str = "some", **settings: Any
) -> tuple[Grower, BlockStore]:
    """Mark three of the four discs of one image."""
    truth = discs()
    labels = np.zeros(truth.shape, np.uint8)
    labels[ndimage.binary_erosion(truth, iterations=5)] = 2
    labels[32:, 32:] = 0
    if background:
        labels[30:33, 2:60] = 1
    image = project.add_image(truth.astype(np.float32), name="a", axes="YX")
    image.paint(labels)
    if coverage != "some":
        image.coverage("nucleus", coverage)  # type: ignore[arg-type]
    store = BlockStore(project, np.random.default_rng(0))
    deque(store.scan(), maxlen=0)
    while store.read_one() is not None:
        pass
    store.settle()
    return Grower(project, TrainConfig(**settings), store, np.random.default_rng(0)), store


def with_exact(project: Project, truth: NDArray[np.bool_]) -> Project:
    """Add three exact images; part of the third is held back."""
    for name in ("b", "c", "d"):
        exact = project.add_image(truth.astype(np.float32), name=name, axes="YX")
        exact.paint((1 + truth).astype(np.uint8))
        exact.paint_objects("nucleus", ndimage.label(truth)[0])
        exact.coverage(None, "exact")
    return project


def says(probability: float) -> Callable[[Any], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Say that everything is an object, without a border anywhere: growth leaks as far as it may."""

    def answer(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        shape = pixels.shape[1:]
        p = np.stack([np.full(shape, 1 - probability), np.full(shape, probability)]).astype(np.float32)
        return p, np.zeros(shape, np.float32)

    return answer


def claim(grower: Grower, store: BlockStore) -> None:
    """Let everything be claimed around, before growth begins."""
    grower.take_in(store.blocks)
    grower.step(0, says(0.0))


def grow(grower: Grower, probability: float) -> None:
    for step in range(60, 140):
        grower.step(step, says(probability))


@pytest.mark.parametrize("coverage", ["some", "all objects"])
def test_a_leaking_network_cannot_take_an_object_over_its_edge(make_project: MakeProject, coverage: str) -> None:
    grower, store = grower_of(make_project(), coverage=coverage, rounds=8)
    grow(grower, 0.99)
    (block,) = store.blocks
    assert block.growth is not None
    assert block.growth.round == 8
    inside = ndimage.binary_dilation(discs())
    assert not (block.growth.ids[~inside] > 0).any()
    marked = discs() & ~(np.mgrid[:SIDE, :SIDE].min(0) >= 32)
    assert (block.growth.ids > 0)[marked].mean() > 0.8


def test_without_any_judge_growth_is_short_and_asks_for_certainty(make_project: MakeProject) -> None:
    grower, store = grower_of(make_project(), outline_weight=0, rounds=8)
    (block,) = store.blocks
    grow(grower, 0.88)  # above tau, but not sure enough to go on unjudged
    assert block.growth is not None
    assert not ((block.growth.ids > 0) & (block.growth.seeds == 0)).any()
    grow(grower, 0.99)
    assert block.growth.round == 2


def test_without_background_there_is_no_outline_to_judge_by(make_project: MakeProject) -> None:
    grower, store = grower_of(make_project(), background=False, rounds=8)
    grow(grower, 0.99)
    (block,) = store.blocks
    assert block.outline is None
    assert block.growth is not None
    assert block.growth.round == 2


def looks(probability: float) -> Guess:
    """Say of everything but the discs that it is background, as surely as this."""
    sure = np.where(discs().ravel(), 0, probability)
    return lambda _, at: np.stack([sure[at], 1 - sure[at]]).astype(np.float32)


@pytest.mark.parametrize("probability", [0.9, 0.99])
def test_without_painted_background_looks_tell_where_outlines_end(
    make_project: MakeProject, probability: float
) -> None:
    """If they are sure of it."""
    grower, store = grower_of(make_project(), background=False, rounds=8)
    (block,) = store.blocks
    grower.take_in([block])
    for step in range(140):
        grower.step(step, says(0.99), looks(probability))
    assert block.growth is not None
    sure = probability > 0.95
    assert (block.outline is not None) == sure
    assert block.growth.round == (8 if sure else 2)
    assert not (block.growth.ids[~ndimage.binary_dilation(discs())] > 0).any()


def test_one_stroke_of_background_is_not_all_that_outlines_are_flooded_from(make_project: MakeProject) -> None:
    """Without edges between it and an object, the object takes everything else."""
    right = []
    for guess in (None, looks(0.99)):
        project = make_project()
        grower, store = grower_of(project, background=False)
        project.images["a"].paint(np.full((1, 2), 1, np.uint8), start=(0, 0))
        (block,) = store.changed("a")
        block.pixels[:] = 0  # no edge at all
        grower.take_in([block])
        grower.step(0, says(0.5), guess)
        assert block.outline is not None
        right.append((block.outline.objects > 0)[~discs()].mean())
    assert right[1] < 0.3 < 0.9 < right[0]


def test_where_much_is_known_to_be_background_its_looks_say_nothing(make_project: MakeProject) -> None:
    found = []
    for rows in (16, 32):
        project = make_project()
        grower, store = grower_of(project)
        labels = np.array(project.images["a"].annotations.labels[...])
        labels[:rows][~discs()[:rows]] = 1
        project.images["a"].paint(labels)
        (block,) = store.changed("a")
        grower.take_in([block])
        grower.step(0, says(0.5), looks(0.99))
        assert block.bare is not None
        found.append(block.bare.any())
    assert found == [True, False]


def test_background_by_its_looks_is_looked_for_again_when_marks_have_changed(make_project: MakeProject) -> None:
    project = make_project()
    grower, store = grower_of(project)
    (block,) = store.blocks
    grower.take_in([block])
    grower.step(0, says(0.5), looks(0.99))
    assert block.bare is not None
    project.images["a"].paint(np.full((1, 1), 2, np.uint8), start=(50, 50))
    (block,) = store.changed("a")
    assert block.bare is None
    grower.take_in([block])
    grower.step(1, says(0.5))  # nothing that knows the new mark can be asked
    assert block.bare is None
    grower.take_in([block])
    grower.step(2, says(0.5), looks(0.99))
    assert block.bare is not None


def test_background_by_its_looks_is_remembered(make_project: MakeProject) -> None:
    grower, store = grower_of(make_project())
    grower.judge_outlines(looks(0.99))
    (block,) = store.blocks
    _, store = grower_of(make_project())
    (again,) = store.blocks
    BlockMemory.of(block).give_to(again)
    assert block.bare is not None
    assert again.bare is not None
    assert block.bare.any()
    np.testing.assert_array_equal(again.bare, block.bare)


@pytest.mark.parametrize("grown", [False, True])
def test_what_its_looks_told_before_other_marks_were_made_is_forgotten(make_project: MakeProject, grown: bool) -> None:
    """As while training goes on: a mark where background was thought to be must not be fought."""
    grower, store = grower_of(make_project())
    (block,) = store.blocks
    grower.judge_outlines(looks(0.99))
    if grown:
        grow(grower, 0.99)
    project = make_project()
    _, store = grower_of(project)
    project.images["a"].paint(np.full((1, 1), 2, np.uint8), start=(50, 50))
    (again,) = store.changed("a")
    BlockMemory.of(block).give_to(again)
    assert block.bare is not None
    assert again.bare is None


def test_an_unmarked_object_is_not_claimed_for_background(make_project: MakeProject) -> None:
    grower, store = grower_of(make_project())
    claim(grower, store)
    (block,) = store.blocks
    unmarked = discs() & (np.mgrid[:SIDE, :SIDE].min(0) >= 32)
    assert (block.claim == 2).any()
    assert (block.claim == 1).any()
    assert not block.claim[unmarked].any()
    for probability in (0.01, 0.99):
        grow(grower, probability)
        assert not block.claim[unmarked].any()


def test_where_every_object_is_marked_the_rest_is_claimed_for_background(make_project: MakeProject) -> None:
    grower, store = grower_of(make_project(), coverage="all objects")
    claim(grower, store)
    (block,) = store.blocks
    assert (block.claim[33:36, 2:20] == 1).all()


def test_outlines_are_trusted_as_far_as_a_guess_agrees(make_project: MakeProject) -> None:
    grower, _ = grower_of(make_project())
    truth = discs()

    def guess(agrees: bool) -> Guess:
        return lambda _, at: np.stack([truth.ravel()[at] != agrees, truth.ravel()[at] == agrees]).astype(np.float32)

    grower.judge_outlines(guess(True))
    assert grower.trust == 1
    grower.judge_outlines(guess(False))
    assert grower.trust == 0


@pytest.mark.parametrize("shown", [True, False])
def test_exact_objects_tell_more_of_outlines_than_a_guess(make_project: MakeProject, shown: bool) -> None:
    """Objects end where the image has an edge, or somewhere else; the guess says the opposite."""
    truth = discs()
    project = make_project()
    exact = project.add_image(truth.astype(np.float32), name="b", axes="YX")
    objects = truth if shown else np.roll(ndimage.binary_erosion(truth, iterations=3), (5, 5), (0, 1))
    exact.paint((1 + objects).astype(np.uint8))
    exact.paint_objects("nucleus", ndimage.label(objects)[0])
    exact.coverage(None, "exact")
    grower, _ = grower_of(project)
    grower.judge_outlines(lambda _, at: np.stack([truth.ravel()[at] == shown, truth.ravel()[at] != shown]).astype("f4"))
    assert grower.trust == float(shown)


def test_claims_that_the_network_doubts_weigh_little(make_project: MakeProject) -> None:
    grower, store = grower_of(make_project())
    (block,) = store.blocks
    for step in (60, 64):
        grower.step(step, says(0.2))
    objects = block.claim == 2
    assert objects.any()
    assert block.claim_weight[objects].max() <= 255 * 0.2 + 1
    assert block.claim_weight[block.claim == 1].min() >= 255 * 0.8 - 1


def test_what_growth_found_out_is_saved(make_project: MakeProject) -> None:
    grower, _ = grower_of(make_project())
    grower.safe, grower.trust = 2, 0.25
    other, _ = grower_of(make_project())
    other.restore(grower.save())
    assert (other.safe, other.trust) == (2, 0.25)


def test_exact_marks_show_how_boldly_growth_may_go(make_project: MakeProject) -> None:
    """A network that is hardly sure, but right, may grow objects where a guard saw it to be right."""
    truth = discs()

    def right(probability: float) -> Callable[[Any], tuple[NDArray[np.float32], NDArray[np.float32]]]:
        def answer(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            p = np.where(truth, probability, 1 - probability).astype(np.float32)
            return np.stack([1 - p, p]), np.zeros(truth.shape, np.float32)

        return answer

    grower, _ = grower_of(with_exact(make_project(), truth))
    (rough,) = grower.blocks
    for step in range(60, 120):
        grower.step(step, right(0.75))
    assert grower.safe == TrainConfig().rounds
    assert grower.tau < 0.75 < TrainConfig().tau
    assert rough.growth is not None
    marked = truth & ~(np.mgrid[:SIDE, :SIDE].min(0) >= 32)
    assert ((rough.growth.ids > 0) == marked).all()


@pytest.mark.parametrize("trust", [1.0, 0.0])
def test_where_growth_leaks_on_exact_marks_outlines_bind_it_if_they_are_right(
    make_project: MakeProject, trust: float
) -> None:
    grower, _ = grower_of(with_exact(make_project(), discs()), coverage="all objects")
    grower.trust = trust
    grow(grower, 0.99)
    (rough,) = grower.blocks
    assert rough.growth is not None
    assert grower.bounded == bool(trust)
    again, _ = grower_of(make_project())
    again.restore(grower.save())
    assert (again.safe, again.tau, again.bounded) == (grower.safe, grower.tau, grower.bounded)
    marked = discs() & ~(np.mgrid[:SIDE, :SIDE].min(0) >= 32)
    grown = rough.growth.ids > 0
    assert not (grown & ~marked).any()
    assert (grown[marked].mean() > 0.95) == bool(trust)


def test_a_block_without_outlines_does_not_grow_where_growth_needs_them(make_project: MakeProject) -> None:
    grower, _ = grower_of(with_exact(make_project(), discs()), background=False)
    (rough,) = grower.blocks
    assert rough.outline is None
    grow(grower, 0.99)
    assert grower.bounded
    assert rough.growth is not None
    assert not rough.growth.round


def test_blurred_borders_are_left_open_once_exact_masks_can_tell(make_project: MakeProject) -> None:
    """Until then they are claimed at the crest of the edge."""
    truth = discs()
    blurred = ndimage.gaussian_filter(truth.astype(np.float32), 2.5)
    claimed = []
    for exact in (False, True):
        project = make_project()
        rough = np.where(ndimage.binary_erosion(truth, iterations=5), 2, 0).astype(np.uint8)
        rough[31:33] = 1
        project.add_image(blurred, name="rough", axes="YX").paint(rough)
        if exact:
            image = project.add_image(blurred, name="exact", axes="YX")
            image.paint(np.where(truth, 2, 1).astype(np.uint8))
            image.coverage(None, "exact")
        store = BlockStore(project, np.random.default_rng(0))
        deque(store.scan(), maxlen=0)
        while store.read_one() is not None:
            pass
        claim(Grower(project, TrainConfig(), store, np.random.default_rng(0)), store)
        (block,) = store.find("rough", ())
        assert block.outline is not None
        assert (block.claim[block.outline.slopes] > 0).any() != exact
        claimed.append(int((block.claim > 0).sum()))
    assert 0 < claimed[1] < claimed[0]


def test_claims_of_large_images_are_spread_over_steps(make_project: MakeProject, monkeypatch: Any) -> None:
    """So that learning goes on between them; what waits is remembered."""
    monkeypatch.setattr("napari_weakseg.engine.grower._CLAIMED_PER_STEP", SIDE * SIDE / 4)
    project = make_project()
    grower, store = grower_of(project)
    for name in "bc":
        project.add_image(discs().astype(np.float32), name=name, axes="YX").paint(
            np.asarray(project.images["a"].annotations.labels)
        )
        store.changed(name)
    assert len(store.blocks) == 3
    claimed = []
    grower.take_in(store.blocks)
    grower.take_in(store.blocks[2:])  # painted anew: first of all
    for step in range(9):
        if step == 3:
            saved = grower.save()
            grower = Grower(project, TrainConfig(), store, np.random.default_rng(0))
            grower.take_in(store.blocks)
            grower.restore(saved)
        grower.step(step, says(0.0))
        claimed.append([block.place.image for block in store.blocks if block.claim.any()])
    assert claimed[:4] == [["c"]] * 4
    assert claimed[4:8] == [["a", "c"]] * 4
    assert claimed[8] == ["a", "b", "c"]


def test_what_a_guard_rejects_is_taught_no_more(make_project: MakeProject) -> None:
    """What the edges say is claimed again, as before growth began."""
    grower, store = grower_of(make_project(), outline_weight=0, rounds=2)
    (block,) = store.blocks
    grow(grower, 0.99)
    assert (block.claim == 2).any()
    grower.safe = 0
    grower.step(180, says(0.99))
    assert block.growth is not None
    assert not block.growth.round
    assert not block.claim.any()
    assert not block.claim_weight.any()
    assert ((block.approximation > 0) == (block.knowledge.seeds > 0)).all()
    assert grower.save()["waiting"]
    grower.step(181, says(0.99))
    assert not grower.save()["waiting"]


def test_little_trust_in_outlines_takes_nothing_from_what_has_grown(make_project: MakeProject) -> None:
    weights = {}
    for trust in (0.0, 0.3, 1.0):
        grower, store = grower_of(make_project())
        grower.trust = trust
        grow(grower, 0.99)
        (block,) = store.blocks
        assert block.growth is not None
        grown = (block.growth.ids > 0) & (block.growth.seeds == 0)
        assert grown.any()
        weights[trust] = block.claim_weight[grown].min()
        outlined = (block.claim > 0) & ~grown
        assert outlined.any() == bool(trust)
        assert not (block.claim_weight[outlined] > 255 * trust).any()
    assert set(weights.values()) == {np.uint8(255 * np.float32(0.99))}


@pytest.mark.parametrize(("trust", "rounds"), [(0.1, 2), (0.5, 8)])
def test_outlines_bind_growth_where_they_are_trusted(make_project: MakeProject, trust: float, rounds: int) -> None:
    grower, store = grower_of(make_project(), rounds=8)
    grower.trust = trust
    grow(grower, 0.99)
    (block,) = store.blocks
    assert block.growth is not None
    assert block.growth.round == rounds


@pytest.mark.parametrize("mode", ["monotone", "regrow"])
def test_strokes_elsewhere_let_no_object_grow_any_further(make_project: MakeProject, mode: str) -> None:
    project = make_project()
    grower, store = grower_of(project, outline_weight=0, growth=mode)
    (block,) = store.blocks
    grow(grower, 0.99)
    assert block.growth is not None
    seed = block.growth.ids[16, 16]
    first = block.growth.ids == seed
    assert first.sum() > (block.growth.seeds == seed).sum()
    for x in (2, 8, 14):
        project.images["a"].paint(np.full((2, 2), 2, np.uint8), start=(60, x))
        grower.take_in(store.changed("a"))
        assert block.growth.round == 0
        grow(grower, 0.99)
        assert block.growth.round == 2
        late = block.growth.seeds[60, x]
        assert (block.growth.ids == late).sum() > 4
        np.testing.assert_array_equal(block.growth.ids == block.growth.seeds[16, 16], first)
    project.images["a"].paint(np.full((1, 1), 2, np.uint8), start=(16, 16 + 5))
    grower.take_in(store.changed("a"))
    grow(grower, 0.99)
    assert (block.growth.ids == block.growth.seeds[16, 16]).sum() >= first.sum()


def test_a_correction_after_growth_leaves_the_outlines_of_other_objects(make_project: MakeProject) -> None:
    project = make_project()
    grower, store = grower_of(project, coverage="all objects")
    (block,) = grower.blocks
    grower.take_in([block])
    for step in range(60, 200):
        grower.step(step, says(0.7))  # too little to grow: all claims are of outlines
    assert block.growth is not None
    assert block.growth.round
    assert (block.claim[:20, :30] == 2).any()
    before, trusted = block.claim[:30, :30].copy(), block.claim_weight[:30, :30].copy()
    paint = np.zeros((SIDE, SIDE), np.uint8)
    paint[10:12, 56:60] = 1  # beside another object
    block.growth.ids[10:12, 56:60] = block.growth.ids[16, 48]  # that had leaked there
    project.images["a"].paint(np.where(paint > 0, paint, np.asarray(project.images["a"].annotations.labels[...])))
    grower.take_in(store.changed("a"))
    grower.step(200, says(0.7))
    np.testing.assert_array_equal(block.claim[:30, :30], before)
    np.testing.assert_array_equal(block.claim_weight[:30, :30], trusted)

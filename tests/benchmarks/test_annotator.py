from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from benchmarks.annotator import POLICIES, Annotator, Asked, Mark, Painted, Pictures, Policy, Query, Tag, apply
from benchmarks.sets import Picture
from benchmarks.simulated_marks import Costs, Rough, outline_px, rough_masks, scribble
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg import Project
from napari_weakseg.core.annotations import Box, CoverageRule
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.regions import Region, intersection, region_of

CLASSES = ("background", "cell", "vessel", "debris")
CELL, VESSEL, DEBRIS = 2, 3, 4
both = pytest.mark.parametrize("ndim", [2, 3])


def picture(name: str, ndim: int, *, vessel: bool = True) -> Picture:
    """Four round cells and a bent vessel on 60 x 70 pixels, in 3-D through 9 planes; no debris."""
    shape = (9, 60, 70)[-ndim:]
    axes = np.indices(shape)
    objects = np.zeros(shape, np.int32)
    for i, (y, x) in enumerate([(12, 12), (12, 40), (45, 15), (30, 58)], 1):
        from_middle = (axes[-2] - y) ** 2 + (axes[-1] - x) ** 2 + (4 * (axes[0] - 4) ** 2 if ndim == 3 else 0)
        objects[from_middle <= 49] = i
    if vessel:
        bent = np.abs(axes[-2] - 45 - 6 * np.sin(axes[-1] / 8)) < 3
        objects[bent & (axes[-1] > 28) & (axes[-1] < 68)] = 5
    truth = np.select([objects == 5, objects > 0], [VESSEL, CELL], 1).astype(np.uint8)
    return Picture(name, Path(f"{name}.tif"), truth, objects)


def pictures(ndim: int = 2, count: int = 6) -> Pictures:
    return Pictures(CLASSES, [picture(f"image {i}", ndim, vessel=i % 2 == 0) for i in range(count)])


def whole_of(mark: Mark, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Painted pixels in the whole image."""
    assert isinstance(mark.what, Painted)
    pixels = np.zeros(shape, bool)
    pixels[mark.what.region] = mark.what.pixels
    return pixels


def seen(mark: Mark) -> tuple[object, ...]:
    """A mark in a form that can be compared."""
    if isinstance(mark.what, Painted):
        what: object = (mark.what.class_id, mark.what.object_id, mark.what.start, mark.what.pixels.tobytes())
    else:
        what = mark.what
    return mark.image, mark.kind, mark.seconds, what


def painted(marks: list[Mark]) -> list[Mark]:
    return [mark for mark in marks if isinstance(mark.what, Painted)]


def boxes(marks: list[Mark]) -> list[Box]:
    return [mark.what for mark in marks if isinstance(mark.what, Box)]


def rules(marks: list[Mark]) -> set[CoverageRule]:
    return {mark.what for mark in marks if isinstance(mark.what, CoverageRule)}


@contextmanager
def project_image(folder: Path, truth: NDArray[np.uint8], name: str = "image 0") -> Iterator[ProjectImage]:
    with Project.create(folder / "cells.weakseg", CLASSES, ndim=truth.ndim) as project:
        yield project.add_image(np.zeros(truth.shape, np.uint8), name=name, axes="ZYX"[-truth.ndim :])


@both
@pytest.mark.parametrize(("policy", "largest"), [("blobs", 0.3), ("scribbles", 0.6)])
def test_partial_marks_lie_inside_their_object_and_leave_most_of_it(ndim: int, policy: Policy, largest: float) -> None:
    image = picture("image 0", ndim)
    marks = list(Annotator(Pictures(CLASSES, [image])).spend(10, policy))
    own = [mark for mark in painted(marks) if mark.kind != "background"]
    assert len(own) == 5
    for object_id, mark in enumerate(own, 1):
        assert isinstance(mark.what, Painted)
        assert mark.what.object_id == object_id
        pixels, mask = whole_of(mark, image.truth.shape), image.objects == mark.what.object_id
        assert pixels.any()
        assert not (pixels & ~mask).any()
        assert pixels.sum() <= largest * mask.sum()
        assert mark.what.class_id == (VESSEL if mark.what.object_id == 5 else CELL)
        assert ndimage.label(pixels, ndimage.generate_binary_structure(ndim, ndim))[1] == 1


@both
def test_a_stroke_of_background_lies_in_the_background_of_one_plane(ndim: int) -> None:
    image = picture("image 0", ndim)
    first = next(Annotator(Pictures(CLASSES, [image])).spend(10, "blobs"))
    pixels = whole_of(first, image.truth.shape)
    assert first.kind == "background"
    assert pixels.sum() > 20
    assert (image.truth[pixels] == 1).all()
    assert pixels.reshape(-1, *pixels.shape[-2:]).any((1, 2)).sum() == 1


@both
def test_a_scribble_goes_along_a_long_object_and_is_curved_with_it(ndim: int) -> None:
    mask = picture("image 0", ndim).objects == 5
    drawn = scribble(mask, np.random.default_rng(0))
    y, x = np.nonzero(drawn)[-2:]
    assert np.ptp(x) > 0.6 * np.ptp(np.nonzero(mask)[-1])
    middle = 45 + 6 * np.sin(x / 8)
    assert np.abs(y - middle).max() < 3
    assert np.ptp(y) > 6


def test_a_scribble_stays_inside_a_thin_line() -> None:
    mask = np.zeros((9, 30), bool)
    mask[4, 2:28] = True
    drawn = scribble(mask, np.random.default_rng(0))
    assert not (drawn & ~mask).any()
    assert drawn.sum() > 13


def test_a_scribble_fits_into_a_single_pixel() -> None:
    assert scribble(np.ones((1, 1), bool), np.random.default_rng(0)).all()


@both
def test_boxes_are_tight(ndim: int) -> None:
    image = picture("image 0", ndim)
    marks = Annotator(Pictures(CLASSES, [image])).answer(Query("image 0", "box"))
    found = boxes(marks)
    assert [box.region for box in found] == ndimage.find_objects(image.objects)
    assert [box.class_id for box in found] == [CELL] * 4 + [VESSEL]
    assert {mark.seconds for mark in marks if isinstance(mark.what, Box)} == {7.0 if ndim == 2 else 10.5}


@both
def test_jitter_moves_boxes_a_little_and_not_out_of_the_image(ndim: int) -> None:
    image = picture("image 0", ndim)
    source, query = Pictures(CLASSES, [image]), Query("image 0", "box")
    tight, loose = (boxes(Annotator(source, jitter=jitter).answer(query)) for jitter in (0.0, 0.2))
    assert tight != loose
    for a, b in zip(tight, loose, strict=True):
        extent = np.subtract(a.stop, a.start)
        assert (np.abs(np.subtract(a.start, b.start)) <= np.ceil(0.2 * extent)).all()
        assert (np.abs(np.subtract(a.stop, b.stop)) <= np.ceil(0.2 * extent)).all()
        assert intersection(b.region, region_of((0,) * ndim, image.truth.shape)) == b.region


@both
def test_tags_are_right(ndim: int) -> None:
    annotator = Annotator(pictures(ndim))
    said = [mark.what for mark in annotator.answer(Query("image 1", "tag"))]
    assert said == [Tag(CELL, True), Tag(VESSEL, False), Tag(DEBRIS, False)]


@both
def test_exact_marks_are_the_true_mask(ndim: int) -> None:
    image = picture("image 0", ndim)
    marks = Annotator(Pictures(CLASSES, [image])).answer(Query("image 0", "exact"))
    labels = np.ones(image.truth.shape, np.uint8)
    for mark in painted(marks):
        assert isinstance(mark.what, Painted)
        labels[whole_of(mark, labels.shape)] = mark.what.class_id
    assert np.array_equal(labels, image.truth)
    assert rules(marks) == {CoverageRule(class_id, "exact") for class_id in (1, 2, 3, 4)}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("minutes", [0.0, 0.15, 0.7, 3.0])
def test_the_budget_is_used_and_never_exceeded(policy: Policy, minutes: float) -> None:
    annotator = Annotator(pictures())
    marks = list(annotator.spend(minutes, policy))
    spent = sum(mark.seconds for mark in marks)
    assert spent <= 60 * minutes + 1e-9
    everything = list(annotator.spend(1000, policy))
    if len(marks) < len(everything):
        assert spent + everything[len(marks)].seconds > 60 * minutes


@pytest.mark.parametrize("policy", POLICIES)
def test_more_minutes_give_the_same_marks_and_more(policy: Policy) -> None:
    annotator = Annotator(pictures(count=12), seed=3)
    few, many = ([seen(mark) for mark in annotator.spend(minutes, policy)] for minutes in (0.5, 0.9))
    assert 0 < len(few) < len(many)
    assert many[: len(few)] == few


@both
@pytest.mark.parametrize("policy", POLICIES)
def test_a_seed_gives_the_same_marks_and_another_seed_others(ndim: int, policy: Policy) -> None:
    first, again, other = (
        [seen(mark) for mark in Annotator(pictures(ndim), seed=seed).spend(4, policy)] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("policy", ["blobs", "scribbles"])
def test_strokes_differ_between_seeds_images_and_objects(policy: Policy) -> None:
    first, second = picture("image 0", 2), picture("image 1", 2)

    def strokes(image: Picture, seed: int) -> list[bytes]:
        marks = Annotator(Pictures(CLASSES, [image]), seed=seed).spend(1000, policy)
        return [mark.what.pixels.tobytes() for mark in marks if isinstance(mark.what, Painted)]

    usual = strokes(first, 0)
    assert all(a != b for a, b in zip(usual, strokes(first, 1), strict=True))
    assert all(a != b for a, b in zip(usual, strokes(second, 0), strict=True))
    assert usual[1] != usual[2]  # of two cells of one shape


def test_marks_of_an_image_do_not_depend_on_the_other_images() -> None:
    alone = Annotator(Pictures(CLASSES, [picture("image 0", 2)]))
    among = Annotator(pictures())
    of_it = [seen(mark) for mark in among.spend(1000, "blobs") if mark.image == "image 0"]
    assert [seen(mark) for mark in alone.spend(1000, "blobs")] == of_it


def test_mixed_work_holds_every_part_of_the_mixture() -> None:
    done: dict[str, set[str]] = {}
    for mark in Annotator(pictures(count=5)).spend(1000, "mixed"):
        done.setdefault(mark.image, set()).add(mark.kind)
    assert sorted(map(sorted, done.values())) == sorted(
        [["background", "blob"], ["box"], ["background", "blob"], ["tag"], ["exact"]]
    )


def test_costs_add_up() -> None:
    annotator = Annotator(Pictures(CLASSES, [picture("image 0", 2)]))

    def seconds(policy: Policy) -> float:
        return sum(mark.seconds for mark in annotator.spend(1000, policy))

    looking = 3 * 1.0
    assert seconds("tags") == pytest.approx(looking)
    assert seconds("boxes") == pytest.approx(looking + 5 * 7.0)
    outlines = [Costs().outline(annotator.source.picture("image 0").objects == i) for i in range(1, 6)]
    assert seconds("exact") == pytest.approx(looking + 1.0 + sum(outlines))
    assert seconds("rough") < seconds("exact") / 2
    strokes = [whole_of(mark, (60, 70)) for mark in painted(list(annotator.spend(1000, "blobs")))]
    # first strokes of background, cells and vessels, and three more cells
    firsts = [True, True, False, False, False, True]
    times = [Costs().stroke(pixels, first=first) for pixels, first in zip(strokes, firsts, strict=True)]
    assert seconds("blobs") == pytest.approx(looking + sum(times))


def test_published_times_come_back() -> None:
    squiggle, square = np.ones((1, 100), bool), np.pad(np.ones((100, 100), bool), 2)
    assert Costs().stroke(squiggle, first=True) == pytest.approx(10.9)
    assert Costs().stroke(squiggle, first=False) == pytest.approx(6.3)
    assert Costs().outline(square) == pytest.approx(79, rel=0.02)


def test_an_outline_costs_by_its_length_in_every_plane_and_no_less_than_a_box() -> None:
    square = np.pad(np.ones((50, 50), bool), 2)
    assert outline_px(square) == 4 * 49
    assert outline_px(np.stack([square] * 3)) == 3 * outline_px(square)
    assert Costs().outline(np.stack([square] * 3)) == pytest.approx(3 * Costs().outline(square))
    assert Costs().outline(square[:5, :5]) == Costs().box_s


@both
@pytest.mark.parametrize("kind", ["tag", "box", "blob", "exact"])
def test_the_oracle_answers_in_the_asked_region_only(ndim: int, kind: Asked) -> None:
    image = picture("image 0", ndim)
    region: Region = (slice(2, 9), slice(8, 30), slice(5, 45))[-ndim:]  # cuts cells 1 and 2, the vessel is elsewhere
    marks = Annotator(Pictures(CLASSES, [image])).answer(Query("image 0", kind, region))
    for mark in marks:
        what = mark.what
        if isinstance(what, Tag):
            assert what == Tag(CELL, True)
        else:
            place = what.region if isinstance(what, Painted | Box) else what.region(image.truth.shape)
            assert intersection(place, region) == place
    if kind != "tag":
        assert sum(isinstance(mark.what, Painted | Box) for mark in marks) == 2
    corners = [(s.start, s.stop) for s in region]
    nothing = CoverageRule(VESSEL, "exact", *zip(*corners, strict=True))
    assert nothing in rules(marks)
    assert not (image.truth[region] == VESSEL).any()


def test_there_is_no_answer_from_outside_the_image() -> None:
    assert Annotator(pictures()).answer(Query("image 0", "blob", (slice(80, 90), slice(0, 9)))) == []


@both
@pytest.mark.parametrize("policy", ["blobs", "scribbles"])
def test_applied_paint_reads_back_as_it_was_meant(tmp_path: Path, ndim: int, policy: Policy) -> None:
    truth = picture("image 0", ndim).truth
    marks = list(Annotator(pictures(ndim)).spend(1000, policy))
    own = [mark for mark in painted(marks) if mark.image == "image 0"]
    with project_image(tmp_path, truth) as image:
        apply(marks, image)
        labels, objects = np.array(image.annotations.labels[...]), np.array(image.annotations.objects[...])
        for mark in own:
            assert isinstance(mark.what, Painted)
            pixels = whole_of(mark, truth.shape)
            assert (labels[pixels] == mark.what.class_id).all()
            assert (objects[pixels] == mark.what.object_id).all()
        assert (labels > 0).sum() == sum(whole_of(mark, truth.shape).sum() for mark in own)
        assert image.annotations.coverage_of(CELL) == image.annotations.coverage_of(VESSEL) == "all objects"
        assert image.annotations.coverage_of(1) == image.annotations.coverage_of(DEBRIS) == "some"
        assert image.annotations.tags == {DEBRIS: False}


@both
def test_exact_images_leave_nothing_unknown(tmp_path: Path, ndim: int) -> None:
    truth = picture("image 0", ndim).truth
    with project_image(tmp_path, truth) as image:
        apply(Annotator(pictures(ndim)).answer(Query("image 0", "exact")), image)
        knowledge = image.knowledge()
        assert knowledge.complete.all()
        assert np.array_equal(knowledge.certain, truth)


@both
def test_an_exact_region_is_known_and_the_rest_is_not(tmp_path: Path, ndim: int) -> None:
    truth = picture("image 0", ndim).truth
    region: Region = (slice(2, 7), slice(8, 50), slice(5, 45))[-ndim:]
    with project_image(tmp_path, truth) as image:
        apply(Annotator(pictures(ndim)).answer(Query("image 0", "exact", region)), image)
        certain = image.knowledge().certain
        assert np.array_equal(certain[region], truth[region])
        certain[region] = 0
        assert not certain.any()


@both
def test_boxes_and_tags_rule_out_only_what_is_not_there(tmp_path: Path, ndim: int) -> None:
    truth = picture("image 0", ndim).truth
    annotator = Annotator(pictures(ndim))
    with project_image(tmp_path, truth) as image:
        marks = annotator.answer(Query("image 0", "box")) + annotator.answer(Query("image 0", "tag"))
        apply(marks, image)
        assert list(image.annotations.boxes) == boxes(marks)
        assert image.annotations.tags == {CELL: True, VESSEL: True, DEBRIS: False}
        allowed = image.knowledge().allowed
        assert ((allowed >> truth) & 1).all()  # nowhere is the truth ruled out
        assert not ((allowed >> DEBRIS) & 1).any()
        assert not ((allowed >> CELL) & 1).all()


def test_a_class_that_is_half_done_is_not_called_complete(tmp_path: Path) -> None:
    image_0 = picture("image 0", 2)
    annotator = Annotator(Pictures(CLASSES, [image_0]))
    seconds = sum(mark.seconds for mark in list(annotator.spend(1000, "blobs"))[:4])
    marks = list(annotator.spend((seconds + 0.1) / 60, "blobs"))
    assert [mark.kind for mark in marks] == ["background", "blob", "blob", "blob"]
    with project_image(tmp_path, image_0.truth) as image:
        apply(marks, image)
        assert image.annotations.rules == ()


def test_what_was_exact_stays_exact_and_boxes_are_not_doubled(tmp_path: Path) -> None:
    annotator = Annotator(pictures())
    region = (slice(8, 50), slice(5, 45))
    with project_image(tmp_path, picture("image 0", 2).truth) as image:
        apply(annotator.answer(Query("image 0", "exact", region)), image)
        for _ in range(2):
            apply(annotator.answer(Query("image 0", "box")), image)
        assert image.annotations.coverage_of(CELL, region) == "exact"
        assert image.annotations.coverage_of(CELL, (slice(0, 8), slice(0, 5))) == "all objects"
        assert len(image.annotations.boxes) == 5


def many(ndim: int) -> NDArray[np.int32]:
    """40 objects of 6 x 6 pixels (in 3-D with 4 planes), 10 pixels apart."""
    objects = np.zeros((6, 86, 106)[-ndim:], np.int32)
    for i in range(40):
        y, x = 7 + 10 * (i // 8) + 5, 7 + 12 * (i % 8)
        objects[(slice(1, 5), slice(y, y + 6), slice(x, x + 6))[-ndim:]] = i + 1
    return objects


@both
@pytest.mark.parametrize("corrupted", [0.0, 0.25, 0.5])
def test_the_stated_share_of_rough_masks_is_corrupted(ndim: int, corrupted: float) -> None:
    objects = many(ndim)
    drawn = rough_masks(objects, Rough("dilated", 1, corrupted), np.random.default_rng(0))
    wrong = [i for i in range(1, 41) if not ((drawn == i) & (objects == i)).any()]
    missing = [i for i in wrong if not (drawn == i).any()]
    assert len(wrong) == round(40 * corrupted)
    assert len(missing) >= len(wrong) / 2
    assert len(missing) < len(wrong) or not wrong


@both
def test_rough_masks_are_wrong_in_the_way_that_is_asked_for(ndim: int) -> None:
    objects = many(ndim)

    def drawn(rough: Rough) -> NDArray[np.bool_]:
        return np.equal(rough_masks(objects, rough, np.random.default_rng(0)), 1)

    mask = objects == 1
    dilated, eroded, shifted = (drawn(Rough(how, 1)) for how in ("dilated", "eroded", "shifted"))
    assert np.array_equal(dilated, ndimage.binary_dilation(mask))
    assert np.array_equal(eroded, ndimage.binary_erosion(mask))
    assert shifted.sum() == mask.sum()
    middles = [ndimage.center_of_mass(pixels) for pixels in (shifted, mask)]
    assert np.allclose(np.abs(np.subtract(*middles)), 1)
    assert drawn(Rough("eroded", 9)).any()


@both
def test_a_rough_box_is_filled(ndim: int) -> None:
    objects = (picture("image 0", ndim).objects == 1).astype(np.int32)
    drawn = rough_masks(objects, Rough("box"), np.random.default_rng(0))
    place = ndimage.find_objects(objects)[0]
    assert drawn[place].all()
    assert drawn.sum() == drawn[place].size


@both
def test_rough_marks_are_claims_about_every_pixel_and_nothing_else(tmp_path: Path, ndim: int) -> None:
    image_0 = picture("image 0", ndim)
    rough = Rough("eroded", 1)
    marks = list(Annotator(Pictures(CLASSES, [image_0]), rough=rough).spend(1000, "rough"))
    expected = np.where(image_0.objects > 0, 1, image_0.truth)
    kept = rough_masks(image_0.objects, rough, np.random.default_rng(0)) > 0
    expected[kept] = image_0.truth[kept]
    with project_image(tmp_path, image_0.truth) as image:
        apply(marks, image)
        assert np.array_equal(image.annotations.claims["rough"][...], expected)
        assert not image.knowledge().known.any()
        assert (image.annotations.rules, dict(image.annotations.tags)) == ((), {})


def test_rough_marks_leave_out_what_was_forgotten() -> None:
    image = Picture("many", Path("many.tif"), (many(2) > 0).astype(np.uint8) + 1, many(2))
    annotator = Annotator(Pictures(CLASSES[:2], [image]), rough=Rough("eroded", 1, 0.5))
    drawn = [mark for mark in painted(list(annotator.spend(1000, "rough"))) if mark.what.class_id == CELL]
    assert 20 <= len(drawn) <= 30

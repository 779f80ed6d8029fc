"""What annotations say about pixels: METHODS' invariants of the common core, in 2-D and 3-D."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_weakseg.core.annotations import Annotations, Box, CoverageRule
from napari_weakseg.core.classes import ClassTable
from napari_weakseg.core.knowledge import Bag, Knowledge
from napari_weakseg.core.regions import whole

CLASSES = ClassTable.from_names(["background", "nucleus", "debris"])
FULL = int(CLASSES.full)
SHAPES = st.one_of(st.tuples(*[st.integers(3, 9)] * 2), st.tuples(*[st.integers(3, 6)] * 3))


def known(annotations: Annotations, region: Any = None, **options: Any) -> Knowledge:
    shape = annotations.label_shape
    return Knowledge.from_annotations(
        annotations, CLASSES, whole(shape) if region is None else region, spatial_ndim=len(shape), **options
    )


def painted(shape: tuple[int, ...], *strokes: tuple[int, Any], **marks: Any) -> Annotations:
    labels = np.zeros(shape, np.uint8)
    for class_id, where in strokes:
        labels[where] = class_id
    return Annotations(shape, labels, np.zeros(shape, np.int32), **marks)


@st.composite
def corners(draw: Any, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    start = tuple(draw(st.integers(0, n - 1)) for n in shape)
    return start, tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))


@st.composite
def annotated(draw: Any, shape: tuple[int, ...] | None = None) -> Annotations:
    shape = draw(SHAPES) if shape is None else shape
    # mostly unpainted, as in life
    labels = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 3]), fill=st.just(0)))
    ids = draw(hnp.arrays(np.int32, shape, elements=st.integers(0, 2), fill=st.just(0)))
    boxes = [Box(draw(st.integers(2, 3)), *draw(corners(shape))) for _ in range(draw(st.integers(0, 2)))]
    rules = []
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.one_of(st.just((None, None)), corners(shape)))
        kind = draw(st.sampled_from(["some", "all objects", "exact"]))
        rules.append(CoverageRule(draw(st.sampled_from([None, 1, 2, 3])), kind, *place))
    tags = draw(st.dictionaries(st.integers(1, 3), st.booleans(), max_size=2))
    return Annotations(shape, labels, np.where(labels > 1, ids, 0), tuple(boxes), tags, tuple(rules))


@st.composite
def two_annotated(draw: Any) -> tuple[Annotations, Annotations, Annotations]:
    shape = draw(SHAPES)
    return draw(annotated(shape)), draw(annotated(shape)), draw(annotated(shape))


REACH = st.sampled_from([{}, {2: 1.5}, {2: 2.0, 3: 1.0}])


def same(a: Knowledge, b: Knowledge, *, seeds: bool = True) -> bool:
    fields = ("allowed", "painted", "complete", *(("seeds", "seed_class") if seeds else ()))
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in fields) and set(a.bags) == set(b.bags)


@given(two_annotated(), REACH, REACH)
def test_another_reach_gives_the_same_from_what_was_known_before(
    three: tuple[Annotations, ...], reach: dict[int, float], other: dict[int, float]
) -> None:
    before = known(three[0], reach_px=other)
    assert same(known(three[0], reach_px=reach, before=before), known(three[0], reach_px=reach))


@given(two_annotated(), REACH)
def test_merge_is_commutative_associative_idempotent_and_never_enlarges(
    three: tuple[Annotations, ...], reach: dict[int, float]
) -> None:
    a, b, c = (known(annotations, reach_px=reach) for annotations in three)
    assert same(a.merge(a), a)
    assert same(a.merge(b), b.merge(a))
    assert same(a.merge(b).merge(c), a.merge(b.merge(c)), seeds=False)
    merged = a.merge(b).allowed
    assert not (merged & ~a.allowed).any()
    assert not (merged & ~b.allowed).any()


@given(annotated(), st.data())
def test_merging_parts_of_one_painting_is_associative_in_its_seeds_too(
    annotations: Annotations, data: st.DataObject
) -> None:
    parts = []
    for _ in range(3):
        keep = data.draw(hnp.arrays(np.bool_, annotations.label_shape))
        parts.append(known(replace(annotations, labels=np.where(keep, annotations.labels, 0))))
    a, b, c = parts
    assert same(a.merge(b).merge(c), a.merge(b.merge(c)))
    assert same(a.merge(b), b.merge(a))


def test_knowledge_of_other_shapes_or_classes_is_not_merged() -> None:
    with pytest.raises(ValueError, match="cannot be merged"):
        known(Annotations.empty((3, 3))).merge(known(Annotations.empty((3, 4))))


@given(SHAPES)
def test_nothing_is_known_where_nothing_was_said(shape: tuple[int, ...]) -> None:
    k = known(Annotations.empty(shape))
    assert (k.allowed == FULL).all()
    assert not k.known.any()
    assert not k.conflicts.any()
    assert not k.complete.any()
    assert k.bags == ()
    assert (k.interfaces() == 255).all()


@given(annotated(), REACH)
def test_certain_known_and_conflicts_agree_with_the_sets(annotations: Annotations, reach: Any) -> None:
    k = known(annotations, reach_px=reach)
    allowed = np.stack([(k.allowed >> c) & 1 for c in CLASSES.ids])
    count = allowed.sum(0)
    assert not (k.allowed & ~np.uint32(FULL)).any()
    assert np.array_equal(k.conflicts, count == 0)
    assert np.array_equal(k.known, (count > 0) & (count < 3))
    assert np.array_equal(k.certain > 0, count == 1)
    assert np.array_equal(k.certain, np.where(count == 1, allowed.argmax(0) + 1, 0))
    assert k.certain.dtype == np.uint8
    assert np.array_equal(k.painted, annotations.labels > 0)


@given(annotated(), REACH)
def test_paint_allows_its_class_alone_unless_it_contradicts(annotations: Annotations, reach: Any) -> None:
    k = known(annotations, reach_px=reach)
    own = np.left_shift(np.uint32(1), annotations.labels.astype(np.uint32))
    assert not (k.allowed[k.painted] & ~own[k.painted]).any()


@given(annotated(), st.integers(1, 3))
def test_a_class_said_to_be_absent_is_allowed_nowhere(annotations: Annotations, class_id: int) -> None:
    absent = replace(annotations, tags={**annotations.tags, class_id: False})
    k = known(absent)
    assert not (k.allowed & CLASSES.bit(class_id)).any()
    assert k.conflicts[annotations.labels == class_id].all()


@given(annotated(), st.data())
def test_more_information_never_enlarges_the_sets(annotations: Annotations, data: st.DataObject) -> None:
    """New paint where the class does not claim to be complete; tags; exact coverage of another class."""
    open_world = replace(annotations, rules=())
    before = known(open_world).allowed
    more = data.draw(hnp.arrays(np.uint8, annotations.label_shape, elements=st.integers(0, 3)))
    extended = np.where(annotations.labels == 0, more, annotations.labels)
    for richer in (
        replace(open_world, labels=extended),
        replace(open_world, tags={**open_world.tags, 2: False}),
        replace(open_world, rules=(CoverageRule(2, "exact"),)),
        replace(open_world, rules=(CoverageRule(2, "exact"), CoverageRule(3, "all objects"))),
    ):
        assert not (known(richer).allowed & ~before).any()


def test_exact_coverage_rules_a_class_out_beside_its_paint() -> None:
    region = (slice(0, 2), slice(0, 4))
    rule = CoverageRule(2, "exact", (0, 0), (2, 4))
    k = known(painted((4, 4), (2, (0, 0)), rules=(rule,)))
    assert k.certain[0, 0] == 2
    assert (k.allowed[region].ravel()[1:] == FULL - 4).all()
    assert (k.allowed[2:] == FULL).all()
    assert not k.complete.any()


def test_where_every_class_is_exact_the_rest_is_background() -> None:
    k = known(painted((5, 5), (2, (slice(1, 3), slice(1, 3))), rules=(CoverageRule(None, "exact"),)))
    assert k.complete.all()
    assert np.array_equal(k.certain == 2, k.painted)
    assert (k.certain[~k.painted] == 1).all()
    assert not k.conflicts.any()


def test_an_empty_image_is_background_only_where_it_is_said_to_be_exact() -> None:
    assert not known(Annotations.empty((4, 4))).known.any()
    assert (known(replace(Annotations.empty((4, 4)), rules=(CoverageRule(None, "exact"),))).certain == 1).all()


@pytest.mark.parametrize("shape", [(10, 12), (4, 10, 12)])
def test_outside_all_boxes_of_complete_classes_is_background(shape: tuple[int, ...]) -> None:
    lead = (slice(0, 2),) * (len(shape) - 2)
    first = Box(2, (0,) * len(lead) + (1, 1), (2,) * len(lead) + (6, 6))
    second = Box(3, (0,) * len(lead) + (4, 4), (2,) * len(lead) + (9, 9))
    rules = (CoverageRule(2, "all objects"), CoverageRule(3, "all objects"))
    k = known(replace(Annotations.empty(shape), boxes=(first, second), rules=rules))
    in_first, in_second = np.zeros(shape, bool), np.zeros(shape, bool)
    in_first[first.region] = True
    in_second[second.region] = True
    assert (k.certain[~in_first & ~in_second] == 1).all()
    assert (k.allowed[in_first & ~in_second] == 0b0110).all()
    assert (k.allowed[in_second & ~in_first] == 0b1010).all()
    assert (k.allowed[in_first & in_second] == FULL).all()
    # without the word "all", boxes say nothing about the outside
    assert (known(replace(Annotations.empty(shape), boxes=(first, second))).allowed == FULL).all()


def test_blobs_of_a_complete_class_rule_out_what_lies_beyond_their_reach() -> None:
    annotations = painted((21, 21), (2, (10, 10)), rules=(CoverageRule(2, "all objects"),))
    assert (known(annotations).allowed[0] == FULL).all()  # how far they reach is not known
    k = known(annotations, reach_px={2: 5})
    y, x = np.mgrid[:21, :21]
    assert np.array_equal((k.allowed & 4) == 0, np.hypot(y - 10, x - 10) > 5)
    thick = known(annotations, reach_px={2: 5}, sampling=(2.5, 1.0))
    assert np.array_equal((thick.allowed & 4) == 0, np.hypot(2.5 * (y - 10), x - 10) > 5)


def test_a_complete_class_without_any_mark_says_nothing_yet() -> None:
    blank = replace(Annotations.empty((6, 6)), rules=(CoverageRule(None, "all objects"),))
    assert (known(blank, reach_px={2: 1}).allowed == FULL).all()


def test_a_blob_outside_the_boxes_keeps_its_surroundings_open() -> None:
    annotations = painted(
        (20, 20), (2, (15, 15)), boxes=(Box(2, (1, 1), (5, 5)),), rules=(CoverageRule(2, "all objects"),)
    )
    assert (known(annotations).allowed[~known(annotations).painted] == FULL).all()
    k = known(annotations, reach_px={2: 3})
    assert k.allowed[3, 3] == FULL
    assert k.allowed[15, 17] == FULL
    assert k.allowed[10, 10] == FULL - 4


def test_later_coverage_wins_where_rules_overlap() -> None:
    rules = (CoverageRule(None, "exact"), CoverageRule(2, "some", (0, 0), (3, 6)))
    k = known(replace(Annotations.empty((6, 6)), rules=rules))
    assert (k.allowed[:3] & 4).all()
    assert not (k.allowed[3:] & 4).any()
    assert not k.complete[:3].any()
    assert k.complete[3:].all()


def test_conflicting_facts_are_shown_and_stay_local() -> None:
    annotations = painted((6, 6), (3, (2, 2)), (2, (4, 4)), tags={3: False})
    k = known(annotations)
    assert np.array_equal(np.argwhere(k.conflicts), [[2, 2]])
    assert k.certain[4, 4] == 2
    assert k.certain[2, 2] == 0
    assert not k.known[2, 2]


def _moved(annotations: Annotations, turn: Any, box_of: Any) -> Annotations:
    return Annotations(
        turn(annotations.labels).shape,
        turn(annotations.labels),
        turn(annotations.objects),
        tuple(Box(b.class_id, *box_of(b.start, b.stop)) for b in annotations.boxes),
        annotations.tags,
        tuple(
            CoverageRule(r.class_id, r.kind, *(box_of(r.start, r.stop) if r.start else (None, None)))
            for r in annotations.rules
        ),
    )


def _flip(annotations: Annotations, axis: int) -> tuple[Any, Any]:
    n = annotations.label_shape[axis]

    def box(start: tuple[int, ...], stop: tuple[int, ...]) -> Any:
        a, b = list(start), list(stop)
        a[axis], b[axis] = n - stop[axis], n - start[axis]
        return tuple(a), tuple(b)

    return lambda array: np.flip(array, axis), box


def _rot90(annotations: Annotations) -> tuple[Any, Any]:
    n = annotations.label_shape[-1]

    def box(start: tuple[int, ...], stop: tuple[int, ...]) -> Any:  # (y, x) -> (n - 1 - x, y)
        return (*start[:-2], n - stop[-1], start[-2]), (*stop[:-2], n - start[-1], stop[-2])

    return lambda array: np.rot90(array, axes=(-2, -1)), box


@given(annotated(), REACH, st.integers(0, 3))
def test_turning_and_flipping_annotations_turns_and_flips_knowledge(
    annotations: Annotations, reach: Any, which: int
) -> None:
    axis = which - 1
    turn, box = _rot90(annotations) if which == 0 else _flip(annotations, axis % len(annotations.label_shape))
    before = known(annotations, reach_px=reach)
    after = known(_moved(annotations, turn, box), reach_px=reach)
    for name in ("allowed", "painted", "complete"):
        assert np.array_equal(turn(getattr(before, name)), getattr(after, name)), name
    assert np.array_equal(turn(before.interfaces()), after.interfaces())
    assert {(b.class_id, *box(b.start, b.stop)) for b in before.bags} == {
        (b.class_id, b.start, b.stop) for b in after.bags
    }
    pairs = {*zip(turn(before.seeds).ravel().tolist(), after.seeds.ravel().tolist(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})  # the same objects
    assert all(before.seed_class[a] == after.seed_class[b] for a, b in pairs)


@given(annotated(), REACH, st.data())
def test_knowledge_of_a_crop_is_the_crop_of_the_knowledge(
    annotations: Annotations, reach: Any, data: st.DataObject
) -> None:
    start, stop = data.draw(corners(annotations.label_shape))
    region = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    all_of_it, crop = known(annotations, reach_px=reach), known(annotations, region, reach_px=reach)
    for name in ("allowed", "painted", "complete"):
        assert np.array_equal(getattr(all_of_it, name)[region], getattr(crop, name)), name
    lines = {
        (b.class_id, tuple(p + o for p, o in zip(b.start, start, strict=True)))
        for b in crop.bags
        if b.stop != crop.shape or b.start != (0,) * len(start)
    }
    assert lines <= {(b.class_id, b.start) for b in all_of_it.bags}


def test_only_the_asked_frame_of_a_stack_counts() -> None:
    labels = np.zeros((3, 6, 6), np.uint8)
    labels[1, 2, 2] = 2
    rules = (CoverageRule(2, "exact", (1, 0, 0), (2, 6, 6)),)
    boxes = (Box(2, (1, 1, 1), (2, 4, 5)), Box(3, (0, 1, 1), (3, 4, 4)))
    annotations = Annotations((3, 6, 6), labels, np.zeros((3, 6, 6), np.int32), boxes, {2: True}, rules)
    frames = [
        Knowledge.from_annotations(annotations, CLASSES, (slice(t, t + 1), slice(0, 6), slice(0, 6)), spatial_ndim=2)
        for t in range(3)
    ]
    assert [int(k.painted.sum()) for k in frames] == [0, 1, 0]
    assert [bool(k.known.any()) for k in frames] == [False, True, False]
    assert [len(k.bags) for k in frames] == [0, 3 + 4, 0]  # the box through three frames is tight in none
    with pytest.raises(ValueError, match="one frame"):
        Knowledge.from_annotations(annotations, CLASSES, whole((3, 6, 6)), spatial_ndim=2)


def test_a_box_holds_its_object_in_every_row_and_column() -> None:
    annotations = replace(Annotations.empty((8, 8)), boxes=(Box(2, (1, 2), (3, 5)),))
    rows = {Bag(2, (y, 2), (y + 1, 5)) for y in (1, 2)}
    columns = {Bag(2, (1, x), (3, x + 1)) for x in (2, 3, 4)}
    assert set(known(annotations).bags) == rows | columns
    # a crop that cuts the box on the right knows nothing of whole rows, but its columns are whole
    cut = known(annotations, (slice(0, 8), slice(0, 4)))
    assert set(cut.bags) == {Bag(2, (1, 2), (3, 3)), Bag(2, (1, 3), (3, 4))}


def test_present_tag_is_a_bag_of_the_whole_image_only() -> None:
    annotations = replace(Annotations.empty((8, 8)), tags={2: True})
    assert known(annotations).bags == (Bag(2, (0, 0), (8, 8)),)
    assert known(annotations, (slice(0, 8), slice(0, 7))).bags == ()
    stack = replace(Annotations.empty((2, 8, 8)), tags={2: True})
    first = (slice(0, 1), slice(0, 8), slice(0, 8))
    assert Knowledge.from_annotations(stack, CLASSES, first, spatial_ndim=2).bags == ()


@pytest.mark.parametrize("lead", [(), (2,)])
def test_seeds_are_blobs_per_class_or_given_ids(lead: tuple[int, ...]) -> None:
    labels, objects = np.zeros((*lead, 9, 9), np.uint8), np.zeros((*lead, 9, 9), np.int32)
    labels[..., 0, 0:3] = 2
    labels[..., 0, 3:5] = 3  # touches, other class
    labels[..., 3, 0:6] = 2
    objects[..., 3, 0:3] = 7  # touching objects told apart
    objects[..., 3, 3:6] = 8
    labels[..., 6, 0:2] = 3
    objects[..., 6, 0:2] = 7  # the same id of another class
    labels[..., 8, :] = 1
    shape = labels.shape
    k = known(Annotations(shape, labels, objects))
    assert k.seed_class.tolist() == [0, 2, 3, 2, 2, 3]
    assert [k.seeds[..., y, x].flat[0] for y, x in ((0, 0), (0, 3), (3, 0), (3, 3), (6, 0), (8, 0))] == [
        1, 2, 3, 4, 5, 0,
    ]  # fmt: skip
    assert k.seeds.dtype == np.int32


def test_interfaces_of_touching_exact_objects() -> None:
    labels, objects = np.full((9, 20), 1, np.uint8), np.zeros((9, 20), np.int32)
    labels[2:7, 2:18] = 2
    objects[2:7, 2:10], objects[2:7, 10:18] = 1, 2
    annotations = Annotations((9, 20), labels, objects, rules=(CoverageRule(None, "exact"),))
    targets = known(annotations).interfaces()
    assert (targets[2:7, 9:11] == 1).all()
    assert (targets[4, [4, 15]] == 0).all()
    assert (targets[:, 0] == 0).all()
    assert (targets[4, [8, 11]] == 255).all()  # too near to call


def test_a_thin_painted_background_line_between_blobs_is_an_interface() -> None:
    annotations = painted(
        (9, 20), (2, (slice(2, 7), slice(3, 8))), (2, (slice(2, 7), slice(11, 16))), (1, (4, slice(8, 11)))
    )
    targets = known(annotations).interfaces()
    assert (targets[4, 8:11] == 1).all()
    assert (targets[3, 9] == 255).all()
    assert targets[4, 5] == 0
    assert targets[0, 0] == 255


@settings(max_examples=30)
@given(annotated())
def test_interfaces_never_contradict_themselves(annotations: Annotations) -> None:
    k = known(annotations)
    targets = k.interfaces()
    assert set(np.unique(targets)) <= {0, 1, 255}
    assert (k.painted | k.complete)[targets != 255].all()

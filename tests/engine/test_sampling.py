"""Batches: shapes that never change, shares that are kept, nothing invented at the border."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from napari_weakseg.core.knowledge import Knowledge
from napari_weakseg.engine.auxiliary import IGNORE
from napari_weakseg.engine.blocks import Block, Place, interfaces_of
from napari_weakseg.engine.sampling import Sampler

FULL = 0b110


def block(kind: str = "rough", shape: tuple[int, ...] = (40, 40), *, full: int = FULL, number: float = 0.0) -> Block:
    """Half background, half class 2 where exact; two small blobs where rough; nothing where bare."""
    allowed = np.full(shape, full, np.uint32)
    seeds = np.zeros(shape, np.int32)
    painted = np.zeros(shape, bool)
    if kind == "exact":
        allowed[:] = 0b010
        allowed[..., shape[-1] // 2 :] = 0b100
    if kind in ("exact", "rough"):
        seeds[..., -3:] = 1
        painted[..., :2] = painted[..., -3:] = True
        allowed[..., :2], allowed[..., -3:] = 0b010, 0b100
    complete = np.full(shape, kind == "exact")
    classes = np.array([0, 2] if seeds.any() else [0], np.uint8)
    known = Knowledge(allowed, painted, seeds, classes, complete, (), full)
    made = Block(
        Place("a", (), tuple(slice(0, n) for n in shape), marked=kind != "bare"),
        np.full((1, *shape), number, np.float32),
        known,
        interfaces_of(known),
        np.zeros(shape, bool),
        np.zeros(shape, np.uint8),
        np.zeros(shape, np.uint8),
        classes[seeds],
        0,
    )
    made.refresh()
    return made


@pytest.fixture
def sampler() -> Callable[..., Sampler]:
    return lambda patch=32, batch=8, ndim=2: Sampler((patch,) * ndim, batch, np.random.default_rng(0))


@pytest.mark.parametrize("shape", [(32, 32), (40, 100), (5, 7), (1, 1), (200, 3)])
@pytest.mark.parametrize("kinds", ["rough", "exact", "rough exact", "rough exact bare", "exact bare", "bare"])
def test_shapes_are_always_the_same(sampler: Callable[..., Sampler], shape: tuple[int, ...], kinds: str) -> None:
    blocks = [block(kind, shape) for kind in kinds.split()]
    drawn = sampler()
    for _ in range(3):
        batch = drawn.draw(blocks)
        assert batch.image.shape == (8, 1, 32, 32)
        assert batch.image.dtype == torch.float32
        kinds_of = {name: x.dtype for name, x in batch.fields.items()}
        assert kinds_of == {
            "allowed": torch.int32,
            "painted": torch.bool,
            "claim": torch.uint8,
            "claim_weight": torch.uint8,
            "interface": torch.uint8,
            "inwardness": torch.uint8,
            "approximation": torch.uint8,
        }
        assert all(x.shape == (8, 32, 32) for x in batch.fields.values())


def test_works_in_three_dimensions(sampler: Callable[..., Sampler]) -> None:
    batch = sampler(16, 4, 3).draw([block("rough", (5, 40, 40)), block("bare", (5, 40, 40))])
    assert batch.image.shape == (4, 1, 16, 16, 16)


def test_nothing_is_known_beyond_a_small_image(sampler: Callable[..., Sampler]) -> None:
    small = block("exact", (10, 12))
    batch = sampler(32, 4).draw([small])
    beyond = torch.ones(4, 32, 32, dtype=torch.bool)
    beyond[:, :10, :12] = False
    for name, fill in {"allowed": FULL, "painted": 0, "claim": 0, "interface": 255, "approximation": IGNORE}.items():
        assert (batch.fields[name][beyond] == fill).all(), name
    assert (batch.fields["allowed"][:, :10, :12] != FULL).all()


def test_thirty_one_classes_fit(sampler: Callable[..., Sampler]) -> None:
    full = sum(1 << k for k in range(1, 32))
    batch = sampler(32, 4).draw([block("rough", (10, 10), full=full)])
    assert (batch.fields["allowed"][:, 20:, 20:] == np.uint32(full).view(np.int32)).all()


@pytest.mark.parametrize(
    ("kinds", "size", "wanted"),
    [
        ("rough", 8, (0, 0)),
        ("exact", 8, (8, 0)),
        ("rough exact", 8, (4, 0)),
        ("rough exact bare", 8, (3, 1)),
        ("rough bare", 8, (0, 1)),
        ("exact bare", 8, (7, 1)),
        ("rough exact bare bare bare", 16, (7, 2)),
        ("rough exact bare", 2, (1, 0)),
        ("rough bare", 1, (0, 0)),
        ("bare", 4, (0, 4)),
    ],
)
def test_shares_are_kept(sampler: Callable[..., Sampler], kinds: str, size: int, wanted: tuple[int, int]) -> None:
    numbers = {"exact": 1.0, "rough": 2.0, "bare": 3.0}
    batch = sampler(16, size).draw([block(kind, number=numbers[kind]) for kind in kinds.split()])
    assert (batch.exact, batch.unmarked) == wanted
    drawn = batch.image[:, 0, 0, 0].tolist()
    n_exact, n_bare = wanted
    assert drawn == [1.0] * n_exact + [2.0] * (size - n_exact - n_bare) + [3.0] * n_bare


def test_one_patch_at_a_time_takes_turns(sampler: Callable[..., Sampler]) -> None:
    one = sampler(16, 1)
    blocks = [block("rough"), block("exact"), block("bare")]
    drawn = [one.draw(blocks) for _ in range(40)]
    assert {batch.exact for batch in drawn} == {0, 1}
    assert {batch.unmarked for batch in drawn} == {0}


def test_new_strokes_are_favoured_for_a_while(sampler: Callable[..., Sampler]) -> None:
    blocks = [block(number=i) for i in range(20)]
    drawn = sampler(16, 4)
    drawn.favour(blocks[7])

    def share(n: int) -> float:
        return float(np.mean([(drawn.draw(blocks).image[:, 0, 0, 0] == 7).float().mean() for _ in range(n)]))

    assert share(15) > 2 / 20
    assert share(200) < 1.5 / 20
    assert blocks[7].new_draws == 0


def test_most_patches_show_a_mark_and_rare_classes_are_as_likely(sampler: Callable[..., Sampler]) -> None:
    large = block("rough", (400, 400))
    drawn = sampler(16, 4)
    seen = [
        (batch.fields["allowed"] == bits).flatten(1).any(1)
        for _ in range(60)
        for bits in (2, 4)
        for batch in [drawn.draw([large])]
    ]
    background, nucleus = torch.cat(seen[::2]).float().mean(), torch.cat(seen[1::2]).float().mean()
    assert 0.3 < background < 0.6
    assert 0.3 < nucleus < 0.6


def test_held_out_pixels_are_shown_to_no_head(sampler: Callable[..., Sampler]) -> None:
    spared = block("exact", (32, 32))
    spared.held_out[..., 16:] = True
    spared.claim[:], spared.claim_weight[:] = 2, 255
    spared.refresh()
    batch = sampler(32, 4).draw([spared])
    for name, fill in {"allowed": FULL, "painted": 0, "claim": 0, "interface": 255, "approximation": IGNORE}.items():
        assert (batch.fields[name][..., 16:] == fill).all(), name
    assert 2 not in spared.marked_at


def test_blocks_are_never_written_to(sampler: Callable[..., Sampler]) -> None:
    made = block("rough", (40, 40))
    for array in (made.pixels, made.allowed, made.claim, made.approximation, made.interfaces):
        array.flags.writeable = False
    sampler(16, 4).draw([made])
    batch = sampler(64, 4).draw([made])
    batch.image.zero_()


def hinted(shape: tuple[int, int], **said: object) -> Block:
    """A block of which no pixel is certain; the value of a pixel tells where it is."""
    made = block("bare", shape, full=0b1110)
    made.pixels[0] = np.arange(made.pixels[0].size).reshape(shape)
    for name, value in said.items():
        setattr(made, name, value)
    return made


def test_boxes_go_with_their_patches(sampler: Callable[..., Sampler]) -> None:
    one = hinted((60, 90), boxes=[(2, (10, 20), (30, 50)), (3, (58, 0), (60, 3))])
    batch = sampler(32).draw([one])
    assert batch.unmarked == 8
    for i, class_id, start, stop in batch.boxes:
        at = divmod(int(batch.image[i, 0, 0, 0]), 90)
        _, lo, hi = one.boxes[class_id - 2]
        assert tuple(np.add(at, start)) == lo
        assert tuple(np.add(at, stop)) == hi
        assert all(a < 32 and b > 0 for a, b in zip(start, stop, strict=True))
    assert batch.boxes


def test_what_is_present_in_an_image_need_not_be_in_a_part_of_it(sampler: Callable[..., Sampler]) -> None:
    said = {"tags": {2: True, 3: False}, "whole": True, "boxes": [(2, (0, 0), (9, 9))]}
    part = sampler(32).draw([hinted((60, 90), **said)])
    assert part.tags.tolist() == [[0, 0, -1]] * 8
    everything = sampler(64).draw([hinted((60, 50), **said)])
    assert everything.tags.tolist() == [[0, 1, -1]] * 8


@pytest.mark.parametrize("shape", [(60, 90), (33, 20), (64, 64), (100, 3)])
def test_an_image_with_a_tag_alone_is_seen_as_a_whole(sampler: Callable[..., Sampler], shape: tuple[int, int]) -> None:
    one = hinted(shape, tags={2: True}, whole=True)
    one.knowledge.allowed[: shape[0] // 2] = 0b0110
    one.allowed = one.knowledge.allowed.view(np.int32)
    batch = sampler(32).draw([one])
    assert batch.tags.tolist() == [[0, 1, 0]] * 8
    assert batch.image.shape == (8, 1, 32, 32)
    step = max(-(-size // 32) for size in shape)
    rows, columns = (-(-size // step) for size in shape)
    image = batch.image[0, 0]
    assert image[:rows, :columns].min() < one.pixels.max() * 0.1
    assert image[:rows, :columns].max() > one.pixels.max() * 0.8
    seen = batch.fields["allowed"][0]
    middles = np.arange(rows) * step + (step // 2 if shape[0] > step // 2 else 0)
    for row, middle in enumerate(middles):
        known = middle < shape[0] // 2
        assert (seen[row, : shape[1] // step] == (0b0110 if known else 0b1110)).all()
    assert (seen[rows:] == 0b1110).all()


def test_a_quarter_of_a_batch_has_hints_only(sampler: Callable[..., Sampler]) -> None:
    known = [block(kind, full=0b1110) for kind in ("rough", "bare")]
    blocks = [*known, hinted((40, 40), boxes=[(2, (0, 0), (9, 9))])]
    batch = sampler().draw(blocks)
    assert batch.unmarked == 3  # two with hints, one with nothing
    assert {image for image, *_ in batch.boxes} <= {5, 6}


def test_blocks_with_tags_only_are_drawn_only_where_a_term_learns_from_tags() -> None:
    marked, tagged = block("rough"), block("bare", number=1.0)
    tagged.whole, tagged.tags = True, {2: True}
    for learns in (True, False):
        drawn = Sampler((32, 32), 8, np.random.default_rng(0), tagged=learns, unmarked=False)
        seen = {float(x) for _ in range(5) for x in drawn.draw([marked, tagged]).image[:, 0, 0, 0]}
        assert seen == ({0.0, 1.0} if learns else {0.0})


def test_boxes_place_patches_on_what_they_claim() -> None:
    boxed = block("bare", (200, 200))
    boxed.boxes = [(2, (150, 150), (180, 180))]
    boxed.claim[155:175, 155:175] = 2
    boxed.refresh()
    batch = Sampler((32, 32), 8, np.random.default_rng(0)).draw([boxed])
    assert (batch.fields["claim"] == 2).flatten(1).any(1).sum() >= 5
    assert batch.unmarked == 0


def told(number: float, *, full: int = FULL) -> Block:
    """Nothing is shown; a tag says that there is no object of class 2."""
    made = block("bare", full=full, number=number)
    made.knowledge.allowed[:] = full & ~0b100
    made.refresh()
    assert bool(made.marked_at) == (full == FULL)
    return made


@pytest.mark.parametrize("kinds", ["rough", "exact", "rough exact"])
@pytest.mark.parametrize("full", [FULL, 0b1110])
def test_what_tags_alone_tell_does_not_drown_what_is_shown(kinds: str, full: int) -> None:
    shown = [block(kind, full=full) for kind in kinds.split()]
    drawn = Sampler((16, 16), 6, np.random.default_rng(0), unmarked=False, tagged=False)
    for n in (1, 20):
        batch = drawn.draw([*shown, *(told(1.0, full=full) for _ in range(n))])
        assert batch.image[:, 0, 0, 0].tolist() == [0.0] * 5 + [1.0]
        assert batch.unmarked == 0
    small = Sampler((16, 16), 1, np.random.default_rng(0), unmarked=False)
    seen = [float(small.draw([*shown, told(1.0, full=full)]).image[0, 0, 0, 0]) for _ in range(300)]
    assert 0.1 < np.mean(seen) < 0.24


def test_a_class_that_tags_alone_tell_is_seen_as_often_as_others() -> None:
    """Objects are painted, background is known from an image that has none of them."""
    objects = block("rough")
    objects.knowledge.allowed[..., :2] = FULL
    objects.refresh()
    assert objects.marked_at.keys() == {2}
    drawn = Sampler((16, 16), 8, np.random.default_rng(0))
    seen = [drawn.draw([objects, told(1.0)]).image[:, 0, 0, 0].mean() for _ in range(50)]
    assert 0.4 < np.mean(seen) < 0.6


def test_what_tags_alone_tell_is_drawn_where_there_is_nothing_else() -> None:
    batch = Sampler((16, 16), 4, np.random.default_rng(0)).draw([told(1.0), told(1.0)])
    assert batch.image[:, 0, 0, 0].tolist() == [1.0] * 4

import numpy as np
import pytest

from napari_weakseg.core.errors import AnnotationError
from napari_weakseg.widgets.accept import object_at
from napari_weakseg.widgets.canvas import ImageCanvas
from napari_weakseg.widgets.overlay import Role
from napari_weakseg.widgets.pace import Pace

CASES = [
    ((40, 50), "YX"),
    ((5, 40, 50), "ZYX"),
    ((3, 40, 50), "CYX"),
    ((5, 3, 40, 50), "ZCYX"),
    ((3, 5, 40, 50), "CZYX"),
    ((2, 5, 3, 40, 50), "TZCYX"),
    ((40, 50, 2), "YXC"),
]
COLORS = ("#8c8c8c", "#e69f00", "#56b4e9")


@pytest.fixture
def open_canvas(viewer):
    opened = []

    def make(shape, axes, *, ndim=2, known=None, boxes=(), **settings):
        layer = viewer.add_image(np.random.default_rng(0).random(shape, np.float32), rgb=False, **settings)
        label_shape = tuple(n for n, axis in zip(shape, axes, strict=True) if axis != "C")
        disk = np.zeros(label_shape, np.uint8) if known is None else known.copy()

        def write(block, start):
            disk[tuple(slice(a, a + n) for a, n in zip(start, block.shape, strict=True))] = block

        canvas = ImageCanvas(
            viewer,
            layer,
            axes=axes,
            name="cells",
            spatial_ndim=ndim,
            colors=COLORS,
            known=disk.copy(),
            painted=[tuple(slice(0, n) for n in disk.shape)],
            boxes=boxes,
            write=write,
            on_touched=lambda: None,
            on_removed=lambda name: opened.append(name),
        )
        canvas.disk, canvas.removed = disk, opened
        return canvas

    return make


def edges(layer, axis):
    """Where a layer begins and ends in the world, its outer pixels included."""
    low, high = layer.extent.world[:, axis]
    return low - layer.scale[axis] / 2, high + layer.scale[axis] / 2


@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_label_layers_lie_over_the_image(open_canvas, viewer, shape, axes):
    scale, translate = np.arange(2.0, 2 + len(shape)), np.arange(10.0, 10 + len(shape))
    canvas = open_canvas(shape, axes, scale=scale, translate=translate, units=["um"] * len(shape))
    assert [layer.name for layer in viewer.layers[1:]] == ["prediction", "grown", "annotation"]
    image, labels = viewer.layers[0], canvas.annotation
    first = image.ndim - labels.ndim
    for axis in range(labels.ndim):
        np.testing.assert_allclose(edges(labels, axis), edges(image, axis + first), rtol=0, atol=1e-6)
    for axis, name in enumerate(axes):
        if name == "C":
            assert viewer.dims.nsteps[axis] == shape[axis]
    assert tuple(labels.units) == tuple(image.units)[first:]
    assert viewer.dims.ndim == len(shape)


@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_a_tile_shows_up_where_it_belongs_and_keeps_the_data_object(open_canvas, shape, axes):
    canvas = open_canvas(shape, axes)
    data = canvas.layers[Role.PREDICTION].data
    canvas.show_block(Role.PREDICTION, canvas.frame, (4, 6), np.full((8, 9), 2, np.uint8))
    assert canvas.refresh()
    assert canvas.layers[Role.PREDICTION].data is data
    labels = canvas.place.labels(data)
    assert (labels[canvas.frame][4:12, 6:15] == 2).all()
    assert (labels == 2).sum() == 72


@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_accepting_is_one_undo_and_spares_what_was_painted(open_canvas, shape, axes):
    canvas = open_canvas(shape, axes)
    frame = canvas.frame
    painted = canvas.place.indices([np.array([i]) for i in (*frame, 5, 7)])
    canvas.annotation.data_setitem(painted, 1)
    canvas.show_block(Role.GROWN, frame, (4, 6), np.full((8, 9), 2, np.uint8))
    assert canvas.accept_grown() == 71
    canvas.bridge.flush()
    assert canvas.disk[(*frame, 5, 7)] == 1
    assert (canvas.disk == 2).sum() == 71
    canvas.annotation.undo()
    canvas.bridge.flush()
    assert (canvas.disk == 2).sum() == 0
    assert canvas.disk[(*frame, 5, 7)] == 1


def test_the_object_under_the_mouse_is_accepted_and_no_other(open_canvas):
    canvas = open_canvas((40, 50), "YX", scale=(2, 3), translate=(5, 7))
    shown = np.ones((40, 50), np.uint8)
    shown[5:10, 5:10] = 2
    shown[20:30, 20:30] = 2
    canvas.show_block(Role.PREDICTION, (), (0, 0), shown)
    assert canvas.accept_object((5 + 2 * 25, 7 + 3 * 25)) == 100
    assert canvas.accept_object((5 + 2 * 25, 7 + 3 * 25)) == 0
    assert canvas.accept_object((5, 7)) == 0  # background
    assert canvas.accept_object((-500, -500)) == 0  # outside
    assert (canvas.annotation.data == 2).sum() == 100


def test_an_object_is_accepted_whole_however_far_it_winds(open_canvas):
    canvas = open_canvas((900, 1000), "YX")
    shown = np.ones((900, 1000), np.uint8)
    shown[5:890, 500] = shown[889, 30:990] = shown[20:890, 989] = 2
    shown[450:470, 520:540] = 2  # another one
    canvas.show_block(Role.PREDICTION, (), (0, 0), shown)
    assert canvas.accept_object((450, 500)) == (shown == 2).sum() - 400
    assert canvas.accept_object((460, 530)) == 400
    np.testing.assert_array_equal(canvas.annotation.data == 2, shown == 2)


def test_a_small_object_is_found_in_a_small_part_of_a_large_image():
    shown = np.ones((4000, 5000), np.uint8)
    shown[3990:, 4960:] = 2
    region, found = object_at(shown, (3995, 4970))
    assert found.size < 300**2
    assert found.sum() == (shown[region] == 2).sum() == 400


def test_an_object_of_a_volume_is_accepted_through_all_slices(open_canvas):
    canvas = open_canvas((6, 20, 20), "ZYX", ndim=3)
    shown = np.ones((6, 20, 20), np.uint8)
    shown[1:5, 5:10, 5:10] = 3
    canvas.show_block(Role.PREDICTION, (), (0, 0, 0), shown)
    canvas.viewer.dims.set_point(0, 3)
    assert canvas.accept_object((3, 7, 7)) == 100


def test_grown_regions_are_preferred_to_the_prediction(open_canvas):
    canvas = open_canvas((40, 50), "YX")
    canvas.show_block(Role.PREDICTION, (), (0, 0), np.full((40, 50), 3, np.uint8))
    grown = np.zeros((40, 50), np.uint8)
    grown[2:6, 2:6] = 2
    canvas.show_block(Role.GROWN, (), (0, 0), grown)
    assert canvas.accept_object((3, 3)) == 16
    assert set(np.unique(canvas.annotation.data)) == {0, 2}


def test_layers_follow_the_image_when_it_is_moved_or_rescaled(open_canvas):
    canvas = open_canvas((5, 3, 40, 50), "ZCYX")
    canvas.image.scale = (2, 1, 0.5, 0.5)
    canvas.image.translate = (1, 0, 7, 9)
    for layer in canvas.layers.values():
        np.testing.assert_allclose(layer.scale, (2, 3, 0.5, 0.5))
        np.testing.assert_allclose(layer.translate[[0, 2, 3]], (1, 7, 9))


def test_the_background_is_transparent_where_the_machine_says_so(open_canvas):
    canvas = open_canvas((40, 50), "YX")
    assert canvas.layers[Role.PREDICTION].get_color(1)[3] == 0
    assert canvas.layers[Role.GROWN].get_color(1)[3] == 0
    assert canvas.annotation.get_color(1)[3] == 1
    canvas.set_colors(("#8c8c8c", "#ff0000", "#56b4e9"))
    for layer in canvas.layers.values():
        np.testing.assert_allclose(layer.get_color(2)[:3], (1, 0, 0))


def test_results_cannot_be_painted_on(open_canvas):
    canvas = open_canvas((40, 50), "YX")
    assert not canvas.layers[Role.PREDICTION].editable
    assert not canvas.layers[Role.GROWN].editable
    assert canvas.annotation.editable


def test_a_removed_layer_is_told_and_comes_back_as_it_was(open_canvas, viewer):
    canvas = open_canvas((40, 50), "YX")
    canvas.annotation.paint((5, 5), 2)
    before = canvas.annotation.data.copy()
    viewer.layers.remove(canvas.annotation)
    assert canvas.removed == ["annotation"]
    canvas.show_block(Role.PREDICTION, (), (0, 0), np.full((4, 4), 2, np.uint8))
    canvas.refresh()
    canvas.bring_back()
    assert canvas.annotation in viewer.layers
    np.testing.assert_array_equal(canvas.annotation.data, before)
    assert not canvas.missing()


def test_the_annotation_on_disk_is_shown_again(open_canvas):
    known = np.zeros((5, 40, 50), np.uint8)
    known[2, 3:5, 3:5] = 2
    canvas = open_canvas((5, 40, 50), "ZYX", known=known)
    np.testing.assert_array_equal(canvas.annotation.data, known)
    assert canvas.bridge.counts[2] == 4


def test_the_annotation_shows_at_every_channel(open_canvas, viewer):
    canvas = open_canvas((5, 3, 40, 50), "ZCYX")
    canvas.annotation.data_setitem(tuple(np.array([i]) for i in (2, 0, 10, 20)), 2)
    for channel in range(3):
        viewer.dims.set_point([0, 1], [2, channel])
        assert canvas.annotation.get_value((2, channel, 10, 20), world=True) == 2


@pytest.mark.filterwarnings("ignore:Contours are not displayed")  # napari slices before it tells
def test_grown_regions_are_outlined_in_a_plane_and_filled_in_space(open_canvas, viewer):
    canvas = open_canvas((5, 40, 50), "ZYX")
    assert canvas.layers[Role.GROWN].contour > 0
    viewer.dims.ndisplay = 3
    assert canvas.layers[Role.GROWN].contour == 0
    viewer.dims.ndisplay = 2
    assert canvas.layers[Role.GROWN].contour > 0


def test_jumping_to_a_pixel_shows_its_slice(open_canvas, viewer):
    canvas = open_canvas((5, 3, 40, 50), "ZCYX", scale=(2, 1, 0.5, 0.5))
    viewer.dims.set_current_step(1, 0)
    canvas.go_to((4, 10, 20))
    assert canvas.frame == (4,)
    assert viewer.dims.current_step[1] == 0  # the channel that is looked at
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], (5, 10))


@pytest.mark.filterwarnings("ignore:Contours are not displayed")  # napari slices before it tells
def test_an_object_is_accepted_only_where_it_is_clear_which(open_canvas, viewer):
    canvas = open_canvas((5, 40, 50), "ZYX")
    canvas.show_block(Role.PREDICTION, (2,), (10, 10), np.full((8, 8), 2, np.uint8))
    canvas.go_to((2, 0, 0))
    viewer.dims.ndisplay = 3
    with pytest.raises(AnnotationError, match="which object"):
        canvas.accept_object((2, 12, 12))
    viewer.dims.ndisplay = 2
    viewer.dims.order = (1, 0, 2)
    with pytest.raises(AnnotationError, match="which object"):
        canvas.accept_object((2, 12, 12))
    viewer.dims.order = (0, 1, 2)
    assert canvas.accept_object((2, 12, 12)) == 64


def test_what_comes_late_is_drawn_at_once_where_drawing_is_quick(open_canvas):
    canvas, now = open_canvas((40, 50), "YX"), [0.0]
    canvas._pace = Pace(lambda: now[0])
    for _ in range(3):
        canvas.show_block(Role.PREDICTION, (), (0, 0), np.full((4, 4), 2, np.uint8))
        assert canvas.refresh()
        for _ in range(20):  # polls without anything new
            now[0] += 0.05
            assert not canvas.refresh()

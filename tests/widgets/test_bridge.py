import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_weakseg.core.errors import StorageError
from napari_weakseg.widgets.bridge import LayerBridge
from napari_weakseg.widgets.overlay import placement


class Disk:
    """Stands for the project: blocks go in, nothing else."""

    def __init__(self, shape):
        self.labels = np.zeros(shape, np.uint8)
        self.blocks = []
        self.touched = 0
        self.broken = False

    def write(self, block, start):
        if self.broken:
            raise StorageError("The disk is full.", "Make room.")
        self.blocks.append((start, block.shape))
        self.labels[tuple(slice(a, a + n) for a, n in zip(start, block.shape, strict=True))] = block

    def touch(self):
        self.touched += 1


def make(shape=(40, 50), axes="YX", n_classes=3):
    place = placement(Image(np.zeros(shape)), axes)
    layer = Labels(np.zeros(place.shape, np.uint8))
    disk = Disk(place.label_shape)
    known = np.zeros(place.label_shape, np.uint8)
    bridge = LayerBridge(layer, place, disk.write, known=known, painted=[], n_classes=n_classes, on_touched=disk.touch)
    return layer, bridge, disk


def settle(bridge, shown=None):
    while bridge.pending:
        bridge.flush(shown)


def test_a_stroke_reaches_the_disk_as_a_small_block():
    layer, bridge, disk = make()
    layer.paint((10, 20), 2)
    assert disk.touched
    assert bridge.flush((slice(0, 40), slice(0, 50)))
    (start, shape) = disk.blocks[0]
    assert start[0] >= 5
    assert max(shape) <= 12
    np.testing.assert_array_equal(disk.labels, layer.data)
    assert bridge.counts[2] == (layer.data == 2).sum()


@pytest.mark.parametrize("edit", ["undo", "redo", "fill", "data_setitem", "erase"])
def test_every_kind_of_edit_reaches_the_disk(edit):
    layer, bridge, disk = make()
    layer.paint((10, 20), 2)
    settle(bridge, (slice(0, 40), slice(0, 50)))
    if edit == "undo":
        layer.undo()
    elif edit == "redo":
        layer.undo()
        bridge.flush()
        layer.redo()
    elif edit == "fill":
        layer.fill((0, 0), 1)
    elif edit == "data_setitem":
        layer.data_setitem((np.array([3, 4]), np.array([5, 6])), 3)
    else:
        layer.paint((10, 20), 0)
    settle(bridge, (slice(0, 40), slice(0, 50)))
    np.testing.assert_array_equal(disk.labels, layer.data)


def test_an_undo_on_a_plane_that_is_no_longer_shown_reaches_the_disk():
    layer, bridge, disk = make((6, 40, 50), "ZYX")
    layer.data_setitem((np.full(3, 4), np.arange(3), np.arange(3)), 2)
    settle(bridge, (slice(4, 5), slice(0, 40), slice(0, 50)))
    assert (disk.labels[4] == 2).sum() == 3
    layer.undo()
    settle(bridge, (slice(0, 1), slice(0, 40), slice(0, 50)))
    assert not disk.labels.any()


def test_a_channel_axis_between_slices_and_rows_is_left_out_on_disk():
    layer, bridge, disk = make((5, 3, 40, 50), "ZCYX")
    layer.data_setitem((np.array([2]), np.array([0]), np.array([7]), np.array([8])), 1)
    settle(bridge)
    assert disk.labels[2, 7, 8] == 1


def test_unknown_labels_wait_until_their_class_exists():
    layer, bridge, disk = make(n_classes=2)
    layer.data_setitem((np.array([3, 3]), np.array([5, 6])), np.array([2, 9]))
    settle(bridge)
    assert bridge.stray == {9}
    assert disk.labels[3, 5] == 2
    assert disk.labels[3, 6] == 0
    bridge.n_classes = 9
    bridge.touch()
    settle(bridge)
    assert disk.labels[3, 6] == 9
    assert not bridge.stray


def test_unknown_labels_are_forgotten_when_undone():
    layer, bridge, _ = make(n_classes=2)
    layer.paint((10, 20), 9)
    settle(bridge, (slice(0, 40), slice(0, 50)))
    layer.undo()
    settle(bridge, (slice(0, 40), slice(0, 50)))
    assert not bridge.stray


def test_what_could_not_be_written_is_tried_again():
    layer, bridge, disk = make()
    disk.broken = True
    layer.paint((10, 20), 2)
    with pytest.raises(StorageError):
        bridge.flush((slice(0, 40), slice(0, 50)))
    disk.broken = False
    bridge.touch()
    settle(bridge, (slice(0, 40), slice(0, 50)))
    np.testing.assert_array_equal(disk.labels, layer.data)


def test_closing_hands_on_what_is_left_and_lets_go_of_the_layer():
    layer, bridge, disk = make()
    layer.paint((10, 20), 2)
    bridge.close()
    np.testing.assert_array_equal(disk.labels, layer.data)
    before = disk.touched
    layer.paint((30, 30), 1)
    assert disk.touched == before

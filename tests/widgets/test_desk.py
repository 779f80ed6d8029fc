from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from napari.layers import Image

from napari_weakseg.core.errors import ImageError, ProjectError, StorageError
from napari_weakseg.core.project import Project
from napari_weakseg.widgets.desk import Desk, annotation_of
from napari_weakseg.widgets.source_pixels import SourcePixels


def save_as(desk, path):
    desk.go_on_in(desk.new_folder(path))


@pytest.fixture
def opened(desk):
    yield desk
    desk.close()


def layer(shape=(30, 40), **settings):
    pixels = np.random.default_rng(0).random(shape, np.float32)
    return Image(pixels, **{"name": "cells", "rgb": False, **settings})


def paint(desk, name, value=2):
    desk.project.images[name].paint(np.full((4, 5), value, np.uint8), start=(3, 6))


def test_a_project_that_was_not_used_leaves_nothing_behind(opened):
    opened.new("cells")
    opened.add(layer(), "YX")
    path = opened.project.path
    assert path.is_relative_to(opened.root)
    opened.close()
    assert not path.exists()


def test_a_project_with_one_stroke_is_kept_and_opens_again(opened):
    opened.new("cells")
    name = opened.add(layer(), "YX")
    paint(opened, name)
    path = opened.project.path
    opened.close()
    again = opened.open(path)
    assert (annotation_of(again.images[name]) == 2).sum() == 20


def test_a_project_in_which_one_frame_is_tagged_is_kept(opened):
    opened.new("cells")
    name = opened.add(layer((3, 30, 40)), "TYX")
    opened.project.images[name].tag(2, False, (1,))
    path = opened.project.path
    opened.close()
    assert path.exists()


def test_save_as_moves_a_nameless_project_and_refuses_a_taken_folder(opened, tmp_path):
    opened.new("cells")
    paint(opened, opened.add(layer(), "YX"))
    old = opened.project.path
    (tmp_path / "taken.weakseg").mkdir()
    (tmp_path / "taken.weakseg" / "thesis.txt").write_text("mine")
    with pytest.raises(ProjectError, match="exists already"):
        save_as(opened, tmp_path / "taken.weakseg")
    save_as(opened, tmp_path / "mine")
    assert opened.project.path == tmp_path / "mine.weakseg"
    assert not old.exists()
    assert (annotation_of(opened.project.images["cells"]) == 2).sum() == 20


def test_save_as_finds_image_files_from_the_new_place(opened, tmp_path):
    file = tmp_path / "data" / "field.tif"
    file.parent.mkdir()
    pixels = np.arange(1200, dtype=np.uint16).reshape(30, 40)
    tifffile.imwrite(file, pixels)
    opened.new("field")
    opened.project.add_image(file, name="field", axes="YX")
    save_as(opened, tmp_path / "elsewhere" / "deep" / "copy")
    assert not opened.project.missing
    np.testing.assert_array_equal(np.asarray(SourcePixels(opened.project.images["field"])), pixels)


@pytest.mark.parametrize(
    "change", [lambda a: a, lambda a: a[::-1].copy(), lambda a: np.where(np.arange(a.shape[1]) == 7, 0, a)]
)
def test_a_file_is_referred_to_only_where_it_has_the_pixels_that_are_shown(opened, tmp_path, monkeypatch, change):
    pixels = np.random.default_rng(0).random((30, 40), np.float32)
    pixels[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "field.tif", pixels)
    monkeypatch.setattr(Image, "source", SimpleNamespace(path=str(tmp_path / "field.tif")))
    shown = Image(change(pixels), name="cells")
    opened.new("cells")
    name = opened.add(shown, "YX")
    image = opened.project.images[name]
    np.testing.assert_array_equal(image.source.read_exactly((slice(0, 30), slice(0, 40)))[0], shown.data)
    assert image.path.resolve().is_relative_to(opened.project.path) != np.array_equal(
        shown.data, pixels, equal_nan=True
    )


def test_two_layers_of_one_name_become_two_images(opened):
    opened.new("cells")
    assert opened.add(layer(), "YX") == "cells"
    assert opened.add(layer(), "YX") == "cells-2"


def test_another_number_of_channels_is_refused_in_words(opened):
    opened.new("cells")
    opened.add(layer(), "YX")
    with pytest.raises(ImageError, match="channel"):
        opened.add(layer((3, 30, 40), name="stain"), "CYX")


@pytest.mark.parametrize(("shape", "axes"), [((30, 40), "YX"), ((4, 30, 40), "ZYX"), ((2, 4, 30, 40), "CZYX")])
def test_an_image_comes_back_from_the_project_as_it_was(opened, shape, axes):
    image = layer(shape, scale=np.arange(1.0, 1 + len(shape)), units=["um"] * len(shape))
    opened.new("cells")
    name = opened.add(image, axes)
    stored = opened.project.images[name]
    pixels = SourcePixels(stored)
    assert pixels.axes == axes
    np.testing.assert_array_equal(np.asarray(pixels), image.data)
    np.testing.assert_array_equal(pixels[..., 3:9, 1], image.data[..., 3:9, 1])
    assert stored.source.pixel_size["X"] == (float(len(shape)), "µm")


def test_colours_come_back_as_colours(opened):
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    opened.new("tissue")
    name = opened.add(Image(pixels, rgb=True, name="tissue"), "YXC")
    stored = opened.project.images[name]
    source = SourcePixels(stored)
    assert source.rgb
    np.testing.assert_array_equal(np.asarray(source), pixels)


def test_opening_something_else_keeps_the_open_project(opened, tmp_path):
    opened.new("cells")
    project = opened.project
    with pytest.raises(ProjectError):
        opened.open(tmp_path)
    assert opened.project is project


def test_the_default_place_is_the_users_data_folder():
    assert "napari-weakseg" in str(Desk().root)


def test_merging_makes_a_third_project_and_leaves_both(opened, tmp_path):
    Project.create(tmp_path / "fibres.weakseg", ("background", "fibre")).close()
    opened.open(tmp_path / "fibres.weakseg")
    paint(opened, opened.add(layer(), "YX"))
    opened.close()
    opened.new("cells", classes=("background", "cell"))
    paint(opened, opened.add(layer(), "YX"))
    mine = opened.project.path
    with pytest.raises(ProjectError, match="open already"):
        opened.merge(mine, tmp_path / "both.weakseg")
    with pytest.raises(ProjectError, match="not joined"):
        opened.merge(tmp_path / "fibres.weakseg", tmp_path / "both.weakseg", wanted=lambda: False)
    assert not (tmp_path / "both.weakseg").exists()
    made, notes = opened.merge(tmp_path / "fibres.weakseg", opened.new_folder(tmp_path / "both"))
    assert not notes
    assert made == tmp_path / "both.weakseg"
    assert opened.project.path == mine
    both = opened.open(made)
    assert both.classes.names == ("background", "cell", "fibre")
    assert (annotation_of(both.images["cells"]) == 2).sum() == 20
    assert (annotation_of(both.images["cells-2"]) == 3).sum() == 20
    assert mine.exists()


def test_a_project_with_rough_masks_only_is_kept(opened):
    opened.new("cells")
    name = opened.add(layer(), "YX")
    opened.project.images[name].paint(np.full((4, 5), 2, np.uint8), start=(3, 6), trust="rough")
    path = opened.project.path
    opened.close()
    assert path.exists()


def referring(opened, folder, pixels):
    """Open a project in a folder that refers to the image file beside it."""
    folder.mkdir()
    tifffile.imwrite(folder / "img.tif", pixels)
    with Project.create(folder / "p.weakseg", ("background", "cell")) as project:
        project.add_image(folder / "img.tif")
    return opened.open(project.path)


def test_a_copy_does_not_take_the_image_that_lies_beside_it(opened, tmp_path):
    pixels = np.arange(1200, dtype=np.uint16).reshape(30, 40)
    referring(opened, tmp_path / "exp1", pixels)
    (tmp_path / "exp2").mkdir()
    tifffile.imwrite(tmp_path / "exp2" / "img.tif", pixels[::-1].copy())
    save_as(opened, tmp_path / "exp2" / "p")
    np.testing.assert_array_equal(np.asarray(SourcePixels(opened.project.images["img"])), pixels)
    assert opened.project.notes == ()


def test_a_copy_that_fails_leaves_nothing_in_the_way(opened, tmp_path):
    old = referring(opened, tmp_path / "exp1", np.zeros((30, 40), np.uint8))
    tifffile.imwrite(tmp_path / "exp1" / "img.tif", np.zeros((3, 4), np.uint8))
    with pytest.raises(ImageError):
        save_as(opened, tmp_path / "copies" / "p")
    assert not (tmp_path / "copies" / "p.weakseg").exists()
    assert opened.project is old


def test_a_project_is_given_free_where_the_old_one_cannot_be_closed(opened, tmp_path, monkeypatch):
    path = tmp_path / "other.weakseg"
    Project.create(path, ("background", "cell")).close()
    old = opened.new("cells")

    def refuse():
        raise StorageError("The disk is full.", "Free some space.")

    with monkeypatch.context() as patched:
        patched.setattr(old, "close", refuse)
        with pytest.raises(StorageError) as refused:  # which holds on to all that was at hand
            opened.open(path)
    old.close()
    Project.open(path).close()
    assert refused


def test_an_image_file_is_known_again_under_another_name(opened, tmp_path, monkeypatch):
    pixels = np.arange(1200, dtype=np.uint16).reshape(30, 40)
    referring(opened, tmp_path / "exp1", pixels)
    monkeypatch.setattr(Image, "source", SimpleNamespace(path=str(tmp_path / "exp1" / "img.tif")))
    assert opened.stored(Image(pixels, name="another name"), ()) == ("img", "YX")


@pytest.mark.parametrize(("unit", "short"), [("nm", "nm"), ("mm", "mm"), ("um", "µm")])
def test_pixel_sizes_are_positive_and_have_short_units(opened, unit, short):
    opened.new("cells")
    name = opened.add(layer(scale=(-0.5, 0.25), units=(unit, unit)), "YX")
    assert opened.project.images[name].pixel_size == {"Y": (0.5, short), "X": (0.25, short)}


def test_images_are_told_apart_by_every_digit_and_known_again_in_another_type(opened):
    opened.new("cells")
    pixels = np.arange(1200, dtype=np.uint32).reshape(30, 40) + 2**30
    opened.add(Image(pixels, name="cells"), "YX")
    assert opened.stored(Image(pixels.astype(np.int64), name="cells"), ()) == ("cells", "YX")
    assert opened.stored(Image(pixels + (pixels == pixels[3, 4]), name="cells"), ()) is None

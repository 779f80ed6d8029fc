import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_weakseg import Project
from napari_weakseg.core.errors import ImageError
from napari_weakseg.core.images import ImageSource, Statistics
from napari_weakseg.core.regions import whole


@settings(max_examples=40)
@given(st.permutations("TZCYX"), st.integers(2, 5))
def test_any_order_of_axes_reads_the_same(letters: list[str], n_axes: int) -> None:
    order = [a for a in letters if a in {2: "YX", 3: "CYX", 4: "ZCYX", 5: "TZCYX"}[n_axes]]
    size = {"T": 2, "Z": 3, "C": 4, "Y": 5, "X": 6}
    array = np.arange(np.prod([size[a] for a in order])).reshape([size[a] for a in order])
    source = ImageSource.open(array, "".join(order), "field")
    assert source.label_axes == "".join(a for a in "TZYX" if a in order)
    expected = array.transpose([order.index(a) for a in "CTZYX" if a in order])
    expected = expected if "C" in order else expected[None]
    region = tuple(slice(1, n) for n in source.label_shape)
    block = source.read(region)
    assert block.dtype == np.float32
    assert np.array_equal(block, expected[(slice(None), *region)])


@pytest.mark.parametrize(
    ("shape", "dtype", "axes", "label_axes", "channels"),
    [
        ((64, 80), "uint16", "YX", "YX", 1),
        ((64, 80, 3), "uint8", "YXC", "YX", 3),
        ((64, 80, 4), "uint8", "YXC", "YX", 3),  # opacity shows nothing of the sample
        ((64, 80, 4), "uint16", "YXC", "YX", 4),
        ((20, 64, 80, 4), "float32", "ZYXC", "ZYX", 4),
        ((20, 64, 80), "uint8", "ZYX", "ZYX", 1),
        ((20, 64, 80, 3), "uint8", "ZYXC", "ZYX", 3),
        ((9, 20, 64, 80), "float32", "TZYX", "TZYX", 1),
    ],
)
def test_axes_are_guessed(shape: Any, dtype: str, axes: str, label_axes: str, channels: int) -> None:
    source = ImageSource.open(np.zeros(shape, dtype))
    assert (source.axes, source.label_axes, source.n_channels) == (axes, label_axes, channels)
    assert source.read(whole(source.label_shape)).shape == (channels, *source.label_shape)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((3, 64, 64), None),
        ((2, 3, 64, 64), None),
        ((64, 64), "YZ"),
        ((64, 64), "YXC"),
        ((64, 64), "QX"),
        ((64, 64, 3), "YXX"),
        ((64,), None),
    ],
)
def test_unclear_axes_are_asked_for(shape: Any, axes: str | None) -> None:
    with pytest.raises(ImageError, match=r"“field”.*T time, Z planes, C channels \(S for RGB colour\)"):
        ImageSource.open(np.zeros(shape), axes, "field")


def _tiff(path: Path, array: np.ndarray, **options: Any) -> ImageSource:
    tifffile.imwrite(path, array, **options)
    return ImageSource.open(path)


def test_a_short_stack_in_a_tiff_takes_the_axes_that_are_given(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "five.tif", np.zeros((5, 40, 40), np.uint8), photometric="minisblack")
    with pytest.raises(ImageError, match="not clear"):
        ImageSource.open(tmp_path / "five.tif")
    assert [ImageSource.open(tmp_path / "five.tif", axes=axes).axes for axes in ("TYX", "CYX")] == ["TYX", "CYX"]


def test_tiff_kinds_tell_axes_and_pixel_size(tmp_path: Path) -> None:
    volume = np.arange(2 * 10 * 32 * 48, dtype=np.uint16).reshape(10, 2, 32, 48)
    ome = _tiff(
        tmp_path / "a.ome.tif",
        volume,
        metadata={
            "axes": "ZCYX",
            "PhysicalSizeX": 0.25,
            "PhysicalSizeY": 0.25,
            "PhysicalSizeZ": 1.0,
            "PhysicalSizeZUnit": "µm",
        },
    )
    assert (ome.axes, ome.label_shape, ome.n_channels, ome.name) == ("ZCYX", (10, 32, 48), 2, "a")
    assert ome.pixel_size == {"Z": (1.0, "µm"), "Y": (0.25, "µm"), "X": (0.25, "µm")}
    imagej = _tiff(
        tmp_path / "b.tif",
        volume,
        imagej=True,
        resolution=(4, 4),
        metadata={"axes": "ZCYX", "spacing": 2, "unit": "um"},
    )
    assert imagej.axes == "ZCYX"
    assert imagej.pixel_size == {"Z": (2.0, "µm"), "Y": (0.25, "µm"), "X": (0.25, "µm")}
    for source in (ome, imagej):
        assert np.array_equal(source.read(whole(source.label_shape)), volume.swapaxes(0, 1))
    unknown = _tiff(tmp_path / "u.ome.tif", volume[0, 0], metadata={"axes": "YX", "PhysicalSizeX": 0.0})
    assert unknown.pixel_size is None
    tiled = _tiff(tmp_path / "c.tif", volume[0, 0], tile=(16, 16), compression="zlib")
    assert np.array_equal(tiled.read((slice(3, 20), slice(5, 40)))[0], volume[0, 0, 3:20, 5:40])
    stack = _tiff(tmp_path / "d.tif", volume[:, 0], photometric="minisblack")
    assert stack.label_axes == "ZYX"
    big_endian = _tiff(tmp_path / "e.tif", volume[0, 0].astype(">u2"), byteorder=">")
    assert np.array_equal(big_endian.read((slice(0, 4), slice(0, 4)))[0], volume[0, 0, :4, :4])


@pytest.mark.parametrize(
    ("options", "dtype", "channels"),
    [
        ({"photometric": "rgb", "extrasamples": ["unassalpha"]}, np.uint8, 3),
        ({"photometric": "rgb", "extrasamples": ["unassalpha"]}, np.uint16, 4),
        ({"photometric": "rgb", "extrasamples": ["unspecified"]}, np.uint8, 4),
        ({"photometric": "minisblack", "planarconfig": "contig"}, np.uint8, 4),
        ({"photometric": "minisblack", "planarconfig": "contig", "tile": (16, 16)}, np.uint8, 4),
    ],
)
def test_only_what_a_tiff_calls_opacity_is_left_out(
    tmp_path: Path, options: Any, dtype: type[np.generic], channels: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 48, 4)).astype(dtype)
    source = _tiff(tmp_path / "four.tif", pixels, **options)
    assert (source.n_channels, source.is_rgb) == (channels, channels == 3)
    assert np.array_equal(source.read(whole((32, 48))), pixels.transpose(2, 0, 1)[:channels])


def test_of_several_positions_in_a_file_the_first_is_used_and_this_is_said(tmp_path: Path, project: Project) -> None:
    pixels = np.random.default_rng(0).normal(size=(3, 32, 48)).astype(np.float32)
    with tifffile.TiffWriter(tmp_path / "well.ome.tif", ome=True) as tiff:
        for position in pixels:
            tiff.write(position, metadata={"axes": "YX"})
    image = project.add_image(tmp_path / "well.ome.tif")
    assert np.array_equal(image.source.read(whole((32, 48)))[0], pixels[0])
    (note,) = image.source.notes
    assert "“well.ome.tif” holds 3 images (positions or series); only the first (32 × 48) is used" in note
    assert project.notes == (note,)


def test_pictures_numpy_and_zarr_are_read(tmp_path: Path) -> None:
    from skimage.io import imsave

    colour = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    imsave(tmp_path / "a.png", colour, check_contrast=False)
    np.save(tmp_path / "b.npy", colour)
    zarr.create_array(tmp_path / "c.zarr", data=colour)
    group = zarr.create_group(tmp_path / "d.ome.zarr", zarr_format=2)
    group.create_array("0", data=colour[..., 0])
    scale = [{"type": "scale", "scale": [0.5, 0.5]}]
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    ]
    for name in ("a.png", "b.npy", "c.zarr"):
        source = ImageSource.open(tmp_path / name)
        assert source.is_rgb
        assert np.array_equal(source.read(whole((24, 32))), colour.transpose(2, 0, 1)), name
    ome = ImageSource.open(tmp_path / "d.ome.zarr")
    assert ome.pixel_size == {"Y": (0.5, "µm"), "X": (0.5, "µm")}
    assert np.array_equal(ome.read(whole((24, 32)))[0], colour[..., 0])


@pytest.mark.parametrize("kind", ["tiled tiff", "plain tiff", "zarr"])
def test_a_huge_image_is_never_in_memory(tmp_path: Path, kind: str) -> None:
    shape, tile = (20_000, 20_000), 1024
    ramp = np.arange(tile, dtype=np.uint8)[None].repeat(tile, 0)
    if kind == "tiled tiff":
        count = (-(-shape[0] // tile)) ** 2
        path = tmp_path / "huge.tif"
        tifffile.imwrite(
            path,
            (ramp for _ in range(count)),
            shape=shape,
            dtype=np.uint8,
            tile=(tile, tile),
            compression="zlib",
        )
    elif kind == "plain tiff":
        path = tmp_path / "huge.tif"
        tifffile.memmap(path, shape=shape, dtype=np.uint8)[:tile, :tile] = ramp  # a sparse file
    else:
        path = tmp_path / "huge.zarr"
        zarr.create_array(path, shape=shape, dtype=np.uint8, chunks=(tile, tile), fill_value=7)
    tracemalloc.start()
    source = ImageSource.open(path)
    block = source.normalised((slice(900, 1100), slice(900, 1100)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert block.shape == (1, 200, 200)
    assert peak < 120e6  # the image is 400 MB


def test_normalisation_ignores_outliers_and_is_the_same_in_every_region() -> None:
    values = np.random.default_rng(0).normal(1000, 50, (2, 200, 200))
    values[1] *= 7
    values[0, 3, 3] = 1e9
    source = ImageSource.open(values, "CYX")
    whole_image = source.normalised(whole((200, 200)))
    low, high = np.percentile(whole_image, (1, 99), axis=(1, 2))
    assert np.allclose(low, 0, atol=1e-4)
    assert np.allclose(high, 1, atol=1e-4)
    assert whole_image.max() == 4
    assert np.array_equal(source.normalised((slice(5, 50), slice(7, 9))), whole_image[:, 5:50, 7:9])


def test_sparse_images_keep_their_spots() -> None:
    values = np.zeros((200, 200), np.uint16)
    values[10:14, 10:14] = 500
    source = ImageSource.open(values)
    assert source.normalised((slice(8, 12), slice(8, 12))).max() == 1
    assert source.notes == ()


def test_a_large_image_that_is_blank_but_for_one_place_is_measured_there(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "blank.zarr", shape=(9000, 9000), chunks=(500, 500), dtype="u1", fill_value=7)
    array[4100:4600, 5400:5900] = np.random.default_rng(0).integers(50, 150, (500, 500))
    source = ImageSource.open(tmp_path / "blank.zarr", axes="YX")
    saved: list[Statistics] = []
    source.on_statistics = saved.append
    assert "value 7 everywhere" in source.notes[0]  # its sample misses the place
    blank = (slice(0, 500), slice(0, 500))
    assert not source.normalised(blank).any()
    seen = source.normalised((slice(4100, 4600), slice(5400, 5900)))
    assert seen.std() > 0.2
    assert source.notes == ()
    assert saved[-1] == source.statistics
    assert saved[-1].low[0] < saved[-1].high[0]
    np.testing.assert_array_equal(source.normalised((slice(4100, 4600), slice(5400, 5900))), seen)  # for good
    assert (source.normalised(blank) < 0).all()


@pytest.mark.parametrize(("value", "note"), [(np.nan, "holds no number at all"), (3.0, "has the value 3 everywhere")])
def test_constant_and_empty_images_are_noted_not_fatal(value: float, note: str) -> None:
    source = ImageSource.open(np.full((2, 30, 30), [[[0.5]], [[value]]]) * np.ones((2, 30, 30)), "CYX", "field")
    assert (source.normalised(whole((30, 30))) == 0).all()
    assert any(f"Channel 2 of “field” {note}" in item for item in source.notes)


def test_gaps_count_as_zero_and_are_noted() -> None:
    values = np.random.default_rng(0).normal(size=(50, 50))
    values[:5], values[6, 6] = np.nan, np.inf
    source = ImageSource.open(values, name="field")
    normalised = source.normalised(whole((50, 50)))
    assert np.isfinite(normalised).all()
    assert (normalised[0, :5] == 0).all()
    assert "“field” has no number in 10" in source.notes[0]


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    plain, tiled, text = tmp_path / "plain.tif", tmp_path / "tiled.tif", tmp_path / "field.txt"
    tifffile.imwrite(plain, np.ones((200, 200), np.uint16))
    noise = np.random.default_rng(0).integers(0, 255, (256, 256), np.uint8)
    tifffile.imwrite(tiled, noise, tile=(64, 64), compression="zlib")
    text.write_text("no image")
    for path in (plain, tiled):
        path.write_bytes(path.read_bytes()[:-9_000])
    with pytest.raises(ImageError, match=r"plain.tif.*cut off.*Copy the file again"):
        ImageSource.open(plain)
    with pytest.raises(ImageError, match=r"tiled.tif.*damaged or cut off.*Copy it again"):
        ImageSource.open(tiled).read((slice(200, 256), slice(200, 256)))
    with pytest.raises(ImageError, match=r"field.txt.*cannot be read here.*Save it as TIFF"):
        ImageSource.open(text)
    with pytest.raises(ImageError, match=r"gone.tif.*is missing.*Put it back"):
        ImageSource.open(tmp_path / "gone.tif")
    (tmp_path / "empty.tif").touch()
    with pytest.raises(ImageError, match=r"empty.tif.*damaged or cut off"):
        ImageSource.open(tmp_path / "empty.tif")


def test_a_zarr_folder_of_several_things_is_called_that(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "plate.zarr" / "0", data=np.zeros((9, 9), np.uint8))
    zarr.open_group(tmp_path / "plate.zarr", mode="a")
    with pytest.raises(ImageError, match=r"plate.zarr” is a zarr folder, but no image.*for example “.*plate.zarr.0”"):
        ImageSource.open(tmp_path / "plate.zarr")
    assert ImageSource.open(tmp_path / "plate.zarr" / "0").shape == (9, 9)


def test_a_part_outside_is_refused() -> None:
    with pytest.raises(ImageError, match=r"shape is \(30, 30\) \(YX\).*inside"):
        ImageSource.open(np.zeros((30, 30)), name="field").read((slice(0, 31), slice(0, 30)))


@pytest.mark.parametrize("kind", ["array", "tiff", "npy"])
def test_normalising_never_writes_into_what_was_opened(tmp_path: Path, kind: str) -> None:
    """float32 needs no conversion, so that a view of the user's array, or of a file mapped into memory, is at hand."""
    array = np.random.default_rng(0).normal(5, 2, (40, 50)).astype(np.float32)
    before = array.copy()
    if kind == "tiff":
        source = _tiff(tmp_path / "a.tif", array)
    elif kind == "npy":
        np.save(tmp_path / "a.npy", array)
        source = ImageSource.open(tmp_path / "a.npy")
    else:
        source = ImageSource.open(array, name="a", axes="YX")
    first = source.normalised(whole(source.label_shape))
    np.testing.assert_array_equal(source.normalised(whole(source.label_shape)), first)
    np.testing.assert_array_equal(array, before)
    np.testing.assert_array_equal(source.read(whole(source.label_shape))[0], before)


@pytest.mark.parametrize("shape", [(1, 17, 520, 520), (3, 9, 520, 520)])
def test_a_stack_that_is_dark_at_its_ends_is_measured_in_its_middle(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.normal(10, 1, shape).astype(np.float32)
    pixels[:, shape[1] // 2] += rng.uniform(0, 1000, shape[-2:]).astype(np.float32)
    source = ImageSource.open(pixels, "TZYX", name="stack")
    assert source.statistics.high[0] > 100

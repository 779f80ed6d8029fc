from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_weakseg.core import plain
from napari_weakseg.core.errors import ImageError
from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.regions import whole


@settings(max_examples=60)
@given(st.data())
def test_any_part_reads_as_numpy_has_it(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 7), min_size=2, max_size=5)))
    dtype = data.draw(st.sampled_from(["<u2", ">u2", "<f8", "?"]))
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    path = tmp_path_factory.mktemp("plain") / "numbers"
    fortran = data.draw(st.booleans())
    path.write_bytes(b"header" + array.tobytes("F" if fortran else "C"))
    starts = [data.draw(st.integers(0, n)) for n in shape]
    region = tuple(slice(a, data.draw(st.integers(a, n))) for a, n in zip(starts, shape, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "_AT_ONCE_BYTES", data.draw(st.sampled_from([1, 20, 100, 2**20])))
        found = plain.PlainFile(path, array.dtype, 6, shape, fortran=fortran)[region]
    assert found.dtype == array.dtype
    assert np.array_equal(found, array[region])


@pytest.mark.parametrize("kind", ["tif", "npy", "fortran.npy"])
def test_a_file_cut_off_or_saved_anew_while_it_is_open_is_an_error_in_words(tmp_path: Path, kind: str) -> None:
    path, stack = tmp_path / f"stack.{kind}", np.full((20, 256, 256), 7, np.uint8)
    if kind == "tif":
        tifffile.imwrite(path, stack, photometric="minisblack", metadata={"axes": "ZYX"})
    else:
        np.save(path, np.asfortranarray(stack) if kind == "fortran.npy" else stack)
    source = ImageSource.open(path)
    last = (slice(19, 20), slice(0, 256), slice(0, 256))
    assert (source.read(last) == 7).all()
    content = path.read_bytes()
    for now in (content[:4], content[:-9], content + content):
        path.write_bytes(now)
        with pytest.raises(ImageError, match=r"stack.*changed or cut off by another program.*open the project again"):
            source.read(last)
    path.write_bytes(content)
    assert (source.read(last) == 7).all()


def test_numpy_files_in_fortran_order_are_read(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(20 * 30).reshape(20, 30))
    np.save(tmp_path / "a.npy", array)
    assert np.array_equal(ImageSource.open(tmp_path / "a.npy").read(whole((20, 30)))[0], array)

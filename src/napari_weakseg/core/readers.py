"""Opening image files so that only the parts asked for are read: TIFF, zarr, OME-Zarr, numpy, pictures."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.axes import file_axes
from napari_weakseg.core.errors import ImageError
from napari_weakseg.core.names import PICTURES, TIFF
from napari_weakseg.core.plain import PlainFile
from napari_weakseg.core.units import short_unit

PixelSize = Mapping[str, tuple[float, str]]

_KINDS = "TIFF, OME-TIFF, zarr, OME-Zarr, .npy, PNG or JPEG"


class Pixels(Protocol):
    """An array of any kind that is read by slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of pixels along every axis."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the numbers."""
        ...

    def __getitem__(self, index: Any, /) -> Any: ...


@dataclass(frozen=True)
class Opened:
    """Pixels of an opened image, what the file tells of axes and pixel size, how to close it, and what was noticed."""

    pixels: Pixels
    axes: str | None = None
    pixel_size: PixelSize | None = None
    close: Callable[[], None] = lambda: None
    notes: tuple[str, ...] = ()


def open_file(path: Path, *, name: str, spatial_ndim: int = 2) -> Opened:
    """Open an image file without reading its pixels.

    Raises
    ------
    ImageError
        If the file is missing, of an unknown kind, cut off, or packed in a way that cannot be unpacked here.
    """
    suffix = path.suffix.lower()
    try:
        if not path.exists():
            raise ImageError(
                f"The file “{path}” of the image “{name}” is missing.", "Put it back, or show where it is now."
            )
        if suffix in TIFF:
            return _open_tiff(path, name, spatial_ndim)
        if path.is_dir():
            return _open_zarr(path, spatial_ndim)
        if suffix == ".npy":
            return _open_npy(path)
        if suffix in PICTURES:
            return _open_picture(path)
    except ImageError:
        raise
    except Exception as error:  # decoders raise all sorts of things on damaged files
        raise unreadable(path, name, error) from error
    raise ImageError(f"“{path.name}” is of a kind that cannot be read here.", f"Save it as {_KINDS}.")


def unreadable(path: Path | None, name: str, error: Exception) -> ImageError:
    """`ImageError` for pixels that cannot be decoded."""
    if "imagecodecs" in str(error):
        return ImageError(
            f"“{path or name}” is packed in a way that needs the package imagecodecs.",
            "Run “pip install imagecodecs”, or save the image without compression.",
            repr(error),
        )
    if isinstance(error, PermissionError):
        return ImageError(
            f"The image “{path or name}” cannot be read: you have no permission to look at it.",
            "Ask for it, or copy the image to a folder of your own.",
            repr(error),
        )
    if isinstance(error, FileNotFoundError):
        return ImageError(
            f"The image “{path or name}” cannot be read: it is not there any more.", "Put it back.", repr(error)
        )
    return ImageError(
        f"The image “{path or name}” cannot be read: it seems to be damaged or cut off.",
        f"Copy it again from where it came, or save it anew as {_KINDS}.",
        repr(error),
    )


def _open_npy(path: Path) -> Opened:
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # for its header only
    fortran = not mapped.flags.c_contiguous
    return Opened(PlainFile(path, mapped.dtype, mapped.offset, mapped.shape, fortran=fortran))


def _open_tiff(path: Path, name: str, spatial_ndim: int) -> Opened:
    import tifffile

    tiff = tifffile.TiffFile(path)
    try:
        return _opened_series(tiff, path, name, spatial_ndim)
    except BaseException:
        tiff.close()
        raise


def _opened_series(tiff: Any, path: Path, name: str, spatial_ndim: int) -> Opened:
    """First series of a TIFF: one plain block of numbers, or pieces that zarr puts together."""
    import zarr

    series = tiff.series[0]
    axes = file_axes(series.axes, spatial_ndim=spatial_ndim)
    if axes and "S" in axes and series.shape[axes.index("S")] == 4 and not _has_opacity(series.keyframe):
        axes = axes.replace("S", "C")
    size, notes = _tiff_pixel_size(tiff), _other_series(tiff, path)
    if series.dataoffset is not None and not series.is_multifile:  # one plain block of numbers
        end = series.dataoffset + series.nbytes
        if end > path.stat().st_size:
            raise ImageError(
                f"“{path}” is cut off: {end} bytes are announced, {path.stat().st_size} are there.",
                "Copy the file again from where it came.",
            )
        dtype = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
        tiff.close()
        return Opened(PlainFile(path, dtype, series.dataoffset, series.shape), axes, size, notes=notes)
    store = series.aszarr(level=0)
    return Opened(zarr.open_array(store, mode="r"), axes, size, tiff.close, notes)


def _has_opacity(page: Any) -> bool:
    """Whether a page says that it is a colour picture, and its last channel opacity."""
    import tifffile

    opacity = {tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA}
    return page.photometric == tifffile.PHOTOMETRIC.RGB and bool(opacity & set(page.extrasamples))


def _other_series(tiff: Any, path: Path) -> tuple[str, ...]:
    count = len(tiff.series)
    if count == 1:
        return ()
    sizes = " × ".join(map(str, tiff.series[0].shape))
    return (
        f"“{path.name}” holds {count} images (positions or series); only the first ({sizes}) is used. "
        "To use the others as well, save each as a file of its own.",
    )


def _tiff_pixel_size(tiff: Any) -> PixelSize | None:
    """Pixel size from OME or ImageJ metadata; None where there is none."""
    if tiff.ome_metadata:
        return _ome_pixel_size(tiff.ome_metadata)
    imagej = tiff.imagej_metadata
    if not imagej or "unit" not in imagej:
        return None
    unit = short_unit(str(imagej["unit"]))
    sizes = {}
    for axis, tag in (("Y", "YResolution"), ("X", "XResolution")):
        if tag in tiff.pages[0].tags:
            numerator, denominator = tiff.pages[0].tags[tag].value
            if numerator:
                sizes[axis] = (denominator / numerator, unit)
    if "spacing" in imagej:
        sizes["Z"] = (abs(float(imagej["spacing"])), unit)
    return sizes or None


def _ome_pixel_size(xml: str) -> PixelSize | None:
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None
    pixels = next((element for element in root.iter() if element.tag.endswith("}Pixels")), None)
    if pixels is None:
        return None
    return {
        axis: (float(value), short_unit(pixels.get(f"PhysicalSize{axis}Unit", "µm")))
        for axis in "ZYX"
        if (value := pixels.get(f"PhysicalSize{axis}"))
    } or None


def _open_zarr(path: Path, spatial_ndim: int) -> Opened:
    """Open a zarr array, or the finest level of an OME-Zarr image."""
    import zarr

    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        names = getattr(node.metadata, "dimension_names", None)
        axes = "".join(str(n)[:1] for n in names) if names and all(names) else None
        return Opened(node, axes)
    attributes = dict(node.attrs)
    multiscales: Any = attributes.get("ome", attributes)
    if "multiscales" not in multiscales:
        inside = sorted(path / name for name in node)
        raise ImageError(
            f"“{path}” is a zarr folder, but no image: it holds {len(inside)} other things (images, series or wells).",
            f"Choose an image inside it, for example “{inside[0]}”." if inside else "Choose another one.",
        )
    multiscale = multiscales["multiscales"][0]
    finest = multiscale["datasets"][0]
    axes_info = [a if isinstance(a, dict) else {"name": a} for a in multiscale["axes"]]
    axes = "".join(str(a["name"]).upper() for a in axes_info)
    sizes = {}
    for transform in finest.get("coordinateTransformations", []):
        if transform.get("type") == "scale":
            for info, value in zip(axes_info, transform["scale"], strict=True):
                if info.get("unit") and info["name"].upper() in "ZYX":
                    sizes[info["name"].upper()] = (float(value), short_unit(str(info["unit"])))
    array = node[finest["path"]]
    assert isinstance(array, zarr.Array)
    return Opened(array, axes, sizes or None)


def _open_picture(path: Path) -> Opened:
    if path.suffix.lower() == ".gif":
        return _open_gif(path)
    from skimage.io import imread

    pixels: NDArray[Any] = np.asarray(imread(path))
    return Opened(pixels, {2: "YX", 3: "YXS"}.get(pixels.ndim, "TYXS"))


def _open_gif(path: Path) -> Opened:
    """Open a GIF, grey or coloured, as a picture if it does not move."""
    from imageio.v3 import imread  # scikit-image's own takes grey frames for channels

    frames: NDArray[Any] = np.asarray(imread(path, plugin="pillow"))
    axes = "TYX" if frames.ndim == 3 else "TYXS"
    return Opened(frames[0], axes[1:]) if len(frames) == 1 else Opened(frames, axes)

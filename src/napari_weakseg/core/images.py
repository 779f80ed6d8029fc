"""Images read lazily, with their axes, pixel size and one robust normalisation each."""

import warnings
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.axes import CHANNEL, LABEL_AXES, guessed_axes, is_length, label_axes_of, normalised_axes
from napari_weakseg.core.errors import ImageError
from napari_weakseg.core.names import stem_of
from napari_weakseg.core.readers import Opened, PixelSize, open_file, unreadable
from napari_weakseg.core.regions import Region, region_of, whole

_SAMPLE_PIXELS = 2**22  # per channel; larger images are sampled in blocks
_SAMPLE_BLOCK_PX = 256
_USELESS = ", so nothing can be learned from it."


@dataclass(frozen=True, slots=True)
class Statistics:
    """1st and 99th percentile of each channel, and what was noticed on the way."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    notes: tuple[str, ...] = ()


class ImageSource:
    """An image that is read by region, never as a whole unless it is asked for.

    Attributes
    ----------
    name : str
    axes : str
        Letters of TZCYX in the order of the file.
    shape : tuple of int
        Shape in that order.
    dtype : dtype
    n_channels : int
    label_axes, label_shape
        The axes without channels, ordered as in TZYX, and their sizes.
    pixel_size : mapping or None
        Axis letter → (size, unit).
    path : Path or None
    is_rgb : bool
    file_notes : tuple of str
        What was noticed at opening.
    """

    def __init__(self, opened: Opened, axes: str, *, name: str, path: Path | None) -> None:
        self._opened = opened
        self._close = weakref.finalize(self, opened.close)
        self._statistics: Statistics | None = None
        self._statistics_lock = Lock()
        self.on_statistics: Callable[[Statistics], None] | None = None  # told when they were measured
        self.name = name
        self.path = path
        self.shape = tuple(int(size) for size in opened.pixels.shape)
        self.dtype = np.dtype(opened.pixels.dtype)
        self.axes = normalised_axes(axes, self.shape, name)
        if 0 in self.shape:
            raise ImageError(f"“{name}” is empty ({' × '.join(map(str, self.shape))}).", "Choose an image with pixels.")
        if self.dtype.kind not in "buif":
            raise ImageError(f"“{name}” holds {self.dtype} values.", "Save it with integer or decimal numbers.")
        self.label_axes = label_axes_of(self.axes)
        size_of = dict(zip(self.axes, self.shape, strict=True))
        self.label_shape = tuple(size_of[axis] for axis in self.label_axes)
        channels = size_of.get(CHANNEL, 1)
        # the fourth channel of a colour picture is opacity and shows nothing of the sample; those have 8 bits
        self.is_rgb = "S" in axes.upper() and (channels == 3 or (channels == 4 and self.dtype == np.uint8))
        self.n_channels = 3 if self.is_rgb else channels
        self.pixel_size: PixelSize | None = _known(opened.pixel_size)
        self.file_notes = opened.notes

    @classmethod
    def open(
        cls,
        path_or_array: Any,
        axes: str | None = None,
        name: str | None = None,
        *,
        pixel_size: Mapping[str, tuple[float, str]] | None = None,
        spatial_ndim: int = 2,
    ) -> "ImageSource":
        """Open a file or wrap an array (numpy, dask, zarr); no pixel is read.

        Parameters
        ----------
        path_or_array : path or array
        axes : str, optional
            Letters of TZCYX (S = colour); as the file tells or guessed from the shape if left out.
        name : str, optional
            The file's name without its ending if left out.
        pixel_size : mapping, optional
            Axis letter → (size, unit), instead of what the file tells.
        spatial_ndim : {2, 3}
            Helps to tell a stack of images from a volume.

        Raises
        ------
        ImageError
            If the file cannot be read or the axes do not fit.
        """
        path = None
        if isinstance(path_or_array, str | Path):
            path = Path(path_or_array).expanduser().absolute()
            name = name or stem_of(path)
            opened = open_file(path, name=name, spatial_ndim=spatial_ndim)
        else:
            name = name or "image"
            opened = Opened(path_or_array if hasattr(path_or_array, "dtype") else np.asarray(path_or_array))
        axes = axes or opened.axes or guessed_axes(opened.pixels.shape, name, spatial_ndim=spatial_ndim)
        source = cls(opened, axes, name=name, path=path)
        source.pixel_size = _known(pixel_size) or source.pixel_size
        return source

    def read(self, region: Region) -> NDArray[np.float32]:
        """Raw values of a region over the label axes, float32 ``(C, *region_shape)``, in memory of their own.

        Raises
        ------
        ImageError
            If the region lies outside, or if the file is damaged there.
        """
        # always a copy: what was opened may be somebody's array
        return np.array(self.read_exactly(region), np.float32, order="C")

    def read_exactly(self, region: Region) -> NDArray[Any]:
        """As `read`, in the type of the file, which may be too long for float32; not to be written into."""
        inside = len(region) == len(self.label_shape) and all(
            0 <= s.start <= s.stop <= size for s, size in zip(region, self.label_shape, strict=True)
        )
        if not inside:
            raise ImageError(
                f"A part {tuple((s.start, s.stop) for s in region)} of “{self.name}” was asked for, "
                f"but its shape is {self.label_shape} ({self.label_axes}).",
                "Ask for a part inside the image.",
            )
        slices = dict(zip(self.label_axes, region, strict=True))
        slices[CHANNEL] = slice(0, self.n_channels)
        try:
            block = np.asarray(self._opened.pixels[tuple(slices[axis] for axis in self.axes)])
        except ImageError:
            raise
        except Exception as error:  # decoders raise all sorts of things on damaged files
            raise unreadable(self.path, self.name, error) from error
        order = [self.axes.index(axis) for axis in CHANNEL + LABEL_AXES if axis in self.axes]
        block = block.transpose(order)
        return block if CHANNEL in self.axes else block[np.newaxis]

    def same_pixels(self, other: "ImageSource") -> bool:
        """Tell whether another image has the same values along the label axes; of large ones a sample is compared.

        Order of the axes and type of the numbers may be others.

        Raises
        ------
        ImageError
            If one of them cannot be read.
        """
        mine, its = ((image.label_axes, image.label_shape, image.n_channels, image.is_rgb) for image in (self, other))
        if mine != its:
            return False
        return all(
            np.array_equal(self.read_exactly(r), other.read_exactly(r), equal_nan=True) for r in self._sample_regions()
        )

    def normalised(self, region: Region) -> NDArray[np.float32]:
        """Values of a region, each channel's 1st percentile at 0 and 99th at 1, clipped to [-1, 4].

        The percentiles are those of the image, computed once. NaN, infinities and constant channels become 0.

        Of a large image only a sample is seen. If a channel has one value there, as in a slide that is mostly blank,
        it is measured at the first place read here that has others.
        """
        block = self.read(region)
        statistics = self._seen_to_vary(block)
        for channel, low, high in zip(block, statistics.low, statistics.high, strict=True):
            if high > low:
                channel -= low
                channel /= high - low
                if self.dtype.kind == "f":
                    channel[~np.isfinite(channel)] = 0
                np.clip(channel, -1, 4, out=channel)
            else:
                channel[...] = 0
        return block

    def _seen_to_vary(self, block: NDArray[np.float32]) -> Statistics:
        """Percentiles, for channels without any so far those of a block, (C, *S)."""
        known = self.statistics
        flat = [i for i, (low, high) in enumerate(zip(known.low, known.high, strict=True)) if low >= high]
        if not flat or len(self._sample_regions()) == 1:
            return known
        here = self._measured(block.reshape(len(block), -1))
        varied = [i for i in flat if here.low[i] < here.high[i]]
        if not varied:
            return known
        low, high = (
            tuple(new[i] if i in varied else old[i] for i in range(self.n_channels))
            for new, old in ((here.low, known.low), (here.high, known.high))
        )
        notes = [note for note in known.notes if len(varied) < len(flat) or not note.endswith(_USELESS)]
        self.statistics = known = Statistics(low, high, tuple(notes))
        if self.on_statistics is not None:
            self.on_statistics(known)
        return known

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed about the file, and about the values: gaps, constant channels."""
        return (*self.file_notes, *self.statistics.notes)

    @property
    def statistics(self) -> Statistics:
        """Percentiles of each channel, computed at first use from at most a few million pixels."""
        with self._statistics_lock:
            if self._statistics is not None:
                return self._statistics
            sample = [self.read(r).reshape(self.n_channels, -1) for r in self._sample_regions()]
            statistics = self._statistics = self._measured(np.concatenate(sample, axis=1))
        if self.on_statistics is not None:
            self.on_statistics(statistics)
        return statistics

    @statistics.setter
    def statistics(self, statistics: Statistics) -> None:
        with self._statistics_lock:
            self._statistics = statistics if len(statistics.low) == self.n_channels else None

    def close(self) -> None:
        """Close the file."""
        self._close()

    def _measured(self, sample: NDArray[np.float32]) -> Statistics:
        """Percentiles of some values, (C, n)."""
        low, high, notes = [], [], []
        for number, values in enumerate(sample):
            finite = values[np.isfinite(values)]
            which = f"Channel {number + 1} of “{self.name}”" if self.n_channels > 1 else f"“{self.name}”"
            if finite.size < values.size:
                gaps = 100 * (1 - finite.size / values.size)
                notes.append(f"{which} has no number in {gaps:.3g} % of its pixels; they count as 0.")
            a, b = _spread(finite)
            if a >= b:
                what = "holds no number at all" if finite.size == 0 else f"has the value {a:g} everywhere"
                notes.append(f"{which} {what}{_USELESS}")
            low.append(a)
            high.append(b)
        return Statistics(tuple(low), tuple(high), tuple(notes))

    def _sample_regions(self) -> list[Region]:
        """Choose the whole image, or blocks spread evenly over a large one, its middle among them."""
        if np.prod(self.label_shape, dtype=np.int64) <= _SAMPLE_PIXELS:
            return [whole(self.label_shape)]
        block = [1] * (len(self.label_shape) - 2) + [min(_SAMPLE_BLOCK_PX, size) for size in self.label_shape[-2:]]
        room = [size - side for size, side in zip(self.label_shape, block, strict=True)]
        per_axis = max(3, int((_SAMPLE_PIXELS / np.prod(block)) ** (1 / len(block)))) if len(block) > 2 else 8
        starts = [sorted({round(i * r / (per_axis - 1)) for i in range(per_axis)}) for r in room]
        return [region_of(s, [a + n for a, n in zip(s, block, strict=True)]) for s in product(*starts)]


def _spread(values: NDArray[np.float32]) -> tuple[float, float]:
    """1st and 99th percentile; wider ones where a sparse image has these equal, so only constants are."""
    if values.size == 0:
        return 0.0, 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # overflow of extreme values
        for low, high in ((1.0, 99.0), (0.05, 99.95), (0.0, 100.0)):
            a, b = (float(v) for v in np.percentile(values, (low, high)))
            if b > a:
                break
    return a, b


def _known(sizes: PixelSize | None) -> PixelSize | None:
    """Pixel sizes that can be: some programs write 0 where they know none."""
    return {axis: (size, unit) for axis, (size, unit) in (sizes or {}).items() if is_length(size)} or None

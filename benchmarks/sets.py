"""The real image sets: where they are, what their classes are, which images judge.

A set is a folder with ``images/``, ``masks/`` (TIFF of the same names), ``classes.json`` and ``split.json``.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.regions import Region, whole

ROOT = Path(__file__).resolve().parents[1]


class NoData(Exception):
    """The image sets are not on this computer."""


def data_folder() -> Path:
    """Folder of the image sets: ``WEAKSEG_DATA``, else ``../shared/data`` beside the repository."""
    given = os.environ.get("WEAKSEG_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        raise NoData(
            f"The image sets are not at “{folder}”. Set WEAKSEG_DATA to the folder that holds them "
            "(one folder a set); without them only `python -m benchmarks speed` can measure."
        )
    return folder


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image or a volume with its true mask.

    Attributes
    ----------
    name : str
    path : Path
    truth : uint8 array, (*S)
        Class ids from 1, the first class being the background.
    objects : int32 array, (*S)
        One id per object of any class but the first; 0 elsewhere.
    """

    name: str
    path: Path
    truth: NDArray[np.uint8]
    objects: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """A test image, or a piece of one: normalised float32 (C, *S), uint8 class ids and int32 object ids (*S)."""

    pixels: NDArray[np.float32]
    truth: NDArray[np.uint8]
    objects: NDArray[np.int32]


@dataclass(frozen=True)
class ImageSet:
    """A set and how it is used.

    Attributes
    ----------
    name : str
    title : str
        What the images show.
    marks : {"blobs", "strokes", "scribbles"}
        How it is annotated (`marks`).
    judges : int
        Test images at most; the choice is fixed. They are few where prediction takes long, so that judging a run takes
        no longer than the run.
    crop_px : int or None
        Of each test image only two corners of this side are judged.
    orientation : {"any", "fixed"}
        As in `TrainConfig`, where a benchmark says that it sets it.
    """

    name: str
    title: str
    marks: Literal["blobs", "strokes", "scribbles"] = "blobs"
    judges: int = 60
    crop_px: int | None = None
    orientation: Literal["any", "fixed"] = "any"

    @property
    def folder(self) -> Path:
        """Where the set lies."""
        folder = data_folder() / self.name
        if not folder.is_dir():
            raise NoData(f"The set {self.name} is not at “{folder}”.")
        return folder

    @cached_property
    def _description(self) -> dict[str, object]:
        described: dict[str, object] = json.loads((self.folder / "classes.json").read_text(encoding="utf-8"))
        return described

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names, the background (or what stands for it) first."""
        table = self._description["classes"]
        assert isinstance(table, dict)
        return tuple(str(table[key]).partition(" (")[0] for key in sorted(table, key=int))

    @cached_property
    def _split(self) -> dict[str, Any]:
        split: dict[str, Any] = json.loads((self.folder / "split.json").read_text(encoding="utf-8"))
        return split

    def names(self, split: Literal["train", "test"]) -> list[str]:
        """Names of the images of a split."""
        names: list[str] = self._split[split]
        return names

    @property
    def tasks(self) -> dict[str, list[str]]:
        """Names of the images of each task, for a set of several tasks; else empty."""
        groups: dict[str, list[str]] = self._split.get("groups", {})
        return groups

    def picture(self, name: str) -> Picture:
        """Read the masks of an image."""
        mask = tifffile.imread(self.folder / "masks" / f"{name}.tif")
        if self._description["kind"] == "instance":
            truth, objects = (mask > 0).astype(np.uint8) + 1, mask.astype(np.int32)
        else:
            truth, objects = mask.astype(np.uint8) + 1, _components(mask)
        return Picture(name, self.folder / "images" / f"{name}.tif", truth, objects)

    def scribbles(self, name: str, folder: str = "scribbles") -> NDArray[np.uint8]:
        """Read what a person scribbled: class ids from 1, 0 = nothing."""
        drawn = tifffile.imread(self.folder / folder / f"{name}.tif")
        return np.where(drawn == 255, 0, drawn + 1).astype(np.uint8)

    def judged(self, limit: int = 0) -> list[Judge]:
        """Read the test images that judge; at most `limit` where it is not 0."""
        return [judge for picture in self.judging(limit) for judge in judges_of(picture, self.crop_px)]

    def judging(self, limit: int = 0) -> Iterator[Picture]:
        """Read the masks of the test images that judge; at most `limit` where it is not 0."""
        names = self.names("test")
        for i in np.random.default_rng(5).permutation(len(names))[: limit or self.judges]:
            yield self.picture(names[i])


def judges_of(picture: Picture, crop_px: int | None = None) -> Iterator[Judge]:
    """Read a picture to judge by: all of it, or two corners of a side."""
    source = ImageSource.open(picture.path)
    for region in _corners(source.label_shape, crop_px):
        yield Judge(source.normalised(region), picture.truth[region], picture.objects[region])
    source.close()


def _corners(shape: tuple[int, ...], side: int | None) -> list[Region]:
    if side is None:
        return [whole(shape)]
    first = tuple(slice(0, min(side, size)) for size in shape)
    return [first, tuple(slice(size - s.stop, size) for s, size in zip(first, shape, strict=True))]


def _components(mask: NDArray[np.integer]) -> NDArray[np.int32]:
    """Give each connected piece of each class but 0 an id."""
    objects = np.zeros(mask.shape, np.int32)
    for class_id in np.unique(mask[mask > 0]):
        pieces, count = ndimage.label(mask == class_id)
        objects = np.where(pieces > 0, pieces + objects.max(), objects).astype(np.int32)
        assert count
    return objects


SETS = {
    item.name: item
    for item in (
        ImageSet("dsb2018_fluo_a", "nuclei, fluorescence", judges=40),
        ImageSet("usiigaci_phase", "cells, phase contrast"),
        ImageSet("glas_train", "glands, H&E histology"),
        ImageSet("wbc_smear", "white blood cells, stained smear"),
        ImageSet("vnc_sstem", "neural tissue, electron microscopy", marks="strokes", crop_px=512),
        ImageSet("dsb2018_bf_cytology", "nuclei of a smear, brightfield"),
        ImageSet("acdc_scribble", "heart, MRI", marks="scribbles", judges=40),
    )
}

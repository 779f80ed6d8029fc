"""Generated images of any size for what does not depend on real ones: speed, memory, the window."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.marks import blobs, strokes
from napari_weakseg.core.project import Project
from napari_weakseg.samples import cell_scene

CLASSES = ("background", "cell")
_PIECE_PX = 256
_TILE_PX = 512


def image_of(shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Cells of about 40 pixels (20 in a volume): uint8 image and int32 objects, both of the given shape."""
    piece = (_PIECE_PX, _PIECE_PX) if len(shape) == 2 else (32, 64, 64)
    grey, objects = cell_scene(piece, cells=28 if len(shape) == 2 else 24)
    values = np.clip(grey * 200, 0, 255).astype(np.uint8)
    fits = [np.arange(size) % side for size, side in zip(shape, piece, strict=True)]
    cell = np.ix_(*(np.arange(size) // side for size, side in zip(shape, piece, strict=True)))
    counts = [-(-size // side) for size, side in zip(shape, piece, strict=True)]
    number = np.arange(np.prod(counts)).reshape(counts)[cell]
    ids = objects.astype(np.int32)[np.ix_(*fits)]
    return values[np.ix_(*fits)], np.where(ids > 0, ids + number * (int(objects.max()) + 1), 0).astype(np.int32)


def marks_on(objects: NDArray[np.int32], *, seed: int = 0, share: float = 0.5) -> NDArray[np.uint8]:
    """Blobs in a share of the objects and a stroke of background in every plane; uint8, 0 = nothing."""
    rng = np.random.default_rng(seed)
    labels = np.where(blobs(objects, rng, share=share) > 0, 2, 0).astype(np.uint8)
    for plane, drawn in zip(
        objects.reshape(-1, *objects.shape[-2:]), labels.reshape(-1, *objects.shape[-2:]), strict=True
    ):
        drawn[strokes(plane == 0, rng, length=plane.shape[0] // 2, radius_px=2)] = 1
    return labels


def project_of(folder: Path, shape: tuple[int, ...], *, colour: bool = False, share: float = 0.5) -> Project:
    """Project with one generated, roughly annotated image called "scene"."""
    image, objects = image_of(shape)
    project = Project.create(folder / "scene.weakseg", CLASSES, ndim=len(shape))
    pixels = np.stack([image, image // 2, 255 - image], -1) if colour else image
    axes = "ZYX"[-len(shape) :] + "S" * colour
    project.add_image(pixels, name="scene", axes=axes).paint(marks_on(objects, share=share))
    return project


def write_large(file: Path, side: int) -> None:
    """Write a tiled, compressed TIFF of side × side pixels without ever having it in memory."""
    piece, _ = image_of((_TILE_PX, _TILE_PX))
    rows = -(-side // _TILE_PX)

    def tiles() -> Iterator[NDArray[np.uint8]]:
        for number in range(rows * rows):
            yield np.roll(piece, 37 * number, axis=number % 2)

    tifffile.imwrite(
        file,
        tiles(),
        shape=(side, side),
        dtype=np.uint8,
        tile=(_TILE_PX, _TILE_PX),
        compression="zlib",
        compressionargs={"level": 1},
        metadata={"axes": "YX"},
    )

"""Images to try the plugin on: File ▸ Open Sample ▸ napari-weakseg.

The first four need no network; the others are fetched once by scikit-image and kept in its cache.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

LayerData = tuple[NDArray[Any], dict[str, Any], Literal["image"]]


def coins() -> list[LayerData]:
    """Load Greek coins on an uneven grey ground, uint8 (303, 384): two classes, objects close together."""
    from skimage import data

    return [_image(data.coins(), "coins")]


def immunohistochemistry() -> list[LayerData]:
    """Load colon tissue, FHL2 in brown and haematoxylin in blue, uint8 RGB (512, 512, 3): three classes."""
    from skimage import data

    return [_image(data.immunohistochemistry(), "immunohistochemistry", rgb=True)]


def cells_2d() -> list[LayerData]:
    """Generate cells, some of them touching, float32 (256, 256), 0.5 µm pixels."""
    image, _ = cell_scene((256, 256), cells=28)
    return [_image(image, "generated cells", scale=(0.5, 0.5), units=("µm", "µm"), axis_labels=("y", "x"))]


def cells_3d() -> list[LayerData]:
    """Generate cells in a volume, float32 (32, 128, 128), planes twice as far apart as pixels."""
    image, _ = cell_scene((32, 128, 128), cells=24)
    return [
        _image(
            image,
            "generated cells 3-D",
            scale=(1.0, 0.5, 0.5),
            units=("µm", "µm", "µm"),
            axis_labels=("z", "y", "x"),
        )
    ]


def cells3d() -> list[LayerData]:
    """Load nuclei of a real tissue in a volume, uint16 (60, 256, 256); from the network."""
    from skimage import data

    volume = _fetch(data.cells3d, "cells3d")
    if volume is None:
        return []
    spacing = (0.29, 0.26, 0.26)
    units = ("µm", "µm", "µm")
    return [_image(volume[:, 1], "nuclei (cells3d)", scale=spacing, units=units, axis_labels=("z", "y", "x"))]


def human_mitosis() -> list[LayerData]:
    """Load nuclei of cultured human cells, some dividing, uint8 (512, 512); from the network."""
    from skimage import data

    image = _fetch(data.human_mitosis, "human mitosis")
    return [] if image is None else [_image(image, "human mitosis")]


def kidney() -> list[LayerData]:
    """Load mouse kidney in three stains, uint16 (16, 512, 512) for each channel; from the network."""
    from skimage import data

    volume = _fetch(data.kidney, "kidney")
    if volume is None:
        return []
    return [_image(np.moveaxis(volume, -1, 1), "kidney", axis_labels=("z", "c", "y", "x"))]


def skin() -> list[LayerData]:
    """Load human skin in haematoxylin and eosin, uint8 RGB (960, 1280, 3); from the network."""
    from skimage import data

    image = _fetch(data.skin, "skin")
    return [] if image is None else [_image(image, "skin", rgb=True)]


def cell_scene(
    shape: tuple[int, ...], *, cells: int = 28, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Generate bright textured cells on an uneven, noisy ground.

    Parameters
    ----------
    shape : tuple of int
        ``(Y, X)`` or ``(Z, Y, X)``.
    cells : int
        How many to place; fewer where no room is left.
    seed : int
        The same seed gives the same scene.

    Returns
    -------
    image : float32 (*shape)
        About 0 to 1.
    objects : uint16 (*shape)
        Which cell a pixel belongs to, 0 for the ground.

    Examples
    --------
    >>> image, objects = cell_scene((64, 64), cells=5)
    >>> image.shape, int(objects.max())
    ((64, 64), 5)
    """
    from scipy import ndimage

    random = np.random.default_rng(seed)
    radius = min(shape[-2:]) / (13.0 if len(shape) == 2 else 10.0)
    objects = _place_cells(shape, cells, radius, random)
    texture = ndimage.gaussian_filter(random.normal(size=shape), radius / 6)
    texture /= texture.std()
    brightness = random.uniform(0.45, 0.8, size=int(objects.max()) + 1)
    brightness[0] = 0.0
    ground = ndimage.gaussian_filter(random.normal(size=shape), min(shape[-2:]) / 6)
    ground = 0.18 + 0.07 * ground / ground.std()
    signal = np.where(objects > 0, brightness[objects] * (1 + 0.18 * texture), 0.0)
    blurred = ndimage.gaussian_filter(ground + signal, 1.0)
    return (blurred + random.normal(scale=0.045, size=shape)).astype(np.float32), objects


def _place_cells(shape: tuple[int, ...], cells: int, radius: float, random: np.random.Generator) -> NDArray[np.uint16]:
    """Draw turned ellipses that may touch but hardly overlap; each pixel goes to the nearest centre."""
    nearest = np.ones(shape)  # squared distance in units of the cell's own radii; 1 is its border
    objects = np.zeros(shape, np.uint16)
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij"), -1).astype(float)
    centres: list[NDArray[np.float64]] = []
    for _ in range(40 * cells):
        if len(centres) == cells:
            break
        centre = random.uniform(radius * 0.9, np.asarray(shape) - radius * 0.9)
        if any(np.linalg.norm(centre - other) < 1.75 * radius for other in centres):
            continue
        centres.append(centre)
        turn, _ = np.linalg.qr(random.normal(size=(len(shape), len(shape))))
        radii = radius * random.uniform(0.8, 1.2, size=len(shape))
        squared = ((((grid - centre) @ turn) / radii) ** 2).sum(-1)
        mine = squared < nearest
        nearest[mine] = squared[mine]
        objects[mine] = len(centres)
    return objects


def _image(pixels: NDArray[Any], name: str, **settings: Any) -> LayerData:
    return pixels, {"name": name, **settings}, "image"


def _fetch(load: Callable[[], NDArray[Any]], name: str) -> NDArray[Any] | None:
    """Load a sample that may have to be downloaded; None, and a message in the viewer, where that fails."""
    try:
        return load()
    except Exception as error:  # no network, a proxy, a full disk, pooch missing: all the same to the person
        from napari.utils.notifications import show_warning

        show_warning(
            f"The sample “{name}” could not be downloaded ({_last_line(error)}). Check the network "
            "connection and try again, or open one that needs no network: coins, immunohistochemistry or "
            "generated cells."
        )
        return None


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1][:160]

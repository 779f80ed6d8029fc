"""Make the two small pictures that the demo ships: the marks painted on the coins and the reference mask.

Run ``python scripts/make_demo_data.py``; the result is the same each time. ``--look FOLDER`` also writes
an enlarged picture of the coins with both drawn in, to be checked by eye.

The reference is a classical region-based segmentation of `skimage.data.coins`: watershed of the Sobel
gradient from markers below grey value 30 (background) and above 150 (coin), holes filled. Checked by eye
at six-fold enlargement, three things were wrong, and each is put right below: a bright speck of two
pixels beside the third coin of the first row was taken for a coin; a shadow cut a bay into the helmeted
head of the third row and into the rim of the fifth coin of the first row; single pixels stuck out of some
rims.
"""

import argparse
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from skimage import color, data, draw, filters, io, measure, morphology, segmentation

BACKGROUND, COIN = 1, 2
SPECK_PX = 100
UNMARKED = (3, 9, 16, 22)  # coins that stay unmarked, in the order of `coin_ids`

# (row, column) corner points of brush strokes in the background, drawn with a brush 5 pixels wide
BACKGROUND_STROKES = (
    ((12, 20), (14, 120), (10, 260)),
    ((88, 15), (90, 120), (86, 235)),
    ((158, 60), (160, 175), (157, 240), (150, 300)),
    ((226, 90), (225, 190), (229, 300)),
    ((50, 10), (120, 12), (215, 10)),
    ((80, 372), (150, 378)),
    ((296, 60), (297, 160), (296, 320)),
    ((45, 247), (62, 248)),
    ((262, 273), (276, 272)),
)


def coin_ids() -> NDArray[np.int32]:
    """Reference objects: 0 background, 1…24 one id per coin, row by row from the top left."""
    image = data.coins()
    markers = np.zeros(image.shape, np.int32)
    markers[image < 30] = BACKGROUND
    markers[image > 150] = COIN
    coins = ndimage.binary_fill_holes(segmentation.watershed(filters.sobel(image), markers) == COIN)
    coins = morphology.remove_small_objects(coins, max_size=SPECK_PX)
    found = measure.regionprops(measure.label(coins))
    rows_of_six = sorted(found, key=lambda coin: coin.centroid[0])
    order = [c for row in range(0, 24, 6) for c in sorted(rows_of_six[row : row + 6], key=lambda c: c.centroid[1])]
    ids = np.zeros(image.shape, np.int32)
    for number, coin in enumerate(order, start=1):
        shape = np.pad(coin.image, 8)
        shape = morphology.closing(shape, morphology.disk(4))  # bays cut by shadows
        shape = morphology.opening(shape, morphology.disk(6))  # pixels sticking out of the rim
        part = ids[coin.slice]
        part[shape[8:-8, 8:-8]] = number
    return ids


def brush_stroke(shape: tuple[int, ...], points: NDArray[np.float64], radius_px: float) -> NDArray[np.bool_]:
    """Pixels touched by a round brush drawn along a line of corner points."""
    line = np.zeros(shape, bool)
    for (y0, x0), (y1, x1) in zip(points[:-1].round().astype(int), points[1:].round().astype(int), strict=True):
        line[draw.line(y0, x0, y1, x1)] = True
    return ndimage.distance_transform_edt(~line) <= radius_px


def painted_marks(ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Rough marks as a person paints them: a dab in 20 of the 24 coins, and background strokes."""
    rng = np.random.default_rng(7)
    marks = np.zeros(ids.shape, np.uint8)
    for coin in measure.regionprops(ids):
        if coin.label in UNMARKED:
            continue
        radius = np.sqrt(coin.area / np.pi)
        middle = np.asarray(coin.centroid) + rng.uniform(-0.2, 0.2, 2) * radius
        angles = rng.uniform(0, 2 * np.pi) + np.array([0.0, 2.6])
        ends = middle + 0.4 * radius * np.stack([np.sin(angles), np.cos(angles)], 1)
        dab = brush_stroke(ids.shape, np.insert(ends, 1, middle, axis=0), 0.24 * radius)
        marks[dab & (ids == coin.label)] = COIN
    for points in BACKGROUND_STROKES:
        marks[brush_stroke(ids.shape, np.asarray(points, float), 2.0)] = BACKGROUND
    if (ids[marks == BACKGROUND] > 0).any():
        raise SystemExit("A background stroke touches a coin: move it in BACKGROUND_STROKES.")
    return marks


def picture(ids: NDArray[np.int32], marks: NDArray[np.uint8], zoom: int = 4) -> NDArray[np.uint8]:
    """Enlarged coins with the marks as a tint and the rims as lines, to be looked at."""
    big = np.ones((zoom, zoom), np.uint8)
    tinted = color.label2rgb(
        np.kron(marks, big), np.kron(data.coins(), big), colors=["deepskyblue", "orange"], alpha=0.3
    )
    lined = segmentation.mark_boundaries(tinted, np.kron(ids, big), color=(1, 0.1, 0), mode="inner")
    return (lined * 255).astype(np.uint8)


def main() -> None:
    """Write both pictures into the package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--look", type=Path, help="also write an enlarged picture into this folder")
    look = parser.parse_args().look
    ids = coin_ids()
    marks = painted_marks(ids)
    folder = Path(__file__).parents[1] / "src" / "napari_weakseg" / "data"
    tifffile.imwrite(folder / "coins_reference.tif", ids.astype(np.uint8), compression="zlib", metadata=None)
    tifffile.imwrite(folder / "coins_marks.tif", marks, compression="zlib", metadata=None)
    dabs, strokes = (marks == COIN).sum() / (ids > 0).sum(), (marks == BACKGROUND).mean()
    print(f"{ids.max()} coins; dabs cover {dabs:.0%} of them, background strokes {strokes:.1%} of the image")
    if look:
        io.imsave(look / "coins_marks_and_reference.png", picture(ids, marks))


if __name__ == "__main__":
    main()

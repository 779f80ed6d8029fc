"""Learn from partial masks of a folder of images, and write what was learned for each of them.

    python examples/partial_masks.py --images IMAGES --masks MASKS --out cells.weakseg --seconds 60

Each mask is a TIFF of the same name as its image: 0 not annotated, 1 background, 2 cell. An image
without a mask is welcome as well. Without --images, four pieces of scikit-image's coins, with a dab in
most coins, take their place.
"""

import argparse
import tempfile
from pathlib import Path

import tifffile

from napari_weakseg import Project, Session
from napari_weakseg.demo import load_coins


def make_folders(folder: Path) -> tuple[Path, Path]:
    """Four pieces of the coins as a folder of images and a folder of partial masks."""
    coins = load_coins()
    images, masks = folder / "images", folder / "masks"
    for kind, array in ((images, coins.image), (masks, coins.marks)):
        kind.mkdir(parents=True)
        for row in range(2):
            for column in range(2):
                piece = array[row * 151 : (row + 1) * 151, column * 192 : (column + 1) * 192]
                tifffile.imwrite(kind / f"field_{row}{column}.tif", piece)
    return images, masks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="folder of TIFF images")
    parser.add_argument("--masks", type=Path, help="folder of TIFF masks")
    parser.add_argument("--out", type=Path, default=Path("cells.weakseg"), help="the project to make")
    parser.add_argument("--seconds", type=float, default=60, help="training time")
    options = parser.parse_args()
    images, masks = options.images, options.masks
    if images is None or masks is None:
        images, masks = make_folders(Path(tempfile.mkdtemp(prefix="weakseg-example-")))

    with Project.create(options.out, classes=["background", "cell"]) as project:
        for path in sorted(images.glob("*.tif*")):
            image = project.add_image(path)
            if (masks / path.name).exists():
                image.paint(tifffile.imread(masks / path.name))

        with Session(project, seed=0) as session:
            session.train(seconds=options.seconds, on_progress=lambda progress: print(progress.message))
            for name in project.images:
                labels = session.predict(name)
                labels[labels == 1] = 0  # background is 0 in label images that other programs read
                tifffile.imwrite(options.out / f"{name}_labels.tif", labels, compression="zlib")
                print(f"{name}: {(labels == 2).mean():.0%} cell")


if __name__ == "__main__":
    main()

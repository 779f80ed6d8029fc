"""Predict every image of a folder with a trained project.

    python examples/predict_folder.py --project cells.weakseg --images IMAGES --out LABELS

The images become part of the project (by their path, nothing is copied), so that any of them can be
opened and corrected later. Without --project, a project of scikit-image's coins is made and trained
first.
"""

import argparse
import tempfile
from pathlib import Path

import tifffile

from napari_weakseg import Project, Session
from napari_weakseg.demo import load_coins


def make_project(folder: Path, seconds: float) -> tuple[Path, Path]:
    """A project trained on the upper half of the coins, and a folder with the lower half."""
    coins = load_coins()
    images = folder / "images"
    images.mkdir(parents=True)
    tifffile.imwrite(images / "lower_half.tif", coins.image[152:])
    with Project.create(folder / "coins.weakseg", classes=["background", "coin"]) as project:
        project.add_image(coins.image[:152], name="upper_half", axes="YX").paint(coins.marks[:152])
        with Session(project, seed=0) as session:
            session.train(seconds=seconds)
    return folder / "coins.weakseg", images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, help="a trained project")
    parser.add_argument("--images", type=Path, help="folder of TIFF images")
    parser.add_argument("--out", type=Path, default=Path("labels"), help="where the label images go")
    parser.add_argument("--seconds", type=float, default=30, help="training time, where no project is given")
    options = parser.parse_args()
    folder, images = options.project, options.images
    if folder is None or images is None:
        folder, images = make_project(Path(tempfile.mkdtemp(prefix="weakseg-example-")), options.seconds)

    options.out.mkdir(parents=True, exist_ok=True)
    with Project.open(folder) as project, Session(project) as session:
        names = {image.path.resolve(): name for name, image in project.images.items()}
        for path in sorted(images.glob("*.tif*")):
            name = names.get(path.resolve()) or project.add_image(path).name
            labels = session.predict(name)
            labels[labels == 1] = 0  # background is 0 in label images that other programs read
            tifffile.imwrite(options.out / f"{name}_labels.tif", labels, compression="zlib")
            print(f"{path.name}: {(labels > 0).mean():.0%} of the pixels belong to an object")


if __name__ == "__main__":
    main()

"""A prediction that runs to disk, is killed and gone on with: ``python -m benchmarks.speed_disk PART FOLDER …``.

Prints one JSON object as its last line.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from benchmarks.scene import CLASSES, image_of, marks_on
from benchmarks.speed_engine import peak_mb
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.project import Project
from napari_weakseg.core.regions import whole
from napari_weakseg.engine.predict import Tiles
from napari_weakseg.session import Session

_SCENE_PX = 1024
_STEPS = 30
_COMPARED_PX = 4096
CONFIG = TrainConfig(forest=False)  # it takes part in the first steps only

Found = dict[str, Any]


def make(folder: Path, device: str, side: str) -> Found:
    """Make a project of one image, a scene again and again, and train for some steps."""
    size = int(side)
    pixels, objects = image_of((_SCENE_PX, _SCENE_PX))
    array = zarr.create_array(folder / "i.zarr", shape=(size, size), chunks=(_SCENE_PX,) * 2, dtype=pixels.dtype)
    for cell in Tiles((size, size), _SCENE_PX, 0).cells:
        array[cell] = pixels[tuple(slice(0, s.stop - s.start) for s in cell)]
    with Project.create(folder / "p.weakseg", CLASSES) as project:
        project.add_image(folder / "i.zarr", axes="YX", name="large").paint(marks_on(objects), start=(0, 0))
        with Session(project, device=device, config=CONFIG) as session:
            session.train(steps=_STEPS)
    return {}


def predict(folder: Path, device: str, out: str, objects: str = "") -> Found:
    """Predict to disk, or go on with it."""
    began_s = time.perf_counter()
    with Project.open(folder / "p.weakseg") as project, Session(project, device=device, config=CONFIG) as session:
        path = session.predict_to("large", folder / out, objects=bool(objects))
    found: Found = {"seconds": round(time.perf_counter() - began_s, 1), "peak_mb": peak_mb()}
    if objects:
        found["objects"] = len((path / "objects.csv").read_text(encoding="utf-8-sig").splitlines()) - 1
    return found


def compare(folder: Path, device: str, *outs: str) -> Found:
    """Tell whether stores are the same to the pixel."""
    equal = True
    for name in ("0", "certainty/0"):
        a, b = (zarr.open_array(folder / out / name, mode="r") for out in outs)
        equal &= all(np.array_equal(a[cell], b[cell]) for cell in Tiles(a.shape, _COMPARED_PX, 0).cells)
        assert a.shape == b.shape
        assert np.asarray(a[whole((8, 8))]).all()
    return {"equal": equal}


PARTS: dict[str, Callable[..., Found]] = {part.__name__: part for part in (make, predict, compare)}


def main() -> None:
    """Do one part."""
    import torch

    part, folder, device, threads, *rest = sys.argv[1:]
    torch.set_num_threads(int(threads))
    print(json.dumps(PARTS[part](Path(folder), device, *rest)))


if __name__ == "__main__":
    main()

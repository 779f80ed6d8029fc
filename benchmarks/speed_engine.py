"""Parts of `speed` that need no window, each run in a process of its own: ``python -m benchmarks.speed_engine PART …``.

Prints one JSON object, the measured values, as its last line.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scene import CLASSES, image_of, marks_on, project_of, write_large
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.project import Project
from napari_weakseg.core.regions import start_of

_WARM_UP_STEPS = 8
_PREDICTED_PX = 1024
_MARKED_PX = 512
_MEMORY_STEPS = 12
_VOLUME_VX = 2000, 4096, 4096
_MARKED_VX, _PREDICTED_VX = 96, 256

Found = dict[str, Any]


def spread(values: list[float], digits: int = 4) -> Found:
    """Median, quartiles, the slowest percent and the extreme of repeated measurements."""
    low, middle, high, late = np.percentile(values, (25, 50, 75, 99))
    return {
        "n": len(values),
        "median": round(float(middle), digits),
        "q25": round(float(low), digits),
        "q75": round(float(high), digits),
        "p99": round(float(late), digits),
        "max": round(max(values), digits),
    }


def _synchronised(device: str) -> Callable[[], None]:
    import torch

    if torch.cuda.is_available() and device != "cpu":
        return torch.cuda.synchronize
    return lambda: None


def steps(seconds: float, device: str) -> Found:
    """Seconds of a training step, for three kinds of image, beside a plain U-Net of the same size."""
    from benchmarks.arms import PLAIN

    cases: dict[str, tuple[tuple[int, ...], bool]] = {
        "512² × 1 channel": ((512, 512), False),
        "512² × 3 channels": ((512, 512), True),
        "64³ × 1 channel": ((64, 64, 64), False),
    }
    return {
        case: {
            name: _steps(shape, colour, config, seconds, device)
            for name, config in (("ours", TrainConfig()), ("plain", PLAIN))
        }
        for case, (shape, colour) in cases.items()
    }


def _steps(shape: tuple[int, ...], colour: bool, config: TrainConfig, seconds: float, device: str) -> Found:
    from napari_weakseg.engine.trainer import Trainer

    wait = _synchronised(device)
    with tempfile.TemporaryDirectory() as folder, project_of(Path(folder), shape, colour=colour) as project:
        trainer = Trainer(project, config, device=device)
        for _ in trainer.prepare():
            pass
        for _ in range(_WARM_UP_STEPS):
            trainer.step()
        times: list[float] = []
        wait()
        began_s = time.perf_counter()
        while time.perf_counter() - began_s < seconds:
            at = time.perf_counter()
            trainer.step()
            wait()
            times.append(time.perf_counter() - at)
        trainer.close()
    return spread(times)


def prediction(seconds: float, device: str) -> Found:
    """Megapixels predicted in a second: as asked for, at a glance, and at a glance with the early forest."""
    from napari_weakseg.engine.trainer import Trainer

    found: Found = {"size": f"{_PREDICTED_PX}² × 1 channel"}
    ways = (
        ("as asked for", TrainConfig(forest=False), False),
        ("live", TrainConfig(forest=False), True),
        ("live, with the early forest", TrainConfig(), True),
    )
    for name, config, live in ways:
        with tempfile.TemporaryDirectory() as folder, project_of(Path(folder), (_PREDICTED_PX,) * 2) as project:
            trainer = Trainer(project, config, device=device)
            for _ in trainer.prepare():
                pass
            for _ in range(2):
                trainer.step()
            speeds: list[float] = []
            began_s = time.perf_counter()
            while len(speeds) < 4 or time.perf_counter() - began_s < seconds:
                at = time.perf_counter()
                for _ in trainer.predict("scene", (), live=live):
                    pass
                speeds.append(_PREDICTED_PX**2 / 1e6 / (time.perf_counter() - at))
            trainer.close()
        found[name] = spread(speeds[1:])
    return found


def memory(seconds: float, device: str, side: str, file: str) -> Found:
    """Most memory this process ever took while an image was added, annotated, trained on and shown."""
    import torch

    from napari_weakseg.engine.trainer import Trainer

    size = int(side)
    torch.set_num_threads(2)
    start = (size - _MARKED_PX) // 2
    _, objects = image_of((_MARKED_PX, _MARKED_PX))
    with tempfile.TemporaryDirectory() as folder, Project.create(Path(folder) / "p.weakseg", CLASSES) as project:
        image = project.add_image(Path(file), name="large")
        image.paint(marks_on(objects), start=(start, start))
        trainer = Trainer(project, TrainConfig(), device=device)
        for _ in trainer.prepare():
            pass
        for _ in range(_MEMORY_STEPS):
            trainer.step()
        shown = (slice(start, start + _MARKED_PX),) * 2
        for _ in trainer.predict("large", (), shown):
            pass
        trainer.close()
    return {"side": size, "raw_mb": round(size * size / 1e6, 1), "peak_mb": peak_mb()}


def cost(seconds: float, device: str, side: str, predicted: str) -> Found:
    """Seconds to get ready, of a step and of predictions in a virtual image: a zarr of which one place has contents."""
    import zarr

    from napari_weakseg.engine.trainer import Trainer

    size, wait = int(side), _synchronised(device)
    start = (size - _MARKED_PX) // 2
    pixels, objects = image_of((_MARKED_PX, _MARKED_PX))
    with tempfile.TemporaryDirectory() as folder, Project.create(Path(folder) / "p.weakseg", CLASSES) as project:
        array = zarr.create_array(
            Path(folder) / "i.zarr", shape=(size, size), chunks=(_MARKED_PX,) * 2, dtype="uint8", fill_value=40
        )
        array[start : start + _MARKED_PX, start : start + _MARKED_PX] = pixels
        began_s = time.perf_counter()
        image = project.add_image(Path(folder) / "i.zarr", axes="YX", name="virtual")
        image.paint(marks_on(objects), start=(start, start))
        trainer = Trainer(project, TrainConfig(forest=False), device=device)
        for _ in trainer.prepare():
            pass
        ready_s = time.perf_counter() - began_s
        times: list[float] = []
        while len(times) < _WARM_UP_STEPS or sum(times) < seconds:
            at = time.perf_counter()
            trainer.step()
            wait()
            times.append(time.perf_counter() - at)
        of_squares = {}
        for square in map(int, predicted.split(",")):
            at = time.perf_counter()
            for _ in trainer.predict("virtual", (), (slice(0, square),) * 2):
                pass
            of_squares[square] = round(time.perf_counter() - at, 2)
        trainer.close()
    return {
        "side": size,
        "ready_s": round(ready_s, 2),
        "step_s": spread(times[_WARM_UP_STEPS // 2 :]),
        "peak_mb": peak_mb(),
        "predicted_s": of_squares,
    }


def volume(seconds: float, device: str) -> Found:
    """Peak of a process that marks, trains on and predicts a place in a virtual volume: a zarr of 34 gigavoxels."""
    import zarr

    from napari_weakseg.engine.trainer import Trainer

    imported_mb = peak_mb()
    pixels, objects = image_of((_MARKED_VX,) * 3)
    marked = tuple(slice(size // 2, size // 2 + _MARKED_VX) for size in _VOLUME_VX)
    with (
        tempfile.TemporaryDirectory() as folder,
        Project.create(Path(folder) / "p.weakseg", CLASSES, ndim=3) as project,
    ):
        array = zarr.create_array(
            Path(folder) / "i.zarr", shape=_VOLUME_VX, chunks=(64,) * 3, dtype="uint8", fill_value=40
        )
        array[marked] = pixels
        image = project.add_image(Path(folder) / "i.zarr", axes="ZYX", name="virtual")
        image.paint(marks_on(objects), start=start_of(marked))
        trainer = Trainer(project, TrainConfig(), device=device)
        for _ in trainer.prepare():
            pass
        for _ in range(_MEMORY_STEPS):
            trainer.step()
        for _ in trainer.predict("virtual", (), tuple(slice(s.start, s.start + _PREDICTED_VX) for s in marked)):
            pass
        trainer.close()
    return {"shape": _VOLUME_VX, "predicted": _PREDICTED_VX, "imported_mb": imported_mb, "peak_mb": peak_mb()}


def peak_mb() -> float | None:
    """Most memory this process has had, in MB; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return round(int(line.split()[1]) / 1024, 1)
    try:
        import resource
    except ImportError:
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)


def large(seconds: float, device: str, side: str, file: str) -> Found:
    """Write the image for `memory`, and see that it is read by pieces."""
    write_large(Path(file), int(side))
    source = ImageSource.open(Path(file))
    shape = list(source.label_shape)
    source.close()
    return {"shape": shape, "file_mb": round(Path(file).stat().st_size / 1e6, 1)}


def make(seconds: float, device: str, folder: str) -> Found:
    """Make the project that `opening` opens."""
    project_of(Path(folder), (_PREDICTED_PX,) * 2).close()
    return {}


def opening(seconds: float, device: str, folder: str) -> Found:
    """Seconds from opening an annotated project, torch not yet loaded, to the first tile of a prediction."""
    began_s = time.perf_counter()
    from napari_weakseg.session import Session

    at: dict[str, float] = {}

    def note(what: str) -> Callable[[object], None]:
        def call(_: object) -> None:
            at.setdefault(what, round(time.perf_counter() - began_s, 3))

        return call

    with Project.open(Path(folder) / "scene.weakseg") as project, Session(project, device=device) as session:
        at["opened"] = round(time.perf_counter() - began_s, 3)
        session.progress.connect(note("first report"))
        session.preview.connect(note("first tile"))
        session.view("scene", (), (slice(0, 512), slice(0, 512)))
        session.start()
        while "first tile" not in at and time.perf_counter() - began_s < 300:
            session.poll()
            time.sleep(0.01)
    return {"size": f"{_PREDICTED_PX}² × 1 channel, 512² on screen", "seconds": at}


PARTS: dict[str, Callable[..., Found]] = {
    part.__name__: part for part in (steps, prediction, memory, large, cost, volume, make, opening)
}


def main() -> None:
    """Measure one part."""
    part, seconds, device, threads, *rest = sys.argv[1:]
    if part != "opening":  # there loading torch is part of what is measured
        import torch

        torch.set_num_threads(int(threads))
    print(json.dumps(PARTS[part](float(seconds), device, *rest)))


if __name__ == "__main__":
    main()

"""A trainer without a network: predicts by the nearest class mean of what is painted."""

import json
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.errors import TrainingError
from napari_weakseg.core.project import Project
from napari_weakseg.engine.fragments import Fragments
from napari_weakseg.engine.objects import fragments_of
from napari_weakseg.engine.protocol import ClaimTrust, Report, Tile
from napari_weakseg.engine.queries import Suggestion

TILE_PX = 64


class FakeTrainer:
    """Learns the mean brightness of each class from the project's paint; a step takes `step_s`."""

    def __init__(self, project: Project, *, step_s: float = 0.002) -> None:
        self.project, self.step_s = project, step_s
        self.steps = 0
        self.means: dict[int, float] = {}
        self.changed: list[str] = []
        self.fail_with: Exception | None = None

    def prepare(self) -> Iterator[str]:
        yield "Looking at your marks …"
        self._learn()
        if len(self.means) < 2:
            raise TrainingError("Only one class is marked.", "Paint at least one mark of another class.")
        yield "Learning on a pretend device, 1 core"

    def _learn(self) -> None:
        values: dict[int, list[NDArray[Any]]] = {}
        for image in self.project.images.values():
            notes = image.annotations
            for region in notes.painted_region():
                labels, pixels = notes.labels[region], image.source.normalised(region).mean(0)
                for class_id in np.unique(labels[labels > 0]):
                    values.setdefault(int(class_id), []).append(pixels[labels == class_id])
        self.means = {class_id: float(np.concatenate(v).mean()) for class_id, v in values.items()}

    def annotations_changed(self, image: str) -> None:
        self.changed.append(image)
        self._learn()

    def step(self) -> None:
        if self.fail_with is not None:
            raise self.fail_with
        self.steps += 1
        time.sleep(self.step_s)

    def report(self) -> Report:
        return Report(self.steps, 1 / (1 + self.steps / 20), {}, 1 - 1 / (2 + self.steps / 20), 40)

    def _classes(self, image: str, frame: tuple[int, ...], region: Any) -> NDArray[np.uint8]:
        item = self.project.images[image]
        place = (*(slice(i, i + 1) for i in frame), *region)
        pixels = item.source.normalised(place).mean(0).reshape([s.stop - s.start for s in region])
        ids = sorted(self.means) or [1]
        distance = np.stack([np.abs(pixels - self.means.get(i, 0.0)) for i in ids])
        found: NDArray[np.uint8] = np.asarray(ids, np.uint8)[distance.argmin(0)]
        return found

    @property
    def fingerprint(self) -> str:
        return str(self.steps)

    def predict(
        self,
        image: str,
        frame: tuple[int, ...],
        region: Any = None,
        *,
        first: Any = None,
        done: Any = (),
        live: bool = False,
    ) -> Iterator[Tile]:
        shape = self.project.images[image].label_shape[-self.project.ndim :]
        region = region or tuple(slice(0, n) for n in shape)
        *outer, rows, columns = region
        for y in range(rows.start, rows.stop, TILE_PX):
            for x in range(columns.start, columns.stop, TILE_PX):
                part = (
                    *outer,
                    slice(y, min(y + TILE_PX, rows.stop)),
                    slice(x, min(x + TILE_PX, columns.stop)),
                )
                labels = self._classes(image, frame, part)
                chances = np.stack([labels == i for i in self.project.classes.ids]).astype(np.float32)
                yield Tile(
                    tuple(s.start for s in part),
                    tuple(s.stop for s in part),
                    chances,
                    np.zeros(labels.shape),
                )

    def suggest(self, n: int, *, query: str = "mixture") -> Generator[str, None, list[Suggestion]]:
        found = []
        for name, image in self.project.images.items():
            yield f"Looking at “{name}”"
            region = tuple(slice(0, size) for size in image.label_shape[-self.project.ndim :])
            frame = image.frames()[-1]
            found.append(Suggestion(name, frame, region, "blob", 12.0, f"“{name}” looks new.", 1.0))
        return found[-n:]

    def claims(self) -> list[ClaimTrust]:
        return [
            ClaimTrust(name, trust, image.frames()[0], (4, 5), 30, 0.25)
            for name, image in self.project.images.items()
            for trust in image.annotations.claims
        ]

    @property
    def least_px(self) -> dict[int, int]:
        return {}

    def fragments(
        self,
        image: str,
        frame: tuple[int, ...],
        start: tuple[int, ...],
        labels: NDArray[np.uint8],
        certainty: NDArray[np.float32],
        inwardness: NDArray[np.float32],
    ) -> Fragments:
        return fragments_of(labels, certainty=certainty, inwardness=inwardness)

    def grown(self, image: str, frame: tuple[int, ...]) -> NDArray[np.uint8]:
        from scipy import ndimage

        item = self.project.images[image]
        painted = item.annotations.labels[item.frame_region(frame)].reshape(item.label_shape[-self.project.ndim :])
        out = np.zeros(painted.shape, np.uint8)
        for class_id in self.project.classes.ids[1:]:
            out[ndimage.binary_dilation(painted == class_id, iterations=4)] = class_id
        return out

    def conflicts(self) -> Mapping[str, int]:
        counts = {}
        for name, image in self.project.images.items():
            counts[name] = sum(int(image.knowledge(f).conflicts.sum()) for f in image.frames())
        return counts

    def shrink(self) -> str:
        raise TrainingError("There is not enough memory.", "Close other programs.")

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "state.json").write_text(json.dumps({"steps": self.steps, "means": self.means}))

    def load(self, folder: Path) -> None:
        state = json.loads((folder / "state.json").read_text())
        self.steps, self.means = state["steps"], {int(k): v for k, v in state["means"].items()}

    def close(self) -> None:
        self.means = {}

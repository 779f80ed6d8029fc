"""What is compared: ways to learn from the same marks."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.marks import Marked
from benchmarks.sets import ImageSet
from napari_weakseg.core.classes import BACKGROUND
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.project import Project
from napari_weakseg.core.project_image import ProjectImage

__all__ = ["ARMS", "PLAIN", "Arm", "make_project", "paint"]

#: Partial cross-entropy and nothing else: the same network, sampler, optimiser, averaging and flips.
PLAIN = TrainConfig(
    downsample=1,
    forest=False,
    prior_correction=0,
    growth="off",
    weighting="plain",
    zoom=1.25,
    intensity=0,
    dice_warm_up=0,
    **{name: 0 for name in TrainConfig.model_fields if name.endswith("_weight")},
)


@dataclass(frozen=True, slots=True)
class Arm:
    """A method.

    Attributes
    ----------
    name, title : str
    config : TrainConfig or None
        None: the forest.
    coverage : bool
        Whether it is told that every object has a mark.
    all_exact : bool
        Whether it learns from the exact masks of all images.
    """

    name: str
    title: str
    config: TrainConfig | None
    coverage: bool = True
    all_exact: bool = False


ARMS = {
    arm.name: arm
    for arm in (
        Arm("ours", "napari-weakseg", TrainConfig()),
        Arm("plain", "plain U-Net", PLAIN, coverage=False),
        Arm("covered", "plain U-Net told that every object is marked", PLAIN),
        Arm("smaller", "plain U-Net that sees images as much smaller", PLAIN.model_copy(update={"downsample": None})),
        Arm("forest", "random forest", None),
        Arm("full", "all masks exact", TrainConfig(), all_exact=True),
    )
}


def paint(image: ProjectImage, labels: NDArray[np.uint8], objects: NDArray[np.int32]) -> None:
    """Paint class ids, and tell the objects among them apart."""
    image.paint(labels)
    for class_id in np.unique(labels[(objects > 0) & (labels > BACKGROUND)]):
        image.paint_objects(int(class_id), np.where(labels == class_id, objects, 0))


def make_project(folder: Path, image_set: ImageSet, marked: Iterable[Marked], *, coverage: bool) -> Project:
    """Put annotated images into a new project.

    Parameters
    ----------
    folder : Path
    image_set : ImageSet
    marked : iterable of Marked
    coverage : bool
        Whether it is said where every object has a mark.
    """
    project = Project.create(folder, image_set.classes)
    for item in marked:
        image = project.add_image(item.picture.path, name=item.picture.name)
        paint(image, item.labels, item.objects)
        if item.exact:
            image.coverage(None, "exact")
        elif item.all_objects and coverage:
            for class_id in range(2, len(image_set.classes) + 1):
                image.coverage(class_id, "all objects")
    return project

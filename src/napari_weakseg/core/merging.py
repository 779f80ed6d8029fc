"""Several projects in one, their classes joined by name.

Who annotated nuclei only has said nothing about fibres: what is background in one project may be a class of another. So
nothing is taken over as background of all classes unless the project knew all classes; where its classes are complete,
the other pixels are known to be none of them, and loose background paint becomes a mask that may be wrong. This is the
situation of partially annotated data sets that Wong et al. (arXiv:2008.07030) train on.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.annotations import COVERAGE
from napari_weakseg.core.classes import BACKGROUND, ClassTable
from napari_weakseg.core.errors import ProjectError
from napari_weakseg.core.names import distinct
from napari_weakseg.core.project import Project
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.regions import Region, start_of

__all__ = ["merge"]


def merge(
    path: str | Path, projects: Sequence[Project], *, on_image: Callable[[str], None] = lambda name: None
) -> Project:
    """Make a new project of the images and annotations of several others, which stay as they are.

    Parameters
    ----------
    path : path
        A new or empty folder.
    projects : sequence of Project
        The first gives the settings of the training and the name of the background.
    on_image : callable
        Is told the name of each image before it is taken; what it raises ends the merging, and nothing is left behind.

    Returns
    -------
    Project
        With the classes of all, in the order of their first appearance. Image files stay where they are; arrays that a
        project keeps itself are copied. Its `notes` name files that are in several of the projects: each stays an image
        of its own, with what was said in its project.

    Raises
    ------
    ProjectError
        If there is nothing to merge, some are for images and others for volumes, files of images are gone, or the first
        class of one, its background, is a class of objects in another.
    ImageError
        If images differ in their number of channels.
    StorageError
        If the folder cannot be written.
    """
    if not projects:
        raise ProjectError("There is no project to merge.", "Name one at least.")
    if len({project.ndim for project in projects}) > 1:
        raise ProjectError(
            "Some of these projects are for images, others for volumes.", "Merge those of one kind at a time."
        )
    for project in projects:
        if project.missing:
            raise ProjectError(
                f"“{project.name}” lacks the files of {len(project.missing)} of its images: “{project.missing[0]}” …",
                "Put them back, or tell in that project where they are now.",
            )
    _check_backgrounds(projects)
    merged = Project.create(path, _joined(projects), ndim=projects[0].ndim, config=projects[0].config)
    try:
        for project in projects:
            for image in list(project.images.values()):
                on_image(image.name)
                _take(merged, project, image)
    except BaseException:
        merged.close()
        shutil.rmtree(merged.path, ignore_errors=True)  # it was new or empty
        raise
    _note_shared(merged)
    return merged


def _check_backgrounds(projects: Sequence[Project]) -> None:
    for project in projects:
        background = project.classes.names[BACKGROUND - 1]
        for other in projects:
            if background in other.classes.names[BACKGROUND:]:
                raise ProjectError(
                    f"“{background}” is the first class of “{project.name}” and so its background, "
                    f"but a class of objects in “{other.name}”.",
                    "Put the classes of both into the same order, or give one of them another name, then merge again.",
                )


def _note_shared(merged: Project) -> None:
    """Say which files are in more than one of the projects."""
    names: dict[Path, list[str]] = {}
    for name, image in merged.images.items():
        names.setdefault(image.path.resolve(), []).append(name)
    for file, same in names.items():
        if len(same) > 1:
            listed = " and ".join(f"“{name}”" for name in same)
            merged._folder.note(
                f"The file “{file}” is in several of the projects. It is now there as {listed}, each with the marks of "
                "its project: check that they do not contradict one another."
            )


def _joined(projects: Sequence[Project]) -> ClassTable:
    """Classes of all, the background of the first for that of all; no two have one colour."""
    joined = ClassTable(projects[0].classes[:1])
    for project in projects:
        for info in project.classes[1:]:
            if info.name not in joined.names:
                joined = joined.added(info.name, info.color)
    return joined


def _take(merged: Project, project: Project, image: ProjectImage) -> None:
    """Add an image and all that was said about it."""
    ids = np.zeros(256, np.uint8)
    ids[BACKGROUND] = BACKGROUND
    for class_id in project.classes.ids[1:]:
        ids[class_id] = merged.classes.id_of(project.classes.names[class_id - 1])
    target = merged.add_image(
        image.path,
        name=distinct(image.name, merged.images),
        axes=image.axes,
        pixel_size=image.source.pixel_size,
        copy=image.path.resolve().is_relative_to(project.path.resolve()),
    )
    knew_all = len(project.classes) == len(merged.classes)
    said = image.annotations
    for region in said.painted_region():
        _paint(target, np.asarray(said.labels[region]), np.asarray(said.objects[region]), ids, region, knew_all)
    for trust, labels in said.claims.items():
        for region in said.claimed_region():
            claimed = ids[np.asarray(labels[region])]
            if claimed.any():
                target.paint(claimed, start=start_of(region), trust=trust)
    for box in said.boxes:
        target.add_box(int(ids[box.class_id]), box.start, box.stop)
    for class_id, present in said.tags.items():
        target.tag(int(ids[class_id]), present)
    for frame, tags in said.frame_tags.items():
        for class_id, present in tags.items():
            target.tag(int(ids[class_id]), present, frame)
    for rule in said.rules:
        for class_id in project.classes.ids if rule.class_id is None else (rule.class_id,):
            if knew_all or class_id != BACKGROUND:
                target.coverage(int(ids[class_id]), rule.kind, rule.start, rule.stop)
    if not knew_all:
        _claim_background(target, project, image)


def _paint(
    target: ProjectImage,
    labels: NDArray[np.uint8],
    objects: NDArray[np.int32],
    ids: NDArray[np.uint8],
    region: Region,
    knew_all: bool,
) -> None:
    new = ids[labels]
    if not knew_all:
        new[labels == BACKGROUND] = 0
    target.paint(new, start=start_of(region))
    for class_id in np.unique(new[objects > 0]):
        if class_id:
            target.paint_objects(int(class_id), np.where(new == class_id, objects, 0), start=start_of(region))


def _claim_background(target: ProjectImage, project: Project, image: ProjectImage) -> None:
    """Claim background paint where not all classes of its project are complete; elsewhere enough is known."""
    said, exact = image.annotations, COVERAGE.index("exact")
    for region in said.painted_region():
        loose = np.asarray(said.labels[region]) == BACKGROUND
        complete = np.all([said.coverage_map(c, region) == exact for c in project.classes.ids[1:]], axis=0)
        loose &= ~complete
        if loose.any():
            claims = target.annotations.claims.get("imported")
            before = np.zeros(loose.shape, np.uint8) if claims is None else np.asarray(claims[region])
            target.paint(np.where(loose & (before == 0), BACKGROUND, before), start=start_of(region), trust="imported")

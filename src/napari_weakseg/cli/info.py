"""What a project holds, for `napari-weakseg info`."""

from typing import TypedDict

from napari_weakseg.core.project import Project
from napari_weakseg.engine.factory import checkpoints_of, mark_counter


class ImageInfo(TypedDict):
    """One image: spatial and frame sizes without channels, pixels painted by class."""

    missing: bool
    axes: str
    shape: list[int]
    channels: int
    painted: dict[str, int]
    boxes: int


class ProjectInfo(TypedDict):
    """What `info --json` prints."""

    name: str
    path: str
    ndim: int
    classes: list[str]
    images: dict[str, ImageInfo]
    marks: int
    learned_steps: int
    notes: list[str]


def describe(project: Project) -> ProjectInfo:
    """Gather it; reads no image."""
    names = project.classes.names
    images: dict[str, ImageInfo] = {
        name: {
            "missing": image.missing,
            "axes": image.axes,
            "shape": list(image.label_shape),
            "channels": image.n_channels,
            "painted": {names[c - 1]: n for c, n in image.annotations.painted_counts().items()},
            "boxes": len(image.annotations.boxes),
        }
        for name, image in project.images.items()
    }
    return {
        "name": project.name,
        "path": str(project.path),
        "ndim": project.ndim,
        "classes": list(names),
        "images": images,
        "marks": mark_counter(project)().marks,
        "learned_steps": next((int(path.name) for path in checkpoints_of(project, None).usable()), 0),
        "notes": list(project.notes),
    }


def as_text(info: ProjectInfo) -> str:
    """Put it into lines for a person."""
    lines = [f"{info['name']}: {', '.join(info['classes'])}", f"{len(info['images'])} images, {info['marks']} marks"]
    for name, image in info["images"].items():
        painted = ", ".join(f"{c} {n} px" for c, n in image["painted"].items()) or "nothing painted"
        missing = " (file missing)" if image["missing"] else ""
        lines.append(f"  {name}: {' × '.join(map(str, image['shape']))}{missing}, {painted}")
    lines.append(f"Learned: {info['learned_steps']} steps")
    return "\n".join([*lines, *info["notes"]])

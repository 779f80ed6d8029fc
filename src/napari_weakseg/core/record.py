"""``project.json`` as pydantic models, and how its contents are checked."""

import hashlib
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_weakseg.core.classes import ClassInfo
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.errors import ImageError, NewerSchema, ProjectError
from napari_weakseg.core.images import Statistics

SCHEMA = 1
_PIECE = 2**16  # bytes hashed at the head, in the middle and at the tail of a file


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StatisticsRecord(_Record):
    """`Statistics` on disk."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    notes: tuple[str, ...] = ()

    def value(self) -> Statistics:
        """Return the statistics."""
        return Statistics(self.low, self.high, self.notes)


class ImageRecord(_Record):
    """One image of the project; `path` is relative to the project folder where it can be."""

    name: str
    folder: str
    path: str
    owned: bool  # the pixels are a copy that the project made
    axes: str
    shape: tuple[int, ...]
    n_channels: int
    label_axes: str
    label_shape: tuple[int, ...]
    pixel_size: dict[str, tuple[float, str]] | None = None
    size_bytes: int
    checksum: str
    statistics: StatisticsRecord | None = None

    def is_of(self, path: Path) -> bool:
        """Tell whether a file, wherever it lies, is the one that was added; raises OSError if it cannot be read."""
        return fingerprint(path) == (self.size_bytes, self.checksum)


class ProjectRecord(_Record):
    """``project.json``."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    ndim: Literal[2, 3]
    classes: tuple[ClassInfo, ...]
    class_keys: tuple[int, ...] = ()  # none: 0, 1, 2, …
    classes_made: int = 0
    config: dict[str, Any] = Field(default_factory=dict)
    images: list[ImageRecord] = Field(default_factory=list)

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


def parsed_project(value: dict[str, Any], path: Path) -> ProjectRecord:
    """Check the contents of ``project.json``.

    Raises
    ------
    NewerSchema
        If a newer version wrote it.
    ProjectError
        If something in it does not belong there.
    """
    schema = value.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise NewerSchema(
            f"The project “{path.parent}” was saved by a newer version of napari-weakseg (format {schema}; "
            f"this one knows up to {SCHEMA}).",
            "Update with “pip install --upgrade napari-weakseg”, then open it again. Nothing was changed.",
        )
    try:
        return ProjectRecord.model_validate(value)
    except ValidationError as error:
        raise ProjectError(
            f"“{path}” holds something that does not belong there.",
            f"Restore it from “{path.name}.bak” beside it or from a backup.",
            str(error),
        ) from error


def saved_config(config: TrainConfig) -> dict[str, Any]:
    """Give what differs from the defaults, as JSON, so that better defaults of a later version reach a project."""
    saved: dict[str, Any] = config.model_dump(mode="json", exclude_defaults=True)
    return saved


def parsed_config(value: dict[str, Any]) -> tuple[TrainConfig, str]:
    """Training settings of a project, and one sentence where some were not understood and left out."""
    left_out = sorted(set(value) - set(TrainConfig.model_fields))
    kept = {key: item for key, item in value.items() if key not in left_out}
    while True:
        try:
            config = TrainConfig.model_validate(kept)
            break
        except ValidationError as error:
            wrong = {str(item["loc"][0]) for item in error.errors() if item["loc"]} & set(kept)
            if not wrong:
                return TrainConfig(), "The training settings were not understood; the defaults are used."
            left_out += sorted(wrong)
            kept = {key: item for key, item in kept.items() if key not in wrong}
    note = f"Training settings not understood and left at their defaults: {', '.join(left_out)}." if left_out else ""
    return config, note


def fingerprint(path: Path) -> tuple[int, str]:
    """Size in bytes and checksum of a file (a huge one's in three pieces) or of a zarr folder's metadata."""
    digest = hashlib.blake2b(digest_size=16)
    if path.is_dir():
        names = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
        for metadata in sorted(f for name in names for f in (*path.glob(name), *path.glob(f"*/{name}"))):
            digest.update(metadata.read_bytes())
        return 0, digest.hexdigest()
    size = path.stat().st_size
    with path.open("rb") as file:
        for offset in (0, size // 2, max(0, size - _PIECE)) if size > 3 * _PIECE else (0,):
            file.seek(offset)
            digest.update(file.read(_PIECE if size > 3 * _PIECE else size))
    return size, digest.hexdigest()


def relative(path: Path, folder: Path) -> str:
    """`path` as seen from `folder`, with forward slashes; absolute where they share no root.

    Raises
    ------
    ImageError
        If it has a name that cannot be written down.
    """
    try:
        seen = Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive on Windows
        seen = path.resolve().as_posix()
    shown = seen.encode(errors="replace").decode()
    if shown != seen:
        raise ImageError(
            f"The name of the file “{shown}” has characters in it that are not known (shown as “?”).",
            "Rename the file or its folder, then add it again.",
        )
    return seen

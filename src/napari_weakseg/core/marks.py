"""Boxes, tags and coverage of one image, in ``marks.json``."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from napari_weakseg.core.annotations import Box, Coverage, CoverageRule
from napari_weakseg.core.errors import ProjectError
from napari_weakseg.core.folder import ProjectFolder
from napari_weakseg.core.storage import read_json_or_backup, storage_errors, write_json

_FrameTag: TypeAlias = tuple[tuple[int, ...], int, bool]
"""Frame, class id, present or absent."""


class _BoxRecord(BaseModel):
    model_config = ConfigDict(extra="forbid")

    class_id: int
    start: tuple[int, ...]
    stop: tuple[int, ...]


class _FrameTagRecord(BaseModel):
    model_config = ConfigDict(extra="forbid")

    frame: tuple[int, ...]
    class_id: int
    present: bool


class _CoverageRecord(BaseModel):
    model_config = ConfigDict(extra="forbid")

    class_id: int | None
    kind: Coverage
    start: tuple[int, ...] | None = None
    stop: tuple[int, ...] | None = None


class _MarksRecord(BaseModel):
    model_config = ConfigDict(extra="forbid")

    boxes: list[_BoxRecord] = Field(default_factory=list)
    tags: dict[int, bool] = Field(default_factory=dict)
    frame_tags: list[_FrameTagRecord] = Field(default_factory=list)
    coverage: list[_CoverageRecord] = Field(default_factory=list)


class Marks:
    """What is said about an image beside paint; written as a whole at every change.

    Attributes
    ----------
    boxes : tuple of Box
    tags : mapping of int to bool
        Of the whole image.
    frame_tags : mapping of tuple to mapping of int to bool
        Frame → what is said of it by itself; frames of which nothing is are left out.
    rules : tuple of CoverageRule
    unsaved : bool
        The disk refused the last change, which is in memory only.
    """

    def __init__(self, path: Path, home: ProjectFolder, *, name: str) -> None:
        self.path = path
        self._home = home
        record = self._read(name)
        self.boxes = tuple(Box(b.class_id, b.start, b.stop) for b in record.boxes)
        self.tags: Mapping[int, bool] = MappingProxyType(dict(record.tags))
        self.frame_tags = _by_frame((tag.frame, tag.class_id, tag.present) for tag in record.frame_tags)
        self.rules = tuple(CoverageRule(r.class_id, r.kind, r.start, r.stop) for r in record.coverage)
        self.unsaved = False

    def remove_box(self, index: int) -> None:
        """Remove the box at an index."""
        self.boxes = self.boxes[:index] + self.boxes[index + 1 :]
        self.write()

    def change_boxes(self, new: Iterable[Box], gone: Iterable[Box]) -> None:
        """Add some boxes and remove others, as far as they are there."""
        boxes = list(self.boxes)
        for box in gone:
            if box in boxes:
                boxes.remove(box)
        self.boxes = (*boxes, *new)
        self.write()

    def set_tag(self, class_id: int, present: bool | None) -> None:
        """Set a tag of the whole image, or take it away; what is nowhere in it is in no frame, whatever was said."""
        tags = {key: value for key, value in self.tags.items() if key != class_id}
        if present is not None:
            tags[class_id] = present
        self.tags = MappingProxyType(tags)
        if present is False:
            self.frame_tags = _by_frame(tag for tag in self._listed() if tag[1] != class_id)
        self.write()

    def set_frame_tag(self, frame: tuple[int, ...], class_id: int, present: bool | None) -> None:
        """Set a tag of one frame, or take it away."""
        tags = [tag for tag in self._listed() if tag[:2] != (frame, class_id)]
        self.frame_tags = _by_frame(tags if present is None else [*tags, (frame, class_id, present)])
        self.write()

    def add_rule(self, new: CoverageRule) -> None:
        """Add a coverage rule, and drop those of which it leaves nothing."""
        rules = tuple(rule for rule in self.rules if not _overrules(new, rule))
        self.rules = (*rules, new) if rules or new.kind != "some" else ()
        self.write()

    def write(self) -> None:
        """Write everything.

        Raises
        ------
        StorageError
            If the disk refuses.
        """
        self.unsaved = True
        self._home.check_there()
        record = _MarksRecord(
            boxes=[_BoxRecord(class_id=b.class_id, start=b.start, stop=b.stop) for b in self.boxes],
            tags=dict(self.tags),
            frame_tags=[_FrameTagRecord(frame=f, class_id=c, present=present) for f, c, present in self._listed()],
            coverage=[
                _CoverageRecord(class_id=r.class_id, kind=r.kind, start=r.start, stop=r.stop) for r in self.rules
            ],
        )
        write_json(self.path, record.model_dump(mode="json"), backup=True)
        self.unsaved = False

    def _listed(self) -> list[_FrameTag]:
        return [(frame, c, present) for frame, tags in self.frame_tags.items() for c, present in tags.items()]

    def _read(self, name: str) -> _MarksRecord:
        """Read the file or its backup; a file that makes no sense is set aside, so that the project opens."""
        if not self.path.exists() and not self.path.with_name(f"{self.path.name}.bak").exists():
            return _MarksRecord()
        try:
            value, note = read_json_or_backup(self.path, repair=self._home.writable)
            record = _MarksRecord.model_validate(value)
        except (ProjectError, ValueError) as error:
            kept = self.path
            if self._home.writable:
                with storage_errors(self.path):
                    kept = self.path.replace(self.path.with_name(f"damaged-{self.path.name}"))
            self._home.note(
                f"Boxes, tags and coverage of “{name}” could not be read ({error}). "
                f"The file was kept as “{kept}”; set them again. What was painted is untouched."
            )
            return _MarksRecord()
        if note:
            self._home.note(f"“{name}”: {note}")
        return record


def _by_frame(tags: Iterable[_FrameTag]) -> Mapping[tuple[int, ...], Mapping[int, bool]]:
    found: dict[tuple[int, ...], dict[int, bool]] = {}
    for frame, class_id, present in sorted(tags):
        found.setdefault(frame, {})[class_id] = present
    return MappingProxyType(found)


def _overrules(new: CoverageRule, old: CoverageRule) -> bool:
    """Whether a new rule leaves nothing of an old one."""
    everywhere = new.start is None
    same_place = (new.start, new.stop) == (old.start, old.stop)
    return new.class_id in (None, old.class_id) and (everywhere or same_place)

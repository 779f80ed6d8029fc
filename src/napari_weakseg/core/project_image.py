"""One image of a project and what was said about it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from math import prod
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.annotations import CLAIMS, COVERAGE, Annotations, Box, Coverage, CoverageRule, Trust
from napari_weakseg.core.checks import (
    Place,
    check_class_ids,
    check_object_ids,
    clipped_box,
    placed,
    whole_numbers,
)
from napari_weakseg.core.errors import AnnotationError
from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.knowledge import Knowledge
from napari_weakseg.core.linked import LinkedImage
from napari_weakseg.core.marks import Marks
from napari_weakseg.core.paint import Paint
from napari_weakseg.core.readers import PixelSize
from napari_weakseg.core.record import ImageRecord
from napari_weakseg.core.regions import Region, shape_of, start_of
from napari_weakseg.core.storage import storage_errors

if TYPE_CHECKING:
    from napari_weakseg.core.project import Project


class ProjectImage:
    """An image and its annotations; made by `Project.add_image`.

    Every change is on disk when the call returns. Painting in one thread and reading in another is safe.

    Attributes
    ----------
    name : str
    axes : str
        Letters of TZCYX in the order of the file (S for colour).
    label_axes : str
        Axes of all annotations: the image's axes without channels, ordered as in TZYX.
    label_shape : tuple of int
    revision : int
        Grows with every change of the annotations.
    """

    def __init__(self, project: "Project", record: ImageRecord, source: ImageSource | None = None) -> None:
        self._project = project
        self._record = record
        self._folder = project.path / "annotations" / record.folder
        if project._folder.writable:
            with storage_errors(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = RLock()  # one change, or one reading, at a time
        self._paint_if_used: Paint | None = None
        self._marks = Marks(self._folder / "marks.json", project._folder, name=record.name)
        self._linked = LinkedImage(
            project.path, record, project._save_findings, spatial_ndim=project.ndim, source=source
        )
        self.name = record.name
        self.axes = record.axes
        self.label_axes = record.label_axes
        self.label_shape = record.label_shape
        self.revision = 0
        self._claims: dict[Trust, Paint] = {
            trust: self._opened_claims(trust) for trust in CLAIMS if (self._folder / "claims" / trust).is_dir()
        }
        if source is not None:
            _ = self._paint  # makes its files now, so that a disk that is full later loses no stroke

    @property
    def path(self) -> Path:
        """Where the pixels are, or were when the image was added."""
        return self._linked.path

    def is_made_of(self, path: Path) -> bool:
        """Tell whether a file, wherever it lies, is the one that was added; False if it cannot be read."""
        try:
            return self._record.is_of(path)
        except OSError:
            return False

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self._record.n_channels

    @property
    def missing(self) -> bool:
        """Whether the image file cannot be found."""
        return self._linked.missing

    @property
    def pixel_size(self) -> PixelSize | None:
        """Axis letter → (size, unit), as the file or a person told."""
        return self._record.pixel_size

    @property
    def source(self) -> ImageSource:
        """The pixels, opened at first use.

        Raises
        ------
        ImageError
            If the file is missing, unreadable, or has another shape than when it was added.
        """
        return self._linked.source()

    @property
    def annotations(self) -> Annotations:
        """All annotations; boxes, tags and rules as they are now, labels and objects live."""
        with self._lock:
            marks, paint = self._marks, self._paint
            claims = {trust: store.labels for trust, store in self._claims.items()}
            return Annotations(
                self.label_shape,
                paint.labels,
                paint.objects,
                marks.boxes,
                marks.tags,
                marks.rules,
                claims,
                marks.frame_tags,
            )

    @property
    def recent(self) -> list[Region]:
        """Where something was painted since the project was opened, newest first, at most 64 regions."""
        with self._lock:
            return list(self._paint.recent)

    @property
    def claims_revision(self) -> int:
        """Grows with every change of the masks that may be wrong, since the project was opened."""
        return sum(paint.revision for paint in self._claims.values())

    def frames(self) -> list[tuple[int, ...]]:
        """Index of each frame, the part the network sees at once; one empty tuple where there is just one."""
        return list(product(*(range(size) for size in self.label_shape[: -self._project.ndim])))

    def frame_region(self, frame: Sequence[int]) -> Region:
        """Region of a whole frame.

        Raises
        ------
        AnnotationError
            If there is no such frame.
        """
        counts = self.label_shape[: -self._project.ndim]
        if len(frame) != len(counts) or any(not 0 <= i < n for i, n in zip(frame, counts, strict=True)):
            raise AnnotationError(
                f"“{self.name}” has no frame {tuple(frame)}.",
                f"Its frames go along {', '.join(self.label_axes[: len(counts)]) or 'no axis'}: {counts}.",
            )
        return tuple(slice(i, i + 1) for i in frame) + tuple(slice(0, n) for n in self.label_shape[len(counts) :])

    def paint(self, labels: Any, *, start: Sequence[int] | None = None, trust: Trust = "sure") -> None:
        """Replace the painted labels of the whole image, or of a block of it.

        Parameters
        ----------
        labels : int array
            Class ids, 0 = not annotated; of `label_shape`, or a block of any size that lies at `start`.
        start : sequence of int, optional
            First pixel of the block along the label axes.
        trust : {"sure", "rough", "imported", "machine"}
            "sure": what the labels say is so. The others are kept apart from it, one mask of each kind for an image:
            they may be wrong, so that training weighs each of their objects by how well it agrees with what is sure,
            and never lets one overrule it.

        Notes
        -----
        Object ids stay where the class stays, and vanish where another class or 0 is painted.

        Raises
        ------
        AnnotationError
            If shape, type or ids do not fit.
        StorageError
            If the disk refuses; the paint is kept in memory then.
        """
        block, region = self._placed(labels, start, what="labels")
        check_class_ids(block, region, self._project.classes, name=self.name)
        with self._changing():
            self._store(trust).put_labels(block, region)

    def paint_objects(self, class_: str | int, ids: Any, *, start: Sequence[int] | None = None) -> None:
        """Paint objects of one class that are told apart by their ids.

        Parameters
        ----------
        class_ : str or int
        ids : int array
            Object ids, 0 = not annotated; placed as in `paint`.
        start : sequence of int, optional

        Notes
        -----
        Where an object of this class was and the id is 0 now, the paint is removed. Paint without an id, and
        other classes' paint, stay where the id is 0.

        Raises
        ------
        AnnotationError, StorageError
            As `paint`.
        """
        class_id = self._project.classes.id_of(class_)
        block, region = self._placed(ids, start, what="object ids")
        check_object_ids(block, region, name=self.name)
        with self._changing():
            self._paint.put_objects(class_id, block, region)

    def drop_claims(self, trust: Trust) -> None:
        """Take back the mask of one kind that may be wrong; nothing happens where there is none."""
        with self._changing():
            claimed = self._claims.get(trust)
            for region in claimed.labels.occupied() if claimed is not None else ():
                assert claimed is not None
                claimed.put_labels(np.zeros(shape_of(region), np.uint8), region)

    def add_box(self, class_: str | int, start: Sequence[int], stop: Sequence[int]) -> None:
        """Add a box around one object: corners in pixels of the label axes, half-open, cut at the border."""
        class_id = self._project.classes.id_of(class_)
        corners = self._clipped(start, stop, what="box")
        with self._changing():
            self._marks.change_boxes([Box(class_id, *corners)], ())

    def remove_box(self, index: int) -> None:
        """Remove a box by its place in `annotations.boxes`."""
        with self._changing():
            count = len(self._marks.boxes)
            if not 0 <= index < count:
                raise AnnotationError(
                    f"“{self.name}” has no box number {index}.",
                    f"It has {count} box{'es' * (count != 1)}, counted from 0.",
                )
            self._marks.remove_box(index)

    def change_boxes(self, new: Iterable[Box], gone: Iterable[Box]) -> None:
        """Add some boxes, as `add_box` does, and remove others, as far as they are there, in one go."""
        classes = self._project.classes
        added = [Box(classes.id_of(box.class_id), *self._clipped(box.start, box.stop, what="box")) for box in new]
        with self._changing():
            self._marks.change_boxes(added, gone)

    def tag(self, class_: str | int, present: bool | None, frame: Sequence[int] | None = None) -> None:
        """Say that a class is present (True) or absent (False) in the image or in one frame, or unknown (None).

        Parameters
        ----------
        class_ : str or int
        present : bool or None
            None takes back what was said of the image, or of this frame by itself.
        frame : sequence of int, optional
            Index along the label axes before the spatial ones; the whole image if left out.

        Notes
        -----
        A class that is absent from the image is absent from every frame; what is said of a frame afterwards wins there.
        That a class is present says nothing of a single frame, where there are several.

        Raises
        ------
        AnnotationError
            If there is no such class or frame, or if `present` is something else.
        """
        class_id = self._project.classes.id_of(class_)
        index = None if frame is None else start_of(self.frame_region(frame))[: len(frame)]
        if not isinstance(present, bool | np.bool_ | None):
            raise AnnotationError(
                f"“{present}” says neither that “{class_}” is on “{self.name}” nor that it is not.",
                "Use True for present, False for absent, None for unknown.",
            )
        with self._changing():
            said = None if present is None else bool(present)
            if index is None or prod(self.label_shape[: len(index)]) == 1:  # the frame is all of the image
                self._marks.set_tag(class_id, said)
            else:
                self._marks.set_frame_tag(index, class_id, said)

    def coverage(
        self,
        class_: str | int | None,
        kind: Coverage,
        start: Sequence[int] | None = None,
        stop: Sequence[int] | None = None,
    ) -> None:
        """Say how complete the marks of a class are.

        Parameters
        ----------
        class_ : str, int or None
            None = every class.
        kind : {"some", "all objects", "exact"}
        start, stop : sequence of int, optional
            Region in pixels of the label axes, half-open; the whole image if left out.
        """
        class_id = None if class_ is None else self._project.classes.id_of(class_)
        if kind not in COVERAGE:
            raise AnnotationError(f"“{kind}” is no coverage.", f"Use one of {', '.join(map(repr, COVERAGE))}.")
        if (start is None) != (stop is None):
            raise AnnotationError(
                f"The region of coverage on “{self.name}” has only one of start and stop.",
                "Give both, or none for the whole image.",
            )
        corners: tuple[tuple[int, ...], tuple[int, ...]] | tuple[None, None] = (None, None)
        if start is not None and stop is not None:
            corners = self._clipped(start, stop, what="region of coverage")
        with self._changing():
            self._marks.add_rule(CoverageRule(class_id, kind, *corners))

    def knowledge(
        self,
        frame: Sequence[int] = (),
        *,
        region: Region | None = None,
        reach_px: Mapping[int, float] | None = None,
        before: Knowledge | None = None,
    ) -> Knowledge:
        """Merge all facts about a frame, or about a part of it.

        Parameters
        ----------
        frame : sequence of int
        region : Region, optional
            Over the label axes or over the spatial axes alone.
        reach_px : mapping of int to float, optional
            Class id → distance from its blobs, in pixels along X, beyond which "all objects" rules the class
            out.
        before : Knowledge, optional
            Of the same place at the same `revision`: what another reach does not touch is taken over.
        """
        place = self.frame_region(frame)
        if region is not None:
            place = place[: -self._project.ndim] + tuple(region)[-self._project.ndim :]
        return Knowledge.from_annotations(
            self.annotations,
            self._project.classes,
            place,
            spatial_ndim=self._project.ndim,
            reach_px=reach_px or {},
            sampling=self.spacing,
            before=before,
        )

    def flush(self) -> None:
        """Write what an earlier refusal of the disk left in memory only.

        Raises
        ------
        StorageError
            If the disk still refuses.
        """
        with self._lock, ExitStack() as stack:  # one that is refused does not keep the others from the disk
            if self._marks.unsaved:
                stack.callback(self._marks.write)
            for paint in self._used_paint():
                stack.callback(paint.flush)

    @property
    def unsaved(self) -> bool:
        """Whether something is in memory only, because the disk refused."""
        return self._marks.unsaved or any(paint.unsaved for paint in self._used_paint())

    @property
    def _paint(self) -> Paint:
        """Labels and ids, opened at first use: a project of a thousand images opens at once."""
        with self._lock:
            if self._paint_if_used is None:
                self._paint_if_used = Paint(self._folder, self._project._folder, self.label_shape, self._lock)
            return self._paint_if_used

    def _store(self, trust: Trust) -> Paint:
        """Give what holds masks of this trust, made at first use."""
        if trust == "sure":
            return self._paint
        if trust not in CLAIMS:
            kinds = ", ".join(f"“{kind}”" for kind in ("sure", *CLAIMS))
            raise AnnotationError(f"“{trust}” is no kind of trust.", f"Use one of {kinds}.")
        if trust not in self._claims:
            self._claims[trust] = self._opened_claims(trust)
        return self._claims[trust]

    def _opened_claims(self, trust: Trust) -> Paint:
        return Paint(self._folder / "claims" / trust, self._project._folder, self.label_shape, self._lock)

    def _used_paint(self) -> list[Paint]:
        return [*([self._paint_if_used] if self._paint_if_used else []), *self._claims.values()]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time; it counts even if the disk refuses, since it is kept in memory."""
        self._project._folder.check_changeable()
        with self._lock:
            before = self._state()
            try:
                yield
            finally:
                self.revision += self._state() != before

    def _state(self) -> tuple[object, ...]:
        marks, painted = self._marks, sum(paint.revision for paint in self._used_paint())
        return painted, marks.boxes, marks.tags, marks.frame_tags, marks.rules

    def _placed(self, values: Any, start: Sequence[int] | None, *, what: str) -> tuple[NDArray[Any], Region]:
        array = whole_numbers(values, what=what, name=self.name)
        return placed(array, start, self._place(what))

    def _clipped(
        self, start: Sequence[int], stop: Sequence[int], *, what: str
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return clipped_box(start, stop, self._place(what))

    def _place(self, what: str) -> Place:
        return Place(what, self.name, self.label_axes, self.label_shape)

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """Spacing along the spatial axes in units of a pixel along X; None where it is even or unknown."""
        sizes = self._record.pixel_size or {}
        axes = self.label_axes[-self._project.ndim :]
        if any(axis not in sizes for axis in axes) or len({sizes[axis][1] for axis in axes}) > 1:
            return None
        values = [sizes[axis][0] for axis in axes]
        if prod(values) <= 0 or min(values) == max(values):
            return None
        return tuple(value / values[-1] for value in values)

    def __repr__(self) -> str:
        return f"ProjectImage({self.name!r}, {self.label_axes} {self.label_shape})"

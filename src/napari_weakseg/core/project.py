"""A project: a folder with classes, images and what was said about them."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from threading import RLock
from types import MappingProxyType, TracebackType
from typing import Any, Self

from napari_weakseg.core.axes import checked_pixel_size
from napari_weakseg.core.classes import ClassInfo, ClassTable
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.errors import ImageError, ProjectError, StorageError
from napari_weakseg.core.folder import ProjectFolder
from napari_weakseg.core.history import append_line, read_lines
from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.importing import check_fits, folder_name, image_record, store_array
from napari_weakseg.core.lock import LOCK_NAME, ProjectLock
from napari_weakseg.core.names import distinct
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.record import ProjectRecord, parsed_config, parsed_project, saved_config
from napari_weakseg.core.storage import read_json_or_backup, storage_errors, write_json

__all__ = ["Project", "ProjectImage"]

_FILE = "project.json"
_FINDINGS_WAIT_S = 5.0  # what can be measured again is written this often at most


class Project:
    """A project folder, opened by one window at a time; see `create` and `open`.

    Every change is on disk when the call returns, and killing the program at any moment loses nothing older.

    Attributes
    ----------
    path : Path
        The folder, absolute.
    """

    def __init__(self, folder: ProjectFolder, record: ProjectRecord) -> None:
        self.path = folder.path
        self._folder = folder
        self._lock = RLock()
        self._findings_saved_s = time.monotonic()
        self._findings_unsaved = False
        self._record = record
        self._classes = ClassTable(record.classes)
        self._config, note = parsed_config(record.config)
        self._folder.note(note)
        self._images = {item.name: ProjectImage(self, item) for item in record.images}
        for image in self._images.values():
            self._folder.note(image._linked.note())

    @classmethod
    def create(
        cls,
        path: str | Path,
        classes: Sequence[str | ClassInfo],
        *,
        ndim: int = 2,
        config: TrainConfig | None = None,
    ) -> "Project":
        """Make a project folder.

        Parameters
        ----------
        path : path
            A new or empty folder.
        classes : sequence of str or ClassInfo
            The first is the background.
        ndim : {2, 3}
            Spatial axes that the network sees: 2 for images and stacks of images, 3 for volumes.
        config : TrainConfig, optional

        Raises
        ------
        ProjectError
            If the folder holds something already.
        StorageError
            If it cannot be written.
        """
        path = Path(path).expanduser().absolute()
        table = ClassTable.from_names(classes)
        if ndim not in (2, 3):
            raise ProjectError(f"A project has 2 or 3 spatial axes, not {ndim}.", "Choose 2 for images, 3 for volumes.")
        if path.exists() and (not path.is_dir() or any(item.name != LOCK_NAME for item in path.iterdir())):
            there = "a project" if (path / _FILE).exists() else "something else"
            raise ProjectError(f"“{path}” holds {there} already.", "Open it, or choose a new folder.")
        record = ProjectRecord(
            ndim=3 if ndim == 3 else 2,
            classes=tuple(table),
            config=saved_config(config or TrainConfig()),
        )
        with storage_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        project = cls(ProjectFolder(path, ProjectLock(path)), record)
        try:
            with storage_errors(path):
                for folder in ("annotations", "predictions", "checkpoints"):
                    (path / folder).mkdir(exist_ok=True)
            project._save()
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)  # it was new or empty
            project.close()
            raise
        return project

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False) -> "Project":
        """Open a project folder.

        Image files that are gone do not hinder it: see `notes` and `ProjectImage.missing`.

        Parameters
        ----------
        path : path
        read_only : bool
            Nothing can be changed; then it does not matter who else has it open.

        Raises
        ------
        ProjectError
            If it is no project, is damaged, is open elsewhere (`ProjectLocked`) or is too new
            (`NewerSchema`).
        StorageError
            If the folder cannot be read and written.
        """
        path = Path(path).expanduser().absolute()
        path = path.parent if path.name == _FILE else path
        file = path / _FILE
        if not file.exists() and not file.with_name(f"{_FILE}.bak").exists():
            raise ProjectError(
                f"“{path}” is no project: there is no {_FILE} in it.", "Choose a folder made by this plugin."
            )
        lock = None if read_only else ProjectLock(path)
        folder = ProjectFolder(path, lock)
        try:
            value, note = read_json_or_backup(file, repair=folder.writable)
            folder.note(note)
            return cls(folder, parsed_project(value, file))
        except BaseException:
            folder.close()
            raise

    @property
    def name(self) -> str:
        """Name of the folder without its ending."""
        return self.path.resolve().stem

    @property
    def ndim(self) -> int:
        """Spatial axes that the network sees, 2 or 3."""
        return self._record.ndim

    @property
    def classes(self) -> ClassTable:
        """The class table."""
        return self._classes

    @property
    def config(self) -> TrainConfig:
        """Training settings."""
        return self._config

    @property
    def images(self) -> Mapping[str, ProjectImage]:
        """Images by name, in the order of adding; a snapshot."""
        return MappingProxyType(self._images)

    def image(self, name: str) -> ProjectImage:
        """Give an image by its name.

        Raises
        ------
        ProjectError
            If there is none.
        """
        if name not in self._images:
            known = ", ".join(f"“{n}”" for n in self._images) or "none yet"
            raise ProjectError(f"There is no image “{name}” in the project.", f"Its images: {known}.")
        return self._images[name]

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of images whose files cannot be found."""
        return tuple(name for name, image in self._images.items() if image.missing)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed since opening: missing or changed files, damaged pieces, copies used instead."""
        return tuple(self._folder.notes)

    @property
    def checkpoint_dir(self) -> Path:
        """Folder for checkpoints."""
        return self.path / "checkpoints"

    @property
    def prediction_dir(self) -> Path:
        """Folder for predictions."""
        return self.path / "predictions"

    def set_classes(self, table: ClassTable) -> None:
        """Take another class table; a class with a new name, at its old place, is the same class.

        Raises
        ------
        ProjectError
            If a class that annotations use would vanish, or if they would come to mean another one.
        """
        with self._lock:
            changed = self._classes.changed_ids(table)
            for image in self._images.values() if changed else ():
                for class_id in sorted(image.annotations.used_classes() & set(changed)):
                    raise ProjectError(
                        f"The class “{self._classes.names[class_id - 1]}” is still used on “{image.name}” "
                        f"and {changed[class_id]}.",
                        "Leave the classes in their order, new ones at the end, "
                        "or erase its paint, boxes, tags and coverage there first.",
                    )
            kept = {i: key for i, key in zip(self._classes.ids, self.class_keys, strict=True) if i not in changed}
            new = count(max(self._record.classes_made, len(self._classes)))
            self._record.class_keys = tuple(kept[i] if i in kept else next(new) for i in table.ids)
            self._record.classes_made = next(new)
            self._classes = table
            self._record.classes = tuple(table)
            self._save()

    @property
    def class_keys(self) -> tuple[int, ...]:
        """Tell classes apart whatever they are called: one number each, never given to another class again."""
        return self._record.class_keys or tuple(range(len(self._classes)))

    @contextmanager
    def unchanging(self, doing: str) -> Iterator[None]:
        """Refuse changes of the marks, from any thread, while something is made of all of them.

        Parameters
        ----------
        doing : str
            What, in words that go on "while …".
        """
        self._folder.held = doing
        try:
            yield
        finally:
            self._folder.held = ""

    def set_config(self, config: TrainConfig) -> None:
        """Take other training settings."""
        with self._lock:
            self._config = config
            self._record.config = saved_config(config)
            self._save()

    def set_ndim(self, ndim: int) -> None:
        """Take another number of spatial axes, see `create`; only while nothing is marked on any image.

        Raises
        ------
        ProjectError
            If an image carries marks, or is flat and the network is to see volumes.
        """
        with self._lock:
            if ndim == self.ndim:
                return
            for image in self._images.values():
                if image.annotations.used_classes():
                    raise ProjectError(f"“{image.name}” carries marks already.", "Begin a new project for it.")
                if ndim == 3 and "Z" not in image.label_axes:
                    raise ProjectError(
                        f"“{image.name}” has no Z axis, and this project would be for volumes.",
                        "Begin a new project for the volumes.",
                    )
            self._save(ndim=3 if ndim == 3 else 2)
            for image in self._images.values():
                image._linked.close()
            self._images = {item.name: ProjectImage(self, item) for item in self._record.images}

    def set_axes(self, name: str, axes: str) -> None:
        """Take other axes for an image; only while nothing is marked on it. Its pixels stay where they are.

        Parameters
        ----------
        name : str
        axes : str
            Letters of TZCYX in the order of the file, S = colour.

        Raises
        ------
        ProjectError
            If the image carries marks.
        ImageError
            If the axes do not fit it, or the other images.
        """
        with self._lock:
            image = self.image(name)
            self._folder.check_there()
            if image.annotations.used_classes():
                raise ProjectError(f"“{name}” carries marks already.", "Erase them, or add the image once more.")
            source = ImageSource.open(image.path, axes, name, spatial_ndim=self.ndim)
            kept = {axis: size for axis, size in (image.pixel_size or {}).items() if axis in source.label_axes}
            source.pixel_size = kept or source.pixel_size
            others = [record for record in self._record.images if record is not image._record]
            check_fits(source, self._record.model_copy(update={"images": others}))
            folder = folder_name(name, {item.folder for item in self._record.images})
            record = image_record(source, folder, self.path, owned=image._record.owned)
            changed = ProjectImage(self, record, source)
            self._save(images=[record if item is image._record else item for item in self._record.images])
            self._images = {key: changed if key == name else value for key, value in self._images.items()}
            image._linked.close()
            self._folder.discard(self.path / "annotations" / image._record.folder)

    def add_image(
        self,
        path_or_array: Any,
        *,
        name: str | None = None,
        axes: str | None = None,
        pixel_size: Mapping[str, tuple[float, str]] | None = None,
        copy: bool = False,
    ) -> ProjectImage:
        """Add an image by path (it stays where it is) or as an array (a copy is kept in the project).

        Parameters
        ----------
        path_or_array : path or array
        name : str, optional
            The file's name without its ending if left out.
        axes : str, optional
            Letters of TZCYX, S = colour; as the file tells or guessed if left out.
        pixel_size : mapping, optional
            Axis letter → (size, unit), e.g. ``{"X": (0.1, "µm"), "Y": (0.1, "µm")}``.
        copy : bool
            Keep a copy of a file in the project too.

        Raises
        ------
        ImageError
            If the image cannot be read or does not fit the others.
        """
        source = ImageSource.open(path_or_array, axes, name, spatial_ndim=self.ndim)
        if pixel_size:
            source.pixel_size = checked_pixel_size(pixel_size, source.name)
        file_notes = source.file_notes
        with self._lock:
            self._folder.check_there()
            if name is not None and name in self._images:
                raise ImageError(f"There is an image “{name}” in the project already.", "Choose another name.")
            plain = source.name.encode(errors="replace").decode()  # not all that a disk calls a name is text
            asked_for = name is not None and plain not in self._images
            source.name = plain if asked_for else distinct(plain, self._images)
            check_fits(source, self._record)
            taken = {file.stem.lower() for file in (self.path / "images").glob("*.zarr")}
            folder = folder_name(source.name, taken | {item.folder for item in self._record.images})
            owned = copy or source.path is None
            copied = self.path / "images" / f"{folder}.zarr"
            try:
                if owned:
                    source = store_array(source, copied)
                self._folder.discard(self.path / "annotations" / folder)
                record = image_record(source, folder, self.path, owned=owned)
                image = ProjectImage(self, record, source)
                self._save(images=[*self._record.images, record])
            except BaseException:
                if owned:
                    shutil.rmtree(copied, ignore_errors=True)
                raise
            self._images = {**self._images, source.name: image}
            for note in file_notes:
                self._folder.note(note)
            return image

    def remove_image(self, name: str) -> None:
        """Take an image out; its annotations go to the project's folder ``trash``, its file stays."""
        with self._lock:
            image = self.image(name)
            self._save(images=[record for record in self._record.images if record is not image._record])
            self._images = {key: value for key, value in self._images.items() if key != name}
            self._folder.discard(self.path / "annotations" / image._record.folder)
            if image._record.owned:
                self._folder.discard(image.path)

    def relink(self, name: str, path: str | Path) -> None:
        """Tell where the file of an image is now.

        Raises
        ------
        ImageError
            If that file has another shape.
        """
        with self._lock:
            image = self.image(name)
            self._folder.check_there()
            with image._linked.taken_back():
                gone = image._linked.note()
                image._linked.relink(Path(path).expanduser())
                self._save()
            self._folder.notes[:] = [note for note in self._folder.notes if note != gone]

    def set_pixel_size(self, name: str, sizes: Mapping[str, tuple[float, str]]) -> None:
        """Tell how large the pixels of an image are: axis letter → (size, unit), instead of what its file tells.

        Raises
        ------
        ImageError
            If the sizes are not understood.
        """
        with self._lock:
            image = self.image(name)
            self._folder.check_there()
            with image._linked.taken_back():
                image._linked.set_pixel_size(checked_pixel_size(sizes, name))
                self._save()

    def append_history(self, entry: Mapping[str, Any]) -> None:
        """Add one line to ``history.jsonl``, with the time."""
        with self._lock:
            self._folder.check_there()
            append_line(self.path / "history.jsonl", entry)

    def history(self) -> list[dict[str, Any]]:
        """Entries of ``history.jsonl``."""
        return read_lines(self.path / "history.jsonl")

    def flush(self) -> None:
        """Write what an earlier refusal of the disk left in memory only.

        Raises
        ------
        StorageError
            If the disk still refuses.
        """
        with self._lock, ExitStack() as stack:  # one that is refused does not keep the others from the disk
            stack.callback(self._save)
            for image in self._images.values():
                stack.callback(image.flush)

    @property
    def unsaved(self) -> bool:
        """Whether something is in memory only, because the disk refused."""
        return any(image.unsaved for image in self._images.values())

    def close(self) -> None:
        """Write what is left and give the folder free."""
        if self._folder.closed:
            return
        with ExitStack() as stack:  # one that is refused does not keep the others from the disk
            stack.callback(self._folder.close)
            if self._findings_unsaved:
                stack.callback(self._save_quietly)
            for image in self._images.values():
                stack.callback(image._linked.close)
                stack.callback(image.flush)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Project({str(self.path)!r}, {len(self._images)} images, {self._classes!r})"

    def _save(self, **changes: Any) -> None:
        """Save, with these entries of the record changed; they stay as they were where the disk refuses."""
        self._folder.check_there()
        before = {key: getattr(self._record, key) for key in changes}
        self._findings_unsaved = False
        self._findings_saved_s = time.monotonic()
        try:
            for key, value in changes.items():
                setattr(self._record, key, value)
            write_json(self.path / _FILE, self._record.model_dump(mode="json", by_alias=True), backup=True)
        except BaseException:
            for key, value in before.items():
                setattr(self._record, key, value)
            raise

    def _save_findings(self) -> None:
        """Save what was measured on an image: now, or with the next one if the last was saved a moment ago."""
        if not self._folder.writable:
            return
        with self._lock:
            self._findings_unsaved = True
            if time.monotonic() - self._findings_saved_s >= _FINDINGS_WAIT_S:
                self._save_quietly()

    def _save_quietly(self) -> None:
        """Save what can be found out again; a disk that refuses is no reason to stop anybody."""
        try:
            self._save()
        except StorageError as error:
            self._folder.note(str(error))

"""The project on the table: made by itself when the first image is chosen, opened, saved elsewhere. No Qt."""

import re
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.classes import ClassInfo
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.errors import ProjectError, StorageError, WeaksegError
from napari_weakseg.core.names import PICTURES, SUFFIXES, distinct
from napari_weakseg.core.units import short_unit
from napari_weakseg.widgets.copying import copy_changed
from napari_weakseg.widgets.overlay import KEY, pixels_of
from napari_weakseg.widgets.source_pixels import image_axes, shown_axes, shows

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_weakseg.core.project import Project
    from napari_weakseg.core.project_image import ProjectImage

DEFAULT_CLASSES = ("background", "object")
SUFFIX = ".weakseg"


def default_root() -> Path:
    """Folder for projects that nobody gave a place: the user's data folder of this system."""
    from platformdirs import user_data_path

    return user_data_path("napari-weakseg", appauthor=False) / "projects"


class Desk:
    """Holds the one open project.

    Parameters
    ----------
    root : Path, optional
        Where projects are made that the person did not name.

    Attributes
    ----------
    project : Project or None
    unnamed : bool
        The project was made by itself and lies under `root`.
    before_close : callable
        Called before the project is closed, for those who still write to it.
    is_shown : callable
        Tells whether anything that lies in a folder is shown at the moment; it is not removed then.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()
        self.project: Project | None = None
        self.unnamed = False
        self.before_close: Callable[[], None] = lambda: None
        self.is_shown: Callable[[Path], bool] = lambda folder: False
        self._obsolete: set[Path] = set()

    def new(
        self,
        name: str,
        *,
        ndim: int = 2,
        classes: Sequence[str | ClassInfo] = DEFAULT_CLASSES,
        config: TrainConfig | None = None,
    ) -> "Project":
        """Put the open project away and make another under `root`."""
        from napari_weakseg.core.project import Project

        self.close()
        self.project = Project.create(self._free_path(name), classes, ndim=ndim, config=config)
        self.unnamed = True
        return self.project

    def open(self, path: Path) -> "Project":
        """Put the open project away and open another; the open one stays where the other cannot be opened."""
        from napari_weakseg.core.project import Project

        if self.project is not None and path.resolve() == self.project.path.resolve():
            return self.project
        project = Project.open(path)
        try:
            self.close()
        except BaseException:
            project.close()
            raise
        self.project, self.unnamed = project, project.path.resolve().is_relative_to(self.root.resolve())
        self._obsolete.discard(project.path)
        return project

    def new_folder(self, path: Path) -> Path:
        """Give a folder for a copy of the open project its ending.

        Raises
        ------
        ProjectError
            If the folder holds something already, or lies in the project itself.
        """
        path = _named(path)
        if path.resolve().is_relative_to(self.open_project.path.resolve()):
            raise ProjectError("A project cannot be saved inside itself.", "Choose a folder elsewhere.")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ProjectError(f"“{path}” exists already.", "Choose a name that is not taken.")
        return path

    def copy(self, path: Path, *, wanted: Callable[[], bool] = lambda: True) -> None:
        """Copy what lies in the open project's folder and is not in this one yet; people may go on marking meanwhile.

        Parameters
        ----------
        path : Path
            As `new_folder` gives it.
        wanted : callable
            Asked now and then; where it is not any more, the copy is removed.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        source = self.open_project.path
        try:
            complete = copy_changed(source, path, wanted=wanted)
        except OSError as error:
            shutil.rmtree(path, ignore_errors=True)
            raise StorageError(
                f"The project could not be copied to “{path}”.",
                "Check that there is room and that you may write there; the project stays open where it is.",
                str(error),
            ) from error
        if not complete:
            shutil.rmtree(path, ignore_errors=True)

    def go_on_in(self, path: Path) -> "Project":
        """Copy all, or what has changed since `copy`, close the open project and open the copy.

        Parameters
        ----------
        path : Path
            As `new_folder` gives it.

        Raises
        ------
        ImageError
            If an image file cannot be read, or has another shape than when it was added.
        StorageError
            If the copy cannot be written.
        """
        from napari_weakseg.core.project import Project

        old = self.open_project
        old.flush()
        self.copy(path)
        try:
            _relink(path, old)
            project = Project.open(path)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)  # it was new or empty
            raise
        self._obsolete |= {old.path} if self.unnamed else set()
        self.before_close()
        old.close()
        self.project, self.unnamed = project, False
        self.tidy()
        return project

    def merge(self, other: Path, path: Path, *, wanted: Callable[[], bool] = lambda: True) -> tuple[Path, list[str]]:
        """Make a new project of the open one and another, classes joined by name; the open one stays open.

        Parameters
        ----------
        other : Path
        path : Path
            As `new_folder` gives it.
        wanted : callable
            Asked before each image; where it is not any more, nothing is left behind.

        Returns
        -------
        path : Path
            Where it was made.
        notes : list of str
            What was noticed.

        Raises
        ------
        ProjectError
            If the other is the open one, no project, or does not fit to it, or if it is not wanted any more.
        StorageError
            If the folder cannot be written.
        """
        from napari_weakseg.core.merging import merge
        from napari_weakseg.core.project import Project

        mine = self.open_project
        if other.resolve() == mine.path.resolve():
            raise ProjectError("This project is open already.", "Choose another one to merge it with.")

        def go_on(image: str) -> None:
            if not wanted():
                raise ProjectError("The projects were not joined.", "Join them again when there is time.")

        joining = mine.unchanging("it is joined with another project")
        with joining, Project.open(other) as opened, merge(path, [mine, opened], on_image=go_on) as merged:
            return merged.path, list(merged.notes)

    def close(self) -> None:
        """Close the project; one that was made by itself and never used is removed."""
        if self.project is None:
            return
        self.before_close()
        project, self.project = self.project, None
        self._obsolete |= {project.path} if self.unnamed and not used(project) else set()
        project.close()
        self.tidy()

    def tidy(self) -> None:
        """Remove the folders of projects that nobody needs any more, unless an image in them is still shown."""
        for path in [path for path in self._obsolete if not self.is_shown(path)]:
            shutil.rmtree(path, ignore_errors=True)
            self._obsolete.remove(path)

    @property
    def open_project(self) -> "Project":
        """The project; an error in plain words where there is none."""
        if self.project is None:
            raise ProjectError("No project is open.", "Choose an image, or open a project.")
        return self.project

    def add(self, layer: "Image", axes: str) -> str:
        """Add a layer's image, by path where its file is just that array; returns its name in the project."""
        letters = image_axes(layer, axes)
        path = _own_file(layer, axes)
        project = self.open_project
        name = distinct(layer.name, project.images)
        size = _pixel_size(layer, axes)
        if path is not None:
            return project.add_image(path, name=name, axes=letters, pixel_size=size).name
        return project.add_image(pixels_of(layer), name=name, axes=letters, pixel_size=size).name

    def measure(self, name: str, layer: "Image", axes: str) -> None:
        """Take the pixel size of an image from its layer, where that has a real unit and another size."""
        project = self.open_project
        size = _pixel_size(layer, axes)
        if size is not None and size != project.images[name].pixel_size:
            project.set_pixel_size(name, size)

    def retake(self, name: str, layer: "Image", axes: str, *, before: str, ndim: int) -> None:
        """Take an image on which nothing is marked with other axes of its layer than `before`, or as a volume."""
        project, ndim_before = self.open_project, self.open_project.ndim
        old = project.images[name].axes  # the file may be in another order than the layer
        places = [before.find("C" if axis == "S" else axis) for axis in old]
        letters = image_axes(layer, axes)
        new = "".join(letters[i] if i >= 0 else axis for i, axis in zip(places, old, strict=True))
        try:
            project.set_ndim(min(ndim, ndim_before))
            if axes != before:
                project.set_axes(name, new)
                self.measure(name, layer, axes)
            project.set_ndim(ndim)
        except WeaksegError:
            if project.images[name].axes != old:
                project.set_axes(name, old)
            project.set_ndim(ndim_before)
            raise

    def stored(self, layer: "Image", shown: Collection[str]) -> tuple[str, str] | None:
        """Find the image of the project that a layer shows: its name and the layer's axes.

        It has the layer's name or file, the same pixels, and is not among those shown already.
        """
        names = {layer.name, layer.metadata.get(KEY, {}).get("image")}
        file = Path(layer.source.path).resolve() if layer.source.path else None
        for name, image in self.open_project.images.items():
            if name not in shown and (name in names or image.path.resolve() == file):
                with suppress(WeaksegError):  # its file is gone: the layer joins as another image
                    for axes in dict.fromkeys((image.axes.replace("S", "C"), shown_axes(image.source))):
                        if shows(layer, axes, image.source):
                            return name, axes
        return None

    def _free_path(self, name: str) -> Path:
        stem = re.sub(r"[^\w.-]+", "_", name).strip("._")[:40] or "image"
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
        taken = {path.stem for path in self.root.glob(f"*{SUFFIX}")}
        return self.root / f"{distinct(f'{stem}_{stamp}', taken)}{SUFFIX}"


def used(project: "Project") -> bool:
    """Tell whether a person put anything into a project."""
    return any(marked(image) for image in project.images.values())


def marked(image: "ProjectImage") -> bool:
    """Tell whether anything is painted, for sure or roughly, boxed, tagged or declared complete on an image."""
    notes = image.annotations
    said = notes.boxes or notes.tags or notes.frame_tags or notes.rules
    return bool(said or notes.painted_region() or notes.claimed_region())


def annotation_of(image: "ProjectImage") -> NDArray[np.uint8]:
    """Read what is painted, uint8 (*label_shape); only places where something is painted are read."""
    known = np.zeros(image.label_shape, np.uint8)
    notes = image.annotations
    for region in notes.painted_region():
        known[region] = notes.labels[region]
    return known


def _relink(path: Path, old: "Project") -> None:
    """Let a copy of a project refer to the same files: paths are relative to its folder, which is another one now."""
    from napari_weakseg.core.project import Project

    home = old.path.resolve()
    with Project.open(path) as copy:
        for name, image in old.images.items():
            file = image.path.resolve()
            if not file.is_relative_to(home) and file.exists() and file != copy.images[name].path.resolve():
                copy.relink(name, file)


def _own_file(layer: "Image", axes: str) -> Path | None:
    """File of a layer, if reading it gives the layer's pixels."""
    from napari_weakseg.core.images import ImageSource

    path = Path(layer.source.path) if layer.source.path else None
    if path is None or path.suffix.lower() not in SUFFIXES - PICTURES:  # these are copied
        return None
    try:
        source = ImageSource.open(path, image_axes(layer, axes))
        same = shows(layer, axes, source)
        source.close()
    except WeaksegError:
        return None
    return path if same else None


def _pixel_size(layer: "Image", axes: str) -> dict[str, tuple[float, str]] | None:
    """Scale and unit of each axis where the layer has a real unit."""
    own = axes[:-1] if layer.rgb else axes
    sizes = {
        axis: (abs(float(scale)), short_unit(str(unit)))  # a layer may be turned over
        for axis, scale, unit in zip(own, layer.scale, layer.units, strict=True)
        if axis != "C" and str(unit) not in ("pixel", "dimensionless")
    }
    return sizes or None


def _named(path: Path) -> Path:
    """Give a project folder its ending."""
    return path if path.suffix == SUFFIX else path.with_name(path.name + SUFFIX)

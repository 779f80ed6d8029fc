"""Results of an image as files that other programs read, made without holding up a window."""

import shutil
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

from napari_weakseg.core.label_files import check_replaceable, without_background, write_image
from napari_weakseg.core.names import result_name
from napari_weakseg.core.prediction_store import PredictionStore
from napari_weakseg.core.project import Project
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.storage import storage_errors

__all__ = ["TIFF_PX", "Results"]

TIFF_PX = 2**26  # larger label images stay OME-Zarr: as one TIFF they would need gigabytes of memory


class Results:
    """Where the results of an image go: two TIFFs and a table, or an OME-Zarr folder where it is large.

    Parameters
    ----------
    project : Project
    image : ProjectImage
    folder : Path
        Chosen by a person.
    objects : bool
        Ids of single objects and a table of them too.
    asked : bool
        A person has said that files which are there already may be replaced, whoever wrote them.
    """

    def __init__(
        self, project: Project, image: ProjectImage, folder: Path, *, objects: bool, asked: bool = False
    ) -> None:
        self._project, self._image, self._folder, self._objects = project, image, folder, objects
        self._name, self._asked = result_name(image.name, project.images), asked
        self._large = prod(image.label_shape) > TIFF_PX

    @property
    def store(self) -> Path:
        """Folder that is predicted into; it stays where the image is large."""
        if self._large:
            return self._file(".ome.zarr")
        return self._project.prediction_dir / f".{self._name}.part"

    def opened(self, made_by: str) -> PredictionStore:
        """Open what is predicted into, for a prediction that depends on `made_by` beside the image.

        Raises
        ------
        ProjectError
            If a file would be written over an image of the project or, where nobody was asked, over anything but an
            earlier result.
        StorageError
            If the disk refuses.
        """
        check_replaceable(self.files, self._project.images.values(), asked=self._asked)
        return PredictionStore(self.store, self._image, self._project.ndim, made_by)

    @property
    def files(self) -> list[Path]:
        """All that is there in the end."""
        if self._large:
            return [self.store]
        return [self._file("_classes.tif"), *([self._file("_objects.tif"), self._table] if self._objects else [])]

    @property
    def _table(self) -> Path:
        return self._file("_objects.csv")

    def _file(self, ending: str) -> Path:
        return self._folder / f"{self._name}{ending}"

    def write(
        self,
        store: PredictionStore,
        least_px: Mapping[int, int] | None = None,
        *,
        split: float | None = None,
        min_px: int | None = None,
    ) -> Iterator[float]:
        """Find the objects where they are wanted, then write the files; gives the share that is done.

        Parameters
        ----------
        store : PredictionStore
            At `store`, complete.
        least_px, split, min_px
            As of `find_stored_objects`.

        Raises
        ------
        StorageError
            If the disk refuses.
        """
        from napari_weakseg.engine.stored_objects import TABLE, find_stored_objects  # takes a window too long

        image = self._image
        if self._objects:
            yield from find_stored_objects(self._project, image, store, least_px, split=split, min_px=min_px)
        if self._large:
            return
        write_image(self._file("_classes.tif"), without_background(store.all_labels()), image.label_axes, image)
        if self._objects:
            write_image(self._file("_objects.tif"), store.all_objects(), image.label_axes, image)
            with storage_errors(self._table):
                shutil.copyfile(store.path / TABLE, self._table)
        shutil.rmtree(store.path, ignore_errors=True)
        yield 1.0

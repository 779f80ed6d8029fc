"""The pixels of a project's image: a file that may have moved, changed or gone since it was added."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from napari_weakseg.core.errors import ImageError
from napari_weakseg.core.images import ImageSource, Statistics
from napari_weakseg.core.readers import PixelSize, unreadable
from napari_weakseg.core.record import ImageRecord, StatisticsRecord, fingerprint, relative


class LinkedImage:
    """Opens the pixels of an image at first use.

    Parameters
    ----------
    project : Path
        The project folder.
    record : ImageRecord
        Kept up to date.
    save : callable
        Called when the record changed by itself, because the image was measured.
    spatial_ndim : {2, 3}
    source : ImageSource, optional
        If it is open already.
    """

    def __init__(
        self,
        project: Path,
        record: ImageRecord,
        save: Callable[[], None],
        *,
        spatial_ndim: int,
        source: ImageSource | None = None,
    ) -> None:
        self._project = project
        self._record = record
        self._save = save
        self._spatial_ndim = spatial_ndim
        self._lock = Lock()
        self._source = source
        if source is not None:
            self._watch(source)

    @property
    def path(self) -> Path:
        """Where the pixels are, or were when the image was added."""
        return self._project / self._record.path

    @property
    def missing(self) -> bool:
        """Whether the file cannot be found, or lies where one may not look."""
        try:
            return not self.path.exists()
        except OSError:
            return True

    def source(self) -> ImageSource:
        """Open the pixels, once.

        Raises
        ------
        ImageError
            If the file is missing, unreadable, or has another shape than when it was added.
        """
        with self._lock:
            if self._source is None:
                self._source = self._opened(self.path)
                self._watch(self._source)
            return self._source

    def note(self) -> str:
        """Say in one sentence that the file is gone or changed; forget measurements of a changed one."""
        name = self._record.name
        try:
            if not self.path.exists():
                return (
                    f"The file “{self.path}” of the image “{name}” is missing. Its annotations are kept: "
                    "put the file back, or let it be found (Project ▸ Find moved images, napari-weakseg relink)."
                )
            if self._record.owned or self._record.is_of(self.path):
                return ""
        except OSError as error:
            return f"{unreadable(self.path, name, error)} The annotations of “{name}” are kept."
        self._record.statistics = None
        return (
            f"The file “{self.path}” of the image “{name}” was changed since it was added: "
            "check that the annotations still fit."
        )

    def relink(self, path: Path) -> None:
        """Take another file; the record is left alone if it does not fit.

        Raises
        ------
        ImageError
            As `source`.
        """
        with self._lock:
            source, seen = self._opened(path), relative(path, self._project)
            size_bytes, checksum = fingerprint(path)
            if checksum != self._record.checksum:
                self._record.statistics = None
            self._record.size_bytes, self._record.checksum = size_bytes, checksum
            self._record.path = seen
            self._record.owned = False
            self._source = source
            self._watch(source)

    def set_pixel_size(self, sizes: PixelSize) -> None:
        """Take another pixel size than the file tells."""
        with self._lock:
            self._record.pixel_size = dict(sizes)
            if self._source is not None:
                self._source.pixel_size = dict(sizes)

    @contextmanager
    def taken_back(self) -> Iterator[None]:
        """Take back what the block changes, if it fails, as when the disk refuses to save it."""
        before, source = dict(self._record), self._source
        size = source.pixel_size if source is not None else None
        try:
            yield
        except BaseException:
            with self._lock:
                for key, value in before.items():
                    setattr(self._record, key, value)
                self._source = source
                if source is not None:
                    source.pixel_size = size
            raise

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._source is not None:
                self._source.close()
                self._source = None

    def _opened(self, path: Path) -> ImageSource:
        record = self._record
        try:
            there = path.exists()
        except OSError as error:
            raise unreadable(path, record.name, error) from error
        if not there:
            raise ImageError(
                f"The file “{path}” of “{record.name}” is missing; what you painted on it is kept.",
                "Put the file back, or let it be found (Project ▸ Find moved images, napari-weakseg relink).",
            )
        source = ImageSource.open(
            path,
            axes=record.axes,
            name=record.name,
            pixel_size=record.pixel_size,
            spatial_ndim=self._spatial_ndim,
        )
        if source.shape != record.shape:
            raise ImageError(
                f"The file “{path}” of the image “{record.name}” is {source.shape} now; "
                f"it was {record.shape} when it was added.",
                "Put the old file back, or add the new one under another name.",
            )
        source.n_channels = record.n_channels  # an older version took the fourth of any four for opacity
        return source

    def _watch(self, source: ImageSource) -> None:
        """Give the source its stored statistics, or store them once they are measured."""
        if self._record.statistics is not None:
            source.statistics = self._record.statistics.value()
        else:
            source.on_statistics = self._store

    def _store(self, statistics: Statistics) -> None:
        self._record.statistics = StatisticsRecord(low=statistics.low, high=statistics.high, notes=statistics.notes)
        self._save()

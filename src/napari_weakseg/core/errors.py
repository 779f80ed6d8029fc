"""Errors in words for the person at the microscope: what happened, where, and what to do."""


class WeaksegError(Exception):
    """An error a person can act on.

    Parameters
    ----------
    problem : str
        What happened and where, one or two sentences.
    remedy : str
        What to do about it, one or two sentences.
    details : str
        Technical text behind the details button; may be empty.

    Examples
    --------
    >>> str(WeaksegError("The image is empty.", "Choose another one."))
    'The image is empty. Choose another one.'
    """

    def __init__(self, problem: str, remedy: str, details: str = "") -> None:
        super().__init__(problem, remedy, details)  # all three, so that the error survives pickling
        self.problem = problem
        self.remedy = remedy
        self.details = details

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"


class ImageError(WeaksegError):
    """An image cannot be found, read or understood."""


class AnnotationError(WeaksegError):
    """Something painted, tagged or boxed does not fit its image or its classes."""


class ProjectError(WeaksegError):
    """A project folder cannot be made, opened or understood."""


class ProjectLocked(ProjectError):
    """Another window or program has the project open."""


class NewerSchema(ProjectError):
    """The project was written by a newer version of napari-weakseg."""


class StorageError(WeaksegError):
    """The disk refused: it is full, write-protected or gone."""


class TrainingError(WeaksegError):
    """Training cannot start or go on."""

"""napari-weakseg: segmentation that learns from rough, incomplete annotation.

`Project` keeps images, and what a person said about them, on disk; `merge` makes one of several; `Session` trains a
network on it and predicts. All are loaded on first use, so that importing the package costs nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_weakseg.core.merging import merge
    from napari_weakseg.core.project import Project
    from napari_weakseg.session import Session

    __version__: str

__all__ = ["Project", "Session", "__version__", "merge"]


def __getattr__(name: str) -> object:
    if name == "Project":
        from napari_weakseg.core.project import Project

        return Project
    if name == "merge":
        from napari_weakseg.core.merging import merge

        return merge
    if name == "Session":
        from napari_weakseg.session import Session

        return Session
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("napari-weakseg")
        except PackageNotFoundError:  # run from a source tree that is not installed
            return "0+unknown"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

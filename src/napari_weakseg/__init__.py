"""Segment microscopy images from a few rough marks.

The two names a script needs are `Project` (what the person said, a folder on disk) and `Session` (what the machine
learns from it). Both are imported on first use, so that ``import napari_weakseg`` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_weakseg.core.project import Project
    from napari_weakseg.session import Session

    __version__: str

__all__ = ["Project", "Session", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Project":
        from napari_weakseg.core.project import Project

        return Project
    if name == "Session":
        from napari_weakseg.session import Session

        return Session
    if name == "__version__":
        from importlib.metadata import version

        return version("napari-weakseg")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

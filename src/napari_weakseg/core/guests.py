"""Images that are in a project for the time being: in memory only, so that nothing of them stays whatever happens."""

import weakref
from pathlib import Path
from tempfile import TemporaryDirectory

from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.importing import check_fits, image_record
from napari_weakseg.core.project import Project
from napari_weakseg.core.project_image import ProjectImage

__all__ = ["add_guest", "remove_guest"]


def add_guest(project: Project, file: Path, name: str) -> ProjectImage:
    """Have an image file in an open project, under a name that no other image has.

    Raises
    ------
    ImageError
        If the file cannot be read or does not fit the images of the project.
    """
    source = ImageSource.open(file, name=name, spatial_ndim=project.ndim)
    check_fits(source, project._record)
    folder = TemporaryDirectory(prefix="napari-weakseg-", ignore_cleanup_errors=True)
    record = image_record(source, folder.name, project.path, owned=False)  # an absolute folder: outside of the project
    image = ProjectImage(project, record, source)
    weakref.finalize(image, folder.cleanup)
    with project._lock:
        project._images = {**project._images, name: image}
    return image


def remove_guest(project: Project, name: str) -> None:
    """Take the image out again."""
    with project._lock:
        project.image(name)._linked.close()
        project._images = {key: image for key, image in project._images.items() if key != name}

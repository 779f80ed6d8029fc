"""Names: of an image, from its file, and of its results, as every system accepts them."""

import re
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path

TIFF = frozenset({".tif", ".tiff"})
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"})
SUFFIXES = TIFF | PICTURES | {".zarr", ".npy"}  # of all files that can be read
_ENDINGS = (".ome.tif", ".ome.tiff", ".ome.zarr", *SUFFIXES)  # the long ones first
_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f]+')


def stem_of(path: Path) -> str:
    """Name of an image file without its ending; other dots belong to the name.

    Examples
    --------
    >>> stem_of(Path("drug_0.5uM.tif")), stem_of(Path("plate.ome.tif"))
    ('drug_0.5uM', 'plate')
    """
    ending = next((end for end in _ENDINGS if path.name.lower().endswith(end)), "")
    return path.name[: len(path.name) - len(ending)] or path.name


def distinct(name: str, taken: Iterable[str]) -> str:
    """`name`, with a number behind it where it is taken, in capitals or not: many disks see no difference.

    Examples
    --------
    >>> distinct("Field", ["field", "FIELD-2"]), distinct("cell", ["field"])
    ('Field-3', 'cell')
    """
    folded = {other.casefold() for other in taken}
    return next(n for n in chain([name], (f"{name}-{i}" for i in count(2))) if n.casefold() not in folded)


def result_name(name: str, images: Iterable[str]) -> str:
    """How the files of an image's results begin: in no other folder, and like no other image's.

    Parameters
    ----------
    name : str
    images : iterable of str
        Names of all images of the project.

    Examples
    --------
    >>> result_name("../scan", ["../scan"]), result_name("Field", ["field", "Field"])
    ('_scan', 'Field-2')
    """
    safe = {image: _UNSAFE.sub("_", image).strip(" .") or "image" for image in images}
    if len({plain.casefold() for plain in safe.values()}) == len(safe):
        return safe[name]
    names: dict[str, str] = {}
    for image, plain in safe.items():
        names[image] = distinct(plain, names.values())
    return names[name]

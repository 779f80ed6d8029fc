"""Units of length and time: as they are written here, and as OME writes them."""

import re

_LONG = {
    "nm": "nanometer",
    "µm": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "Å": "angstrom",
    "ms": "millisecond",
    "s": "second",
    "min": "minute",
    "h": "hour",
}
_SHORT = {
    **{long: short for short, long in _LONG.items()},
    **dict.fromkeys(("um", "μm", "micron", "microns"), "µm"),
}


def short_unit(unit: str) -> str:
    r"""How a unit is written here; one that is not known stays as it is.

    Examples
    --------
    >>> short_unit("micron"), short_unit("nanometer"), short_unit("parsec")
    ('µm', 'nm', 'parsec')
    >>> short_unit("\\u00B5m")  # as ImageJ writes it
    'µm'
    """
    plain = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), unit.strip().strip('"'))
    return _SHORT.get(plain, plain)


def ome_unit(unit: str) -> str:
    """How OME-Zarr writes a unit.

    Examples
    --------
    >>> ome_unit("µm"), ome_unit("um")
    ('micrometer', 'micrometer')
    """
    short = short_unit(unit)
    return _LONG.get(short, short)

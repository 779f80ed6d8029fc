"""The class table: names and colours of the classes, ids 1…K in table order."""

import colorsys
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from napari_weakseg.core.errors import AnnotationError

MAX_CLASSES = 31  # bit k of a uint32 stands for class k, bit 0 stays free
BACKGROUND = 1  # the first class is what is left over: never an object, transparent in layers, 0 in exports

_GREY = "#8c8c8c"
# Okabe-Ito without black, then Paul Tol's muted scheme: told apart by colour-blind people as well.
_PALETTE = (
    *("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"),
    *("#332288", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499"),
)


def _default_color(index: int) -> str:
    """Colour of the class at 0-based `index`; a second, paler pass through the palette after its end."""
    if index == 0:
        return _GREY
    turn, place = divmod(index - 1, len(_PALETTE))
    if turn == 0:
        return _PALETTE[place]
    rgb = tuple(int(_PALETTE[place][i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, light, saturation = colorsys.rgb_to_hls(*rgb)
    paler = colorsys.hls_to_rgb(hue, light + (0.95 - light) * 0.55, saturation)
    return "#" + "".join(f"{round(255 * value):02x}" for value in paler)


class ClassInfo(BaseModel):
    """Name and colour (``"#rrggbb"``) of one class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    color: str

    @field_validator("name")
    @classmethod
    def _strip(cls, name: str) -> str:
        name = name.strip()
        if not name:
            raise ValueError("a class needs a name")
        return name

    @field_validator("color")
    @classmethod
    def _lower(cls, color: str) -> str:
        digits = color[1:]
        if len(color) != 7 or color[0] != "#" or any(d not in "0123456789abcdefABCDEF" for d in digits):
            raise ValueError(f"“{color}” is not a colour of the form #rrggbb")
        return color.lower()


class ClassTable(Sequence[ClassInfo]):
    """Immutable sequence of classes; the class at index 0 has id 1 and is the background.

    Examples
    --------
    >>> table = ClassTable.from_names(["background", "nucleus"])
    >>> table.id_of("nucleus"), int(table.bit("nucleus")), int(table.full)
    (2, 4, 6)
    """

    __slots__ = ("_classes",)

    def __init__(self, classes: Iterable[ClassInfo]) -> None:
        self._classes = tuple(classes)
        names = [info.name for info in self._classes]
        if not 1 <= len(names) <= MAX_CLASSES:
            raise AnnotationError(
                f"A project has 1 to {MAX_CLASSES} classes, not {len(names)}.",
                "Name the background and at least one kind of object, for example background and nucleus.",
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise AnnotationError(
                f"The class name “{twice[0]}” is used more than once.", "Give every class its own name."
            )

    @classmethod
    def from_names(cls, names: Iterable[str | ClassInfo]) -> "ClassTable":
        """Table of the given names with the default colours; a `ClassInfo` keeps its own colour."""
        classes = []
        for index, name in enumerate(names):
            classes.append(name if isinstance(name, ClassInfo) else _info(name, _default_color(index)))
        return cls(classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in table order."""
        return tuple(info.name for info in self._classes)

    @property
    def ids(self) -> tuple[int, ...]:
        """Class ids 1…K."""
        return tuple(range(1, len(self._classes) + 1))

    @property
    def colors(self) -> tuple[str, ...]:
        """Colours ``"#rrggbb"`` in table order."""
        return tuple(info.color for info in self._classes)

    @property
    def full(self) -> np.uint32:
        """All class bits set: nothing is known."""
        return np.uint32((1 << (len(self._classes) + 1)) - 2)

    def id_of(self, name_or_id: str | int) -> int:
        """Id of a class given by name or by id.

        Raises
        ------
        AnnotationError
            If there is no such class.
        """
        if isinstance(name_or_id, str):
            if name_or_id in self.names:
                return self.names.index(name_or_id) + 1
        elif not isinstance(name_or_id, bool) and 1 <= int(name_or_id) <= len(self._classes):
            return int(name_or_id)
        listing = ", ".join(f"{name} ({id_})" for id_, name in zip(self.ids, self.names, strict=True))
        raise AnnotationError(
            f"There is no class “{name_or_id}”.",
            f"The classes of this project are {listing}: use one, or add it first.",
        )

    def bit(self, name_or_id: str | int) -> np.uint32:
        """``1 << id`` of a class."""
        return np.uint32(1 << self.id_of(name_or_id))

    def added(self, name: str, color: str | None = None) -> "ClassTable":
        """Table with one more class at the end; without a colour, or with one that is taken, it gets a free one."""
        if color is None or color in self.colors:
            free = (_default_color(index) for index in range(len(self), len(self) + 2 * MAX_CLASSES))
            color = next((one for one in free if one not in self.colors), color or _GREY)
        return ClassTable((*self._classes, _info(name, color)))

    def renamed(self, old: str | int, new: str) -> "ClassTable":
        """Table in which class `old` is called `new`; ids stay."""
        return self._replaced(self.id_of(old), name=new)

    def recolored(self, name_or_id: str | int, color: str) -> "ClassTable":
        """Table in which a class has another colour."""
        return self._replaced(self.id_of(name_or_id), color=color)

    def changed_ids(self, new: "ClassTable") -> dict[int, str]:
        """Ids that mean another class in a new table, or none: id → what became of its class, in words.

        Examples
        --------
        >>> table = ClassTable.from_names(["background", "nucleus", "fibre"])
        >>> table.changed_ids(table.renamed("nucleus", "cell"))
        {}
        >>> table.changed_ids(ClassTable.from_names(["background", "fibre"]))
        {2: 'would become “fibre”', 3: 'would be gone'}
        """
        changed = {}
        for class_id, name in zip(self.ids, self.names, strict=True):
            if class_id > len(new):
                changed[class_id] = "would be gone"
            elif (now := new.names[class_id - 1]) != name and (now in self.names or name in new.names):
                changed[class_id] = f"would become “{now}”"
        return changed

    def _replaced(self, class_id: int, *, name: str | None = None, color: str | None = None) -> "ClassTable":
        classes = list(self._classes)
        old = classes[class_id - 1]
        classes[class_id - 1] = _info(old.name if name is None else name, color or old.color)
        return ClassTable(classes)

    @overload
    def __getitem__(self, index: int) -> ClassInfo: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ClassInfo, ...]: ...
    def __getitem__(self, index: int | slice) -> ClassInfo | tuple[ClassInfo, ...]:
        return self._classes[index]

    def __len__(self) -> int:
        return len(self._classes)

    def __iter__(self) -> Iterator[ClassInfo]:
        return iter(self._classes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClassTable) and self._classes == other._classes

    def __hash__(self) -> int:
        return hash(self._classes)

    def __repr__(self) -> str:
        return f"ClassTable({', '.join(self.names)})"


def _info(name: str, color: str) -> ClassInfo:
    """`ClassInfo`, with pydantic's complaint put in plain words."""
    try:
        return ClassInfo(name=name, color=color)
    except ValueError as error:
        raise AnnotationError(
            f"“{name}” with colour “{color}” cannot be a class.",
            "Give it a name that is not empty and a colour such as #e69f00.",
            str(error),
        ) from error

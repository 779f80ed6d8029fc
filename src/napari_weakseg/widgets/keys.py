"""Keyboard shortcuts that live on the viewer and its layers only while the panel is open."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

#: Key → what it does, for the help text and the bindings alike.
HELP = {
    "1…9": "paint with this class, or draw boxes of it",
    "R": "draw boxes, or paint again",
    "M": "every object of this image (or slice) carries a mark, or not",
    "T": "train, pause, go on",
    "Shift-T": "stop",
    "A": "accept the object under the mouse",
    "Shift-A": "accept all that has grown",
    "O": "find objects",
    "Shift-O": "save the results of this image",
    "H": "hold to hide what the machine shows",
    "N": "next image or slice without marks",
    "Shift-N": "suggest what to annotate next",
}


class Shortcuts:
    """Binds keys and puts back what was there before.

    Parameters
    ----------
    viewer : ViewerModel
    actions : mapping of str to callable
        Key → function of the viewer or layer; a generator function runs on until the key is released.
    """

    def __init__(self, viewer: "ViewerModel", actions: Mapping[str, Callable[[Any], Any]]) -> None:
        self._viewer = viewer
        self._actions = dict(actions)
        self._bound: list[tuple[Any, str, Any]] = []

    @property
    def active(self) -> bool:
        """Whether the keys are bound."""
        return bool(self._bound)

    def bind(self, layers: Iterable["Layer"] = ()) -> None:
        """Bind all keys to the viewer, and to the given layers, whose own keys would otherwise come first."""
        self.unbind()
        for target in (self._viewer, *layers):
            for key, action in self._actions.items():
                before = target.bind_key(key, None)
                target.bind_key(key, action)
                self._bound.append((target, key, before))

    def unbind(self) -> None:
        """Give the keys back."""
        for target, key, before in reversed(self._bound):
            target.bind_key(key, None)
            if before is not None:
                target.bind_key(key, before)
        self._bound.clear()

"""Keyboard shortcuts that live on the viewer and its layers only while the panel is open."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

Actions: TypeAlias = Mapping[Any, Callable[[Any], Any]]  # key, as napari's bind_key takes it → what it does

#: Key → what it does, for the help text and the bindings alike.
HELP = {
    "1…9": "paint with this class, or draw boxes of it",
    "R": "draw boxes, or paint again",
    "E": "in a volume: the box ends at this plane",
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

    def __init__(self, viewer: "ViewerModel", actions: Actions) -> None:
        self._viewer = viewer
        self._actions = dict(actions)
        self._bound: list[tuple[Any, Any, Any]] = []

    @property
    def active(self) -> bool:
        """Whether the keys are bound."""
        return bool(self._bound)

    def bind(self, layers: "Iterable[Layer]" = (), own: "Mapping[Layer, Actions] | None" = None) -> None:
        """Bind all keys to the viewer, and to the given layers, whose own keys would otherwise come first.

        `own`: layer → keys of this layer alone.
        """
        self.unbind()
        for target in (self._viewer, *layers):
            self._bind(target, self._actions)
        for layer, actions in (own or {}).items():
            self._bind(layer, actions)

    def _bind(self, target: Any, actions: Actions) -> None:
        for key, action in actions.items():
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

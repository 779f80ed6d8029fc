"""Suggests what to annotate next, and takes and reviews masks that may be wrong."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject

from napari_weakseg.core.errors import AnnotationError
from napari_weakseg.engine.messages import Refused, Reviewed, Suggested
from napari_weakseg.widgets import messages
from napari_weakseg.widgets.engine_link import EngineLink
from napari_weakseg.widgets.next_box import ClaimsBox, NextBox
from napari_weakseg.widgets.overlay import KEY
from napari_weakseg.widgets.workbench import Workbench

if TYPE_CHECKING:
    from napari_weakseg.core.annotations import Trust
    from napari_weakseg.engine.protocol import ClaimTrust
    from napari_weakseg.engine.queries import Suggestion

_MOST = 8  # suggestions
_MOST_CLAIMS = 50
_MARKS = {"tag": "tag", "blob": "blobs", "box": "boxes", "exact": "exact masks"}


class Guidance(QObject):
    """Answers the two boxes.

    Parameters
    ----------
    bench : Workbench
    link : EngineLink
    next_box : NextBox
    claims_box : ClaimsBox
    """

    def __init__(
        self, bench: Workbench, link: EngineLink, next_box: NextBox, claims_box: ClaimsBox, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._bench, self._link, self._next, self._claims = bench, link, next_box, claims_box
        self._suggestions: Sequence[Suggestion] = ()
        self._trusts: Sequence[ClaimTrust] = ()
        self._asked: set[int | None] = set()  # requests; the answers to others are not for here
        next_box.wanted.connect(self.suggest)
        next_box.list.picked.connect(self._on_suggestion)
        claims_box.take_wanted.connect(self.take)
        claims_box.drop_wanted.connect(self.drop)
        claims_box.review_wanted.connect(self.review)
        claims_box.list.picked.connect(self._on_claim)
        link.suggested.connect(self._on_suggested)
        link.reviewed.connect(self._on_reviewed)
        link.refused.connect(self._on_refused)

    def suggest(self) -> None:
        """Ask what to annotate next."""
        self._bench.strokes.flush_all()
        request = self._link.suggest(_MOST)
        if request is not None:
            self._asked.add(request)
            self._next.say("Looking through the images …")

    def review(self) -> None:
        """Ask how far the masks are trusted."""
        self._asked.add(self._link.review())

    def take(self, trust: "Trust") -> None:
        """Take the selected Labels layer as a mask of the image worked on that may be wrong."""
        messages.guarded(lambda: self._take(trust))

    def drop(self, trust: "Trust") -> None:
        """Forget the mask of one kind of the image worked on."""
        image = self._bench.image
        if image is not None and messages.guarded(lambda: image.drop_claims(trust)):
            self._link.marks_changed(image.name)

    def clear(self) -> None:
        """Forget what was found for another project."""
        self._suggestions = self._trusts = ()
        self._asked.clear()
        self._next.set_rows([], [])
        self._claims.list.set_rows([], [])

    def _take(self, trust: "Trust") -> None:
        from napari.layers import Labels

        canvas, image = self._bench.current, self._bench.image
        layer: Any = self._bench.viewer.layers.selection.active
        if canvas is None or image is None:
            raise AnnotationError("No image is chosen.", "Choose the image that the mask belongs to first.")
        if not isinstance(layer, Labels) or KEY in layer.metadata:
            raise AnnotationError(
                "No mask is selected.",
                "Select the Labels layer that holds it in the layer list, not one that this panel made.",
            )
        labels = np.asarray(layer.data)
        image.paint(canvas.place.labels(labels) if labels.shape == canvas.place.shape else labels, trust=trust)
        self._link.marks_changed(image.name)
        messages.info(f"“{layer.name}” is taken as a mask of “{image.name}” that may be wrong; its weight is learned.")

    def _on_suggested(self, event: Suggested) -> None:
        suggestions = self._suggestions = event.suggestions
        rows = [(_where(s.image, s.frame), _MARKS[s.kind], _time(s.seconds)) for s in suggestions]
        self._next.set_rows(rows, [s.reason for s in suggestions])
        if not suggestions:
            self._next.say("Everything is annotated.")

    def _on_reviewed(self, event: Reviewed) -> None:
        claims = event.claims
        self._trusts = claims[:_MOST_CLAIMS]
        rows = [(_where(c.image, c.frame), str(c.pixels), f"{c.weight:.2f}") for c in self._trusts]
        tip = "0: it contradicts your exact images; 1: it agrees; 0.5: nothing is known yet. Nothing is ever deleted."
        self._claims.list.set_rows(rows, [tip] * len(rows))
        if rows and all(c.weight == 0.5 for c in claims):
            messages.info("Nothing is known about these masks yet: at least three images with exact masks are needed.")
        if not rows:
            messages.info("There is no rough, imported or machine-made mask in this project yet.")

    def _on_refused(self, event: Refused) -> None:
        if event.request_id not in self._asked:
            return
        self._next.say("")
        messages.warn(event.problem, event.remedy, event.details)

    def _on_suggestion(self, row: int) -> None:
        found = self._suggestions[row]
        self._next.say(found.reason)
        self._go(found.image, [*found.frame, *((s.start + s.stop) // 2 for s in found.region)])

    def _on_claim(self, row: int) -> None:
        found = self._trusts[row]
        self._go(found.image, [*found.frame, *found.start])

    def _go(self, name: str, place: list[int]) -> None:
        """Show a pixel of an image."""
        if self._bench.current is None or self._bench.current.name != name:
            messages.guarded(lambda: self._bench.open_image(name))
        if self._bench.current is not None and self._bench.current.name == name:
            self._bench.current.go_to(place)


def _where(image: str, frame: tuple[int, ...]) -> str:
    return f"{image} [{', '.join(map(str, frame))}]" if frame else image


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"

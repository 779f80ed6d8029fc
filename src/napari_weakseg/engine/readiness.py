"""Whether there is enough to learn from, in words for the person."""

from collections.abc import Sequence

from napari_weakseg.core.classes import ClassTable
from napari_weakseg.core.errors import TrainingError
from napari_weakseg.engine.blocks import Block

__all__ = ["missing_marks", "nothing_left"]

_PAINT = "Paint a blob inside some objects and a stroke of background, then train again."


def missing_marks(
    blocks: Sequence[Block], classes: ClassTable, *, boxes_teach: bool, left_out: Sequence[str] = ()
) -> TrainingError | None:
    """Say what has to be marked before anything can be learned.

    Parameters
    ----------
    blocks : sequence of Block
    classes : ClassTable
    boxes_teach : bool
        Boxes show their classes.
    left_out : sequence of str
        Names of marked images that cannot be read.
    """
    used = {c for block in blocks for c in block.marked_at}
    if boxes_teach:
        used |= {box[0] for block in blocks for box in block.boxes}
    if not used and left_out:
        names = ", ".join(f"“{name}”" for name in left_out)
        return TrainingError(
            f"The marked images cannot be read: {names}.",
            "Put their files back, or tell the project where they are now.",
        )
    if not used:
        return TrainingError("Nothing is marked yet.", _PAINT)
    if len(classes) < 2:
        return TrainingError(
            f"“{classes.names[0]}” is the only class of the project.",
            "Add a class for everything else, such as background, and mark some of it.",
        )
    if len(used) < 2 and not any(_rules_out(block) for block in blocks):
        return TrainingError(
            f"Only “{classes.names[min(used) - 1]}” is marked.",
            "Mark at least one more class (a stroke of background is enough), then train again.",
        )
    return None


def nothing_left() -> TrainingError:
    """Say that every mark was taken away while training."""
    return TrainingError("No mark is left to learn from.", _PAINT)


def _rules_out(block: Block) -> bool:
    """Whether some pixel of a block is known not to be of a class though nobody painted it."""
    return bool((block.knowledge.known & ~block.knowledge.painted).any())

"""Program of its own: opens a window, paints strokes with the mouse and says so, until it is killed."""

import sys
from pathlib import Path

import napari
from mouse import Hand
from qtpy.QtCore import QTimer

from conftest import two_discs
from napari_weakseg.widgets.desk import Desk
from napari_weakseg.widgets.panel import WeaksegPanel


def main(root: Path) -> None:
    viewer = napari.Viewer(show=True)
    viewer.add_image(two_discs((200, 240)), name="cells")
    panel = WeaksegPanel(viewer, desk=Desk(root))
    panel.train_box.auto.setChecked(False)
    viewer.window.add_dock_widget(panel)
    hand = Hand(viewer)
    strokes = iter([(y, x) for y in range(20, 180, 12) for x in range(20, 220, 12)])

    def paint() -> None:
        annotation = panel.controller.bench.current.annotation
        annotation.brush_size = 4
        y, x = next(strokes)
        hand.stroke((y, x), (y, x + 5))
        print(f"{y} {x} {int(annotation.data[y, x])}", flush=True)

    timer = QTimer()
    timer.timeout.connect(paint)
    QTimer.singleShot(500, lambda: timer.start(60))
    napari.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

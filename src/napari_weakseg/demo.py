"""The coins: one real image with a dab in most objects, segmented from nothing else.

The image is `skimage.data.coins`, which the scikit-image wheel ships. The dabs and the reference mask
lie in ``data/`` and are made by ``scripts/make_demo_data.py``; the reference is a classical region-based
segmentation, checked by eye and put right in three places. It is used to print the Dice at the end and
nowhere else.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_weakseg.core.errors import ProjectError
from napari_weakseg.core.project import Project
from napari_weakseg.core.storage import storage_errors
from napari_weakseg.engine.messages import Phase, Progress
from napari_weakseg.session import Session

if TYPE_CHECKING:
    import napari

CLASSES = ("background", "coin")
COIN = 2
PROJECT = "coins.weakseg"
LABELS, OVERLAY, REPORT = "labels.tif", "overlay.png", "report.json"
_SAY_INTERVAL_S = 5.0
_WINDOW_PROBE = """
from qtpy.QtGui import QOpenGLContext
from qtpy.QtWidgets import QApplication
app = QApplication([])
raise SystemExit(0 if QOpenGLContext().create() else "there is no OpenGL")
"""


class Coins(NamedTuple):
    """The demo's picture, all arrays of shape (303, 384)."""

    image: NDArray[np.uint8]  # grey values
    marks: NDArray[np.uint8]  # 0 not annotated, 1 background, 2 coin
    reference: NDArray[np.uint8]  # 0 background, 1…24 one id per coin, row by row


def load_coins() -> Coins:
    """Read the image, the painted marks and the reference; works offline."""
    from skimage import data

    folder = resources.files("napari_weakseg") / "data"

    def read(name: str) -> NDArray[np.uint8]:
        with resources.as_file(folder / name) as path:
            return np.asarray(tifffile.imread(path), np.uint8)

    return Coins(data.coins(), read("coins_marks.tif"), read("coins_reference.tif"))


def open_project(folder: Path) -> Project:
    """Open the demo's project in a folder, or make it: the coins with the marks painted."""
    path = folder / PROJECT
    if path.exists():
        return Project.open(path)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    coins = load_coins()
    project = Project.create(path, classes=CLASSES)
    project.add_image(coins.image, name="coins", axes="YX").paint(coins.marks)
    return project


def run_demo(
    out: Path, seconds: float = 45, window: bool | None = None, *, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Run the demo: in napari where a window can be opened, else headless.

    Parameters
    ----------
    out : Path
        Folder for the project and, headless, for ``labels.tif``, ``overlay.png`` and ``report.json``.
    seconds : float
        Training time of the headless demo; in the window training goes on until it is stopped.
    window : bool, optional
        True or False to choose; None means a window where there is a display.
    say : callable
        Takes the sentences that tell how it goes.

    Returns
    -------
    dict
        Headless what ``report.json`` holds; with a window ``{"project": …}``, after the window was closed.

    Raises
    ------
    ProjectError
        Headless, if the folder holds files of these names that no demo wrote.
    """
    out = Path(out)
    if window is None or window:
        problem = window_problem()
        if problem is None:
            return _run_window(out)
        say(f"{problem} The demo runs without a window.")
    return _run_headless(out, seconds, say)


def _refuse_strangers(out: Path) -> None:
    """Leave a folder alone that has files of the demo's names, but not its project."""
    if (out / PROJECT).exists():
        return
    taken = [name for name in (LABELS, OVERLAY, REPORT) if (out / name).exists()]
    if taken:
        raise ProjectError(
            f"“{out}” has files that the demo would write over: {', '.join(taken)}.",
            "Choose another folder with --out.",
        )


# ------------------------------------------------------------------ headless


def _run_headless(out: Path, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    _refuse_strangers(out)
    coins = load_coins()
    with open_project(out) as project, Session(project, seed=0) as session:
        say(f"Learning from dabs in 20 of 24 coins for {seconds:.0f} s …")
        session.state_changed.connect(lambda event: say(event.message) if event.phase is Phase.PREPARING else None)
        status = session.train(seconds=seconds, resume=False, on_progress=_Narrator(say))
        labels = np.asarray(session.predict("coins"), np.uint8)
    found, wanted = labels == COIN, coins.reference > 0
    shared = int((found & wanted).sum())
    report = {
        "dice": round(2 * shared / max(1, int(found.sum() + wanted.sum())), 4),
        "iou": round(shared / max(1, int((found | wanted).sum())), 4),
        "reference": "classical segmentation of the coins, checked by eye (scripts/make_demo_data.py)",
        "steps": status.step,
        "training_seconds": round(status.seconds, 1),
        "painted_share_of_coins": round(float((coins.marks == COIN).sum() / wanted.sum()), 3),
        "labels": str(out / LABELS),
        "overlay": str(out / OVERLAY),
        "project": str(out / PROJECT),
    }
    _write(out, coins, found, report)
    say(f"Dice {report['dice']:.3f} against the reference after {status.step} steps.")
    say(f"Labels: {report['labels']}   Picture: {report['overlay']}   Report: {out / REPORT}")
    return report


class _Narrator:
    """Passes on what training says, every few seconds."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._last_s = -np.inf

    def __call__(self, progress: Progress) -> None:
        now_s = time.monotonic()
        if progress.message and now_s - self._last_s >= _SAY_INTERVAL_S:
            self._last_s = now_s
            self._say(progress.message)


def _write(out: Path, coins: Coins, found: NDArray[np.bool_], report: dict[str, Any]) -> None:
    from skimage import io

    # class ids as in the table, background written as 0
    tifffile.imwrite(out / LABELS, np.where(found, COIN, 0).astype(np.uint8), compression="zlib", metadata=None)
    io.imsave(out / OVERLAY, overlay(coins, found), check_contrast=False)
    (out / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def overlay(coins: Coins, found: NDArray[np.bool_], *, zoom: int = 3) -> NDArray[np.uint8]:
    """Draw marks as a tint and the rim of what was found as a line; RGB, (303 × zoom, 384 × zoom, 3)."""
    from skimage import color, segmentation

    def enlarged(array: NDArray[Any]) -> NDArray[np.uint8]:
        return array.astype(np.uint8).repeat(zoom, axis=0).repeat(zoom, axis=1)

    tinted = color.label2rgb(
        enlarged(coins.marks), enlarged(coins.image), colors=["deepskyblue", "orange"], alpha=0.35, bg_label=0
    )
    lined = np.clip(segmentation.mark_boundaries(tinted, enlarged(found), color=(1, 0.85, 0), mode="inner"), 0, 1)
    picture: NDArray[np.uint8] = np.rint(lined * 255).astype(np.uint8)
    return picture


# -------------------------------------------------------------------- window


def window_problem() -> str | None:
    """Say why no window can be opened here; None where one can.

    A Qt that cannot start ends the whole process, so a child process tries first.
    """
    if os.environ.get("QT_QPA_PLATFORM", "").partition(":")[0] in ("offscreen", "minimal"):
        return "Qt is set to draw nothing (QT_QPA_PLATFORM)."
    linux = sys.platform not in ("darwin", "win32")
    if linux and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "There is no display."
    try:
        done = subprocess.run([sys.executable, "-c", _WINDOW_PROBE], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "Opening a window took too long."
    if done.returncode == 0:
        return None
    reasons = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return f"A window could not be opened ({reasons[-1] if reasons else 'Qt ended without a word'})."


def show(viewer: "napari.viewer.Viewer", project: Path) -> Any:
    """Open the panel on a project folder and begin to learn; returns the panel."""
    _, panel = viewer.window.add_plugin_dock_widget("napari-weakseg", "Learn from rough annotation")
    panel.controller.projects.open(project)
    panel.controller.do("train")
    return panel


def _run_window(out: Path) -> dict[str, Any]:
    import napari
    from qtpy.QtCore import QTimer

    open_project(out).close()
    viewer = napari.Viewer(title="napari-weakseg: coins")
    show(viewer, out / PROJECT)
    QTimer.singleShot(500, viewer.reset_view)  # the canvas has its final size only when the window is on screen
    napari.run()
    return {"project": str(out / PROJECT)}

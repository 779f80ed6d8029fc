"""What all tests share: where the real image sets are, and whether a window can be opened."""

import os
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _has_display() -> bool:
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _has_display() and os.environ.get("QT_QPA_PLATFORM") not in ("offscreen", "minimal"):
        return
    skip = pytest.mark.skip(reason="needs a display; `make test` provides a virtual one (xvfb-run python -m pytest)")
    for item in items:
        if item.get_closest_marker("viewer"):
            item.add_marker(skip)


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_counts() -> None:
    """Let Ctrl-C do what it does in a terminal: it is ignored in what a shell runs in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of the real image sets, one folder a set; the test is skipped where there is none."""
    given = os.environ.get("WEAKSEG_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real image sets are not at {folder}; set WEAKSEG_DATA to their folder")
    return folder

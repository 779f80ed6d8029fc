"""How fast and how large: every part in a process of its own, one result line each."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.sets import ROOT

FILE = "speed.jsonl"
SECONDS = 20.0
_REPEATS = 7
_LARGE_PX, _SMALL_PX = 20_000, 1_024
_SIDES_PX = 1_024, 4_096, 16_384, 65_536
_DISK_PX = 16_384
_SQUARES_PX = 1_024, 2_048, 4_096, 8_192
_IMPORT = """
import sys, time
import napari
napari.Viewer  # loads the window of napari, which is there before any plugin
at = time.perf_counter()
{statement}
print(time.perf_counter() - at, "torch" in sys.modules)
"""


class PartFailed(Exception):
    """A part could not be measured."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure.

    Attributes
    ----------
    parts : sequence of str
    seconds : float
        Length of each repeated measurement.
    device : str
    threads : int
    side : int
        Of the large image.
    folder : Path
        Of the result file.
    """

    parts: Sequence[str]
    seconds: float = SECONDS
    device: str = "cpu"
    threads: int = 2
    side: int = _LARGE_PX
    folder: Path = results.FOLDER


def run(options: Options) -> None:
    """Measure the parts and append a line for each; a part that cannot be measured is told and left out."""
    for name in options.parts:
        print(f"{name} …", flush=True)
        try:
            found = PARTS[name](options)
        except PartFailed as error:
            print(f"  not measured: {error}", flush=True)
            continue
        line = {"part": name, **results.machine(options.threads, options.device), "seconds": options.seconds}
        results.append(options.folder / FILE, line | {"found": found})
        print(f"  {json.dumps(found, ensure_ascii=False)}", flush=True)


def _imports(options: Options) -> dict[str, Any]:
    """Seconds that loading the plugin takes after napari itself, in fresh interpreters."""
    found: dict[str, Any] = {}
    for name, statement in (
        ("napari_weakseg.widgets", "import napari_weakseg.widgets"),
        ("the panel", "from napari_weakseg.widgets import WeaksegPanel"),
    ):
        rows = [_output([sys.executable, "-c", _IMPORT.format(statement=statement)]) for _ in range(_REPEATS)]
        times = [float(row.split()[0]) for row in rows]
        low, _, high = statistics.quantiles(times, n=4)
        found[name] = {
            "n": len(times),
            "median": round(statistics.median(times), 3),
            "q25": round(low, 3),
            "q75": round(high, 3),
            "torch": rows[-1].split()[1] == "True",
        }
    return found


def _steps(options: Options) -> Any:
    return _engine(options, "steps")


def _prediction(options: Options) -> Any:
    return _engine(options, "prediction")


def _memory(options: Options) -> dict[str, Any]:
    """Peak of a process that works on a very large image, beside one that does the same on a small one."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, side in (("large", options.side), ("small", _SMALL_PX)):
            file = Path(folder) / f"{name}.tif"
            written = _engine(options, "large", str(side), str(file))
            found[name] = written | _engine(options, "memory", str(side), str(file))
    if found["large"]["peak_mb"] is None:
        raise PartFailed("this system does not tell how much memory a process has had.")
    return found


def _cost(options: Options) -> list[Any]:
    """What training costs in ever larger images, and what predicting costs in the largest."""
    squares = {side: _SQUARES_PX if side == _SIDES_PX[-1] else _SQUARES_PX[:1] for side in _SIDES_PX}
    return [_engine(options, "cost", str(side), ",".join(map(str, px))) for side, px in squares.items()]


def _volume(options: Options) -> Any:
    return _engine(options, "volume")


def _disk(options: Options) -> dict[str, Any]:
    """Predict to disk in one go; then again, killed when half of it is there, and gone on with; then the objects."""
    with tempfile.TemporaryDirectory() as folder:

        def part(name: str, *rest: str) -> list[str]:
            given = [name, folder, options.device, str(options.threads), *rest]
            return [sys.executable, "-m", "benchmarks.speed_disk", *given]

        _output(part("make", str(_DISK_PX)))
        at_once = _json(_output(part("predict", "at_once")))
        pieces = len((Path(folder) / "at_once" / "done.txt").read_text().splitlines())
        killed = _killed_after(part("predict", "killed"), Path(folder) / "killed" / "done.txt", pieces // 2)
        return {
            "side": _DISK_PX,
            "pieces": pieces,
            "killed_after": killed,
            "at_once": at_once,
            "rest": _json(_output(part("predict", "killed"))),
            **_json(_output(part("compare", "at_once", "killed"))),
            "objects": _json(_output(part("predict", "at_once", "objects"))),
        }


def _killed_after(command: Sequence[str], done: Path, pieces: int) -> int:
    """Run a command until so many pieces are on disk, kill it, and tell how many are there."""
    with subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=subprocess.DEVNULL) as child:
        while child.poll() is None and (not done.exists() or done.read_text().count("\n") < pieces):
            time.sleep(0.05)
        if child.poll() is not None:
            raise PartFailed("the prediction ended before it could be killed.")
        child.kill()
    return done.read_text().count("\n")


def _opening(options: Options) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        _engine(options, "make", folder)
        return _engine(options, "opening", folder)


def _window(options: Options) -> Any:
    """Measure in a real window, on a virtual display where there is none."""
    command = [sys.executable, "-m", "benchmarks.speed_window", str(options.seconds), options.device]
    command.append(str(max(1, options.threads - 1)))  # as the panel does: one core is left to the window
    if sys.platform not in ("darwin", "win32") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        if shutil.which("xvfb-run") is None:
            raise PartFailed("there is no display, and no xvfb-run to make a virtual one.")
        command = ["xvfb-run", "-a", "-s", "-screen 0 1400x900x24", *command]
    found = _json(_output(command))
    return found | {"display": "virtual" if command[0] == "xvfb-run" else "as it is"}


def _engine(options: Options, part: str, *rest: str) -> Any:
    given = [part, str(options.seconds), options.device, str(options.threads), *rest]
    return _json(_output([sys.executable, "-m", "benchmarks.speed_engine", *given]))


def _json(output: str) -> Any:
    return json.loads(output.splitlines()[-1])


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=_environment())
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        raise PartFailed(f"its process ended with code {done.returncode}.")
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != "QT_QPA_PLATFORM"}
    paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment


PARTS: dict[str, Callable[[Options], Any]] = {
    "import": _imports,
    "steps": _steps,
    "prediction": _prediction,
    "memory": _memory,
    "cost": _cost,
    "volume": _volume,
    "disk": _disk,
    "opening": _opening,
    "window": _window,
}

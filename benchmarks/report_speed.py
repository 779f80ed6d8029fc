"""The part of the page about speed and memory."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.results import Line, commits, newest

_TEXT = """## Speed and memory

Each part ran in a process of its own. Medians with quartiles in brackets; what was warmed up is not counted.
"""


def speed_section(lines: Sequence[Line]) -> str:
    """Write the section from the newest line of each part, device by device."""
    parts = [_TEXT]
    chosen = newest(lines, ("part", "device"))
    for device in sorted({device for _, device in chosen}):
        here = {part: line for (part, at), line in chosen.items() if at == device}
        one = next(iter(here.values()))
        name = f"{one['cores']}-core CPU, {one['threads']} threads" if device == "cpu" else one["device_name"]
        parts.append(f"### {name}, torch {one['torch']}\n")
        parts.append(f"Measured at {commits(here.values())}, not later.\n")
        parts += [tell(here[part]["found"]) for part, tell in _TELL.items() if part in here]
    return "\n".join(parts if chosen else [*parts, "Not measured yet.\n"])


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def _spread(found: dict[str, Any], digits: int = 2) -> str:
    return f"{found['median']:.{digits}f} ({found['q25']:.{digits}f}–{found['q75']:.{digits}f})"


def _imports(found: dict[str, Any]) -> str:
    rows = [[f"importing {name}", _spread(one, 3), "yes" if one["torch"] else "no"] for name, one in found.items()]
    return _rows(["after napari itself", "seconds", "loads torch"], rows)


def _steps(found: dict[str, Any]) -> str:
    rows = []
    for case, arms in found.items():
        ours, plain = arms["ours"], arms["plain"]
        speed = f"{1 / ours['median']:.2f} ({1 / ours['q75']:.2f}–{1 / ours['q25']:.2f})"
        rows.append([case, speed, f"{1 / plain['median']:.2f}", f"{plain['median'] / ours['median']:.2f}"])
    return _rows(["training", "steps per second", "plain U-Net", "ratio"], rows)


def _prediction(found: dict[str, Any]) -> str:
    names = [name for name in found if name != "size"]
    return _rows([f"prediction, {found['size']}", "megapixels per second"], [[n, _spread(found[n])] for n in names])


def _memory(found: dict[str, Any]) -> str:
    rows = []
    for one in (found["small"], found["large"]):
        side = f"{one['side']:,}".replace(",", " ")
        rows.append([f"{side} × {side}, tiled TIFF", f"{one['raw_mb']:.0f}", f"{one['peak_mb']:.0f}"])
    head = ["added, marked, trained on, predicted where marked", "pixels, MB", "peak of the process, MB"]
    return _rows(head, rows)


def _cost(found: list[dict[str, Any]]) -> str:
    rows = []
    for one in found:
        side = f"{one['side']:,}".replace(",", " ")
        step = 1000 * one["step_s"]["median"]
        rows.append([f"{side} × {side}", f"{one['ready_s']:.1f}", f"{step:.0f}", f"{one['peak_mb']:.0f}"])
    head = ["virtual zarr, marked in one place", "seconds until the first step", "ms per step", "peak, MB"]
    predicted = {int(square): seconds for square, seconds in found[-1]["predicted_s"].items()}
    squares = [
        [f"{square}²", f"{seconds:.1f}", f"{seconds / (square**2 / 1e6):.2f}"] for square, seconds in predicted.items()
    ]
    return "\n".join([_rows(head, rows), _rows(["predicted in the largest", "seconds", "per megapixel"], squares)])


def _volume(found: dict[str, Any]) -> str:
    name = " × ".join(f"{size:,}".replace(",", " ") for size in found["shape"])
    rows = [[name, f"{found['imported_mb']:.0f}", f"{found['peak_mb']:.0f}"]]
    done = f"virtual zarr volume, marked, trained on, {found['predicted']}³ predicted"
    return _rows([done, "process before that, MB", "peak of the process, MB"], rows)


def _disk(found: dict[str, Any]) -> str:
    side = f"{found['side']:,}".replace(",", " ")
    rows = [
        [name, f"{one['seconds']:.0f}", f"{one['peak_mb'] or 0:.0f}"]
        for name, one in (
            ("at once", found["at_once"]),
            (f"killed after {found['killed_after']} of {found['pieces']} pieces: the rest", found["rest"]),
            (f"then its {found['objects']['objects']} objects", found["objects"]),
        )
    ]
    same = "the same as at once to the pixel" if found["equal"] else "**not the same as at once**"
    table = _rows([f"{side} × {side} predicted to disk", "seconds", "peak of the process, MB"], rows)
    return f"{table}\nWhat was killed and gone on with is {same}.\n"


def _opening(found: dict[str, Any]) -> str:
    at = found["seconds"]
    rows = [[name, f"{seconds:.2f}"] for name, seconds in at.items() if name in ("opened", "first tile")]
    return _rows([f"opening a marked project ({found['size']}; loading torch included)", "seconds"], rows)


def _window(found: dict[str, Any]) -> str:
    rows = [
        [name, *(f"{late[key]:.1f}" for key in ("p50", "p99", "max")), str(late["n"])]
        for name, late in found["late_ms"].items()
    ]
    display = "a virtual display, drawn by the CPU" if found["display"] == "virtual" else "a display"
    table = _rows(["a 10 ms timer in the window is late by (ms)", "p50", "p99", "max", "n"], rows)
    said = f"Window: {found['size']}, {display}; the engine has {found['engine_threads']} thread(s). "
    said += f"From Train to the first step: {found['start_s']:.1f} s. "
    stroke = found["stroke_s"]
    if stroke:
        said += f"From the end of a stroke to the first tile that knows it: {_spread(stroke)} s "
        said += f"(longest {stroke['max']:.2f} s, {stroke['n']} strokes)."
    else:
        said += "No stroke was answered in the time given."
    return f"{table}\n{said}\n"


_TELL: dict[str, Callable[[Any], str]] = {
    "import": _imports,
    "opening": _opening,
    "window": _window,
    "steps": _steps,
    "prediction": _prediction,
    "memory": _memory,
    "cost": _cost,
    "volume": _volume,
    "disk": _disk,
}

"""Result lines: one JSON object per finished run, appended as soon as it is finished."""

import ast
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.sets import ROOT, data_folder

FOLDER = ROOT / "benchmarks" / "results"
Line = dict[str, Any]


def read(file: Path) -> list[Line]:
    """All result lines of a file, oldest first; a line cut off by a kill is left out."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def append(file: Path, line: Mapping[str, Any]) -> None:
    """Add a result line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cut_off = file.exists() and not file.read_bytes().endswith(b"\n") and file.stat().st_size > 0
    with file.open("a", encoding="utf-8") as stream:
        stream.write("\n" * cut_off + json.dumps(line, ensure_ascii=False) + "\n")


def newest(lines: Sequence[Line], keys: Sequence[str]) -> dict[tuple[Any, ...], Line]:
    """Keep the last line of each key."""
    return {tuple(line.get(key) for key in keys): line for line in lines}


def latest(file: Path, keys: Sequence[str]) -> list[Line]:
    """Give the last line of each key in a file, whatever code it was made with."""
    return list(newest(read(file), [key for key in keys if key != "revision"]).values())


def commits(lines: Iterable[Line]) -> str:
    """Name the commits that lines were measured at."""
    return ", ".join(sorted({line["commit"] for line in lines}))


def unfinished(file: Path, names: Sequence[str], wanted: Iterable[Line]) -> Iterator[Line]:
    """Give what is to be run and has no line yet, by the values of some names; says how many there are."""
    finished = set(newest(read(file), names))
    left = [key for key in wanted if tuple(key[name] for name in names) not in finished]
    print(f"{len(left)} runs to make; finished ones are skipped.", flush=True)
    for number, key in enumerate(left, 1):
        print(f"[{number}/{len(left)}]", end=" ", flush=True)
        yield key


def make_runs(
    file: Path,
    names: Sequence[str],
    wanted: Iterable[Line],
    *,
    threads: int,
    named: Callable[[Line], str],
    measure: Callable[[Line], Line],
    told: Callable[[Line], str],
) -> None:
    """Make all runs that have no line yet, and add a line for each as soon as it is finished.

    Parameters
    ----------
    file : Path
    names : sequence of str
        Whose values tell runs apart.
    wanted : iterable of dict
        Runs, by these names.
    threads : int
    named, told : callable
        Words for a run before it is made, and for what was measured.
    measure : callable
        Makes a run.

    Raises
    ------
    NoData
        If the image sets are not there.
    """
    data_folder()
    for key in unfinished(file, names, wanted):
        print(named(key), end=" … ", flush=True)
        found = measure(key)
        append(file, {**machine(threads, key["device"]), **key, **found})
        print(told(found), flush=True)


def machine(threads: int, device: str) -> Line:
    """Describe what a run was made on and with."""
    import torch

    from napari_weakseg.engine.device import describe, pick

    chosen = pick(device)
    return {
        "device": chosen.type,
        "device_name": "CPU" if chosen.type == "cpu" else describe(chosen),
        "cores": os.cpu_count(),
        "threads": threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "commit": commit(),
    }


@cache
def commit() -> str:
    """Git's name for the commit, with + where files differ from it; "" outside a clone."""
    try:
        name = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=10"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return name.stdout.strip()


@cache
def revision(module: str) -> str:
    """Fingerprint of the code behind a result: a module and all modules of ours that it imports.

    Comments and docstrings do not count, nor does code that the module never reaches, so a finished run stays finished
    until something changes that could change its result.
    """
    digest = hashlib.sha256()
    for name in sorted(_reached(module)):
        digest.update(ast.unparse(_without_docstrings(_parsed(name))).encode())
    return digest.hexdigest()[:10]


def _reached(module: str) -> set[str]:
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(other for other in _imported(name) if _file(other) is not None)
    return found


def _imported(module: str) -> Iterator[str]:
    for node in ast.walk(_parsed(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file(module: str) -> Path | None:
    if module.partition(".")[0] not in ("benchmarks", "napari_weakseg"):
        return None
    base = ROOT if module.startswith("benchmarks") else ROOT / "src"
    path = base.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def _parsed(module: str) -> ast.Module:
    file = _file(module)
    assert file is not None
    return ast.parse(file.read_text(encoding="utf-8"))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(node.body) > 1:
                node.body = node.body[1:]
    return tree

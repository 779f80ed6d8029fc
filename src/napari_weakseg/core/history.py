"""The diary of a project: one JSON object a line."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_weakseg.core.storage import storage_errors


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Add an entry with the time; a line that was cut off before is closed first.

    Raises
    ------
    StorageError
        If the disk refuses.
    """
    stamped = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **entry}
    line = json.dumps(stamped, ensure_ascii=False, default=str)
    with storage_errors(path), path.open("a+b") as file:
        file.seek(0, 2)
        if file.tell():
            file.seek(-1, 2)
            line = line if file.read(1) == b"\n" else f"\n{line}"
        file.write(f"{line}\n".encode())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Entries in order; a line that was cut off is left out."""
    if not path.exists():
        return []
    with storage_errors(path, doing="read"):
        lines = path.read_text("utf-8", errors="replace").splitlines()
    entries = []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries

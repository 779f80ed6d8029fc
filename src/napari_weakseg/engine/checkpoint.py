"""A training state on disk: tensors in safetensors, everything else in JSON. Nothing is pickled."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from napari_weakseg.core.errors import ProjectError

__all__ = ["read_state", "unreadable", "write_state"]

_TENSORS, _STATE = "state.safetensors", "state.json"


def write_state(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors (contiguous copies on the host) and JSON values."""
    host = {name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}
    save_file(host, folder / _TENSORS)
    state = {**state, "checksum": zlib.crc32((folder / _TENSORS).read_bytes())}
    (folder / _STATE).write_text(json.dumps(state), encoding="utf-8")


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_state` wrote.

    Raises
    ------
    ProjectError
        If a file is missing or damaged.
    """
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        if zlib.crc32((folder / _TENSORS).read_bytes()) != state["checksum"]:
            raise ValueError("the checksum of the tensors is wrong")
        tensors = load_file(folder / _TENSORS)
    except Exception as error:  # safetensors has its own exception type, JSON and the disk theirs
        raise unreadable(folder, error) from error
    return tensors, state


def unreadable(folder: Path, error: Exception) -> ProjectError:
    """Say that a saved training state is of no use."""
    return ProjectError(
        f"The saved training in “{folder}” cannot be read.",
        "Delete that folder and train again; the annotations are not touched.",
        details=f"{type(error).__name__}: {error}",
    )

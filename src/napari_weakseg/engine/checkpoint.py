"""A training state on disk: tensors in safetensors, everything else in JSON. Nothing is pickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from napari_weakseg.core.errors import ProjectError

__all__ = ["read_state", "write_state"]

_TENSORS, _STATE = "state.safetensors", "state.json"


def write_state(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors (contiguous copies on the host) and JSON values."""
    host = {name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}
    save_file(host, folder / _TENSORS)
    (folder / _STATE).write_text(json.dumps(state), encoding="utf-8")


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_state` wrote.

    Raises
    ------
    ProjectError
        If a file is missing or damaged.
    """
    try:
        tensors = load_file(folder / _TENSORS)
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except Exception as error:  # safetensors has its own exception type, JSON and the disk theirs
        raise ProjectError(
            f"The saved training in “{folder}” cannot be read.",
            "Delete that folder and train again; the annotations are not touched.",
            details=str(error),
        ) from error
    return tensors, state


def flat_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[float]]:
    """Optimiser state as named tensors, and the step sizes of its groups."""
    state = optimizer.state_dict()
    tensors = {
        f"optimizer.{index}.{name}": torch.as_tensor(value)
        for index, entry in state["state"].items()
        for name, value in entry.items()
    }
    return tensors, [float(group["lr"]) for group in state["param_groups"]]


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser the state that `flat_optimizer` gave."""
    state = optimizer.state_dict()
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            entries.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": entries, "param_groups": state["param_groups"]})

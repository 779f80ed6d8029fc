"""Where to compute, and how much fits there."""

import contextlib
import ctypes
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from napari_weakseg.core.errors import TrainingError

__all__ = ["Plan", "autocast", "describe", "free", "keep_memory", "pick", "plan_for"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt in glibc


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes that suit a device.

    Attributes
    ----------
    patch_px, batch : int
        Side of a training patch and patches in a step.
    width : int
        Channels of the network at half resolution.
    tile_px : int
        Side of a prediction tile, its halo included.
    """

    patch_px: int
    batch: int
    width: int
    tile_px: int


_PLANS = {
    ("cpu", 2): Plan(patch_px=128, batch=8, width=32, tile_px=512),
    ("cpu", 3): Plan(patch_px=32, batch=4, width=16, tile_px=80),
    ("gpu", 2): Plan(patch_px=256, batch=16, width=64, tile_px=1024),
    ("gpu", 3): Plan(patch_px=64, batch=8, width=32, tile_px=128),
}


def pick(name: str = "auto") -> torch.device:
    """Choose a device: "auto" takes a CUDA card, then Apple's, then the processor.

    Raises
    ------
    TrainingError
        If a device is asked for that is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(
            f"The computing device “{name}” cannot be used on this computer.",
            "Choose “auto” or “cpu”, or check the graphics driver and that PyTorch was installed for it.",
            details=str(error),
        ) from error
    return device


def describe(device: torch.device) -> str:
    """Name a device for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    threads = torch.get_num_threads()
    return f"CPU, {threads} core{'s' * (threads != 1)}"


def plan_for(device: torch.device, ndim: int) -> Plan:
    """Give the sizes for a device and a number of spatial axes."""
    return _PLANS["cpu" if device.type == "cpu" else "gpu", ndim]


def autocast(device: torch.device, ndim: int) -> AbstractContextManager[object]:
    """Half precision where it pays: on CUDA cards, and in 2-D bfloat16 on processors that compute with it.

    Not in 3-D on processors: there the weight gradients of bfloat16 convolutions now and then hold NaN (torch 2.13).
    """
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)
    if device.type == "cpu" and ndim == 2 and _processor_has_bfloat16():
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _processor_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; torch does it anywhere, but elsewhere it is slower."""
    can: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch < 2.10 cannot tell
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))


def keep_memory(device: torch.device) -> None:
    """Let the C library keep freed memory for the next step, until `free`.

    Otherwise glibc gives every large tensor back to the system and asks for it anew, which takes a large part
    of a step on the processor. Elsewhere nothing happens.
    """
    if device.type == "cpu" and (libc := _glibc()) is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def free(device: torch.device) -> None:
    """Give cached memory back to the device, and to the system."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()

"""What went wrong, in words for the person at the microscope."""

import re
import traceback
from pathlib import Path

from napari_weakseg.core.errors import WeaksegError
from napari_weakseg.core.storage import storage_error
from napari_weakseg.engine.messages import Failed

# CUDA, HIP, XPU and MPS say "out of memory"; the CPU allocator, cuBLAS and cuDNN have words of their own.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|not enough memory|failed to allocate"
    r"|invalid buffer size|(CUBLAS|CUDNN|CUSOLVER|CUFFT)_STATUS_(ALLOC|INTERNAL_ERROR_ALLOC)",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, on the graphics card or the processor.

    ``torch.OutOfMemoryError`` is recognised by its name, so that torch need not be imported.
    """
    if isinstance(error, MemoryError):
        return True
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None


def explain(error: BaseException) -> Failed:
    """Put any error into a problem, a remedy and technical details."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, WeaksegError):
        return Failed(error.problem, error.remedy, error.details or details)
    if is_out_of_memory(error):
        return Failed(
            "There is not enough memory for this.",
            "Close other programs that use the graphics card or much memory, or choose smaller patches or the"
            " CPU in the settings, then start again.",
            details,
        )
    if isinstance(error, ImportError):
        return Failed(
            f"A part of the program could not be loaded ({error.name or error}).",
            "Install napari-weakseg again with all it needs: pip install --upgrade napari-weakseg.",
            details,
        )
    if isinstance(error, OSError):
        told = storage_error(error, Path(str(error.filename or "a file")), doing="read or written")
        return Failed(told.problem, told.remedy, details)
    return Failed(
        "Something went wrong in the engine.",
        "Start again: your marks, and what was learned up to the last save, are kept. If it happens again,"
        " please report it together with the details.",
        details,
    )

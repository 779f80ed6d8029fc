"""The command line: the same session from a shell.

Exit codes: 0 done, 1 something the person has to see to (told on stderr), 2 wrong usage, 130 Ctrl-C. What is
learned is saved before a Ctrl-C ends the training.
"""

import sys
from io import TextIOWrapper

from napari_weakseg.cli import projects, results, training  # noqa: F401 - they register their commands
from napari_weakseg.cli.shell import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names may hold letters that its encoding lacks
    app()

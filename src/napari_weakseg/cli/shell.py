"""What the commands share: the app, options that mean the same everywhere, words for errors, progress bars."""

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from napari_weakseg.core.errors import ProjectError, WeaksegError
from napari_weakseg.core.project import Project
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.engine import messages
from napari_weakseg.session import Session

app = typer.Typer(
    name="napari-weakseg",
    help="Learn to segment microscopy images from rough, incomplete annotation.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    add_completion=False,
)
_errors = Console(stderr=True, highlight=False)
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Zero(StrEnum):
    """What 0 in a label image stands for."""

    BACKGROUND = "background"
    UNKNOWN = "unknown"


Folder = Annotated[Path, typer.Argument(metavar="PROJECT", help="The project folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Seed = Annotated[int, typer.Option(help="Same seed, same random choices.")]
AsClass = Annotated[
    str | None, typer.Option(help="Every pixel that is not 0 belongs to this class.", show_default=False)
]


def guarded(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn errors into words on stderr and exit codes."""

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return command(*args, **kwargs)
        except WeaksegError as error:
            _errors.print(f"[red]Error:[/] {_plain(error.problem)}", soft_wrap=True)
            warn(error.remedy)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            _errors.print("Stopped. What was learned is saved.")
            raise typer.Exit(130) from None

    return run


def warn(text: str) -> None:
    """Say on stderr what a person should know; the command goes on."""
    _errors.print(_plain(text), soft_wrap=True)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def tell(value: Any, as_json: bool, text: str) -> None:
    """Print a result on stdout; JSON in ASCII, which every terminal and pipe can take."""
    typer.echo(json.dumps(value, indent=2) if as_json else text)


@contextmanager
def opened_project(path: Path) -> Iterator[Project]:
    """Open a project; what was noticed about it, as files that are gone or were changed, is told on stderr."""
    with Project.open(path) as project:
        told = project.notes
        for note in told:
            warn(note)
        try:
            yield project
        finally:
            for note in project.notes[len(told) :]:  # noticed only when it was read
                warn(note)


def named(project: Project, name: str) -> ProjectImage:
    """Find an image of a project; where there is none of that name, the error lists those there are."""
    if name not in project.images:
        known = ", ".join(project.images) or "none yet"
        raise ProjectError(f"There is no image “{name}” in this project.", f"Its images: {known}.")
    return project.images[name]


def progress_bar() -> Progress:
    """Make a progress bar on stderr, so that stdout stays for results."""
    return Progress(
        BarColumn(24), TextColumn("{task.percentage:>3.0f}% {task.description}", markup=False), console=_errors
    )


def follow(session: Session, bar: Progress, task: TaskID) -> None:
    """Show beside the bar what the engine says."""

    @session.state_changed.connect
    def on_state(event: messages.StateChanged) -> None:
        if event.message:
            bar.update(task, description=event.message)

"""The command line: the same session from a shell.

Exit codes: 0 done, 1 something the person has to see to (told on stderr), 2 wrong usage, 130 Ctrl-C. What is
learned is saved before a Ctrl-C ends the training.
"""

import functools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from napari_weakseg.cli_files import (
    Wanted,
    as_classes,
    image_files,
    member,
    predict_to_file,
    prediction_jobs,
    read_labels,
)
from napari_weakseg.cli_info import as_text, describe
from napari_weakseg.core.annotations import Coverage
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.errors import ImageError, ProjectError, WeaksegError
from napari_weakseg.core.label_files import without_background, write_image
from napari_weakseg.core.merging import merge
from napari_weakseg.core.project import Project
from napari_weakseg.engine import messages
from napari_weakseg.engine.factory import follow, trainer_factory
from napari_weakseg.session import Session

if TYPE_CHECKING:
    from napari_weakseg.engine.peers import Peers

DEFAULT_SECONDS = 60.0

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


class CoverageChoice(StrEnum):
    """How complete marks are."""

    SOME = "some"
    ALL_OBJECTS = "all objects"
    EXACT = "exact"


class Zero(StrEnum):
    """What 0 in a label image stands for."""

    BACKGROUND = "background"
    UNKNOWN = "unknown"


class TrustChoice(StrEnum):
    """How far a label image is to be trusted."""

    SURE = "sure"
    ROUGH = "rough"
    IMPORTED = "imported"
    MACHINE = "machine"


class QueryChoice(StrEnum):
    """How to choose what to annotate next."""

    MIXTURE = "mixture"
    RANDOM = "random"
    ENTROPY = "entropy"
    MARGIN = "margin"
    DISAGREEMENT = "disagreement"
    DIVERSITY = "diversity"


class PresetChoice(StrEnum):
    """Published methods."""

    PARTIAL_MASKS = "partial-masks"
    EVERY_ANNOTATION_COUNTS = "every-annotation-counts"
    PRESENCE_MASKING = "presence-masking"
    HYBRID_SUPERVISION = "hybrid-supervision"
    TAGS_AND_MASKS = "tags-and-masks"


class What(StrEnum):
    """What can be exported."""

    ANNOTATION = "annotation"
    PREDICTION = "prediction"
    GROWN = "grown"


Folder = Annotated[Path, typer.Argument(metavar="PROJECT", help="The project folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Seed = Annotated[int, typer.Option(help="Same seed, same random choices.")]
AsClass = Annotated[
    str | None, typer.Option(help="Every pixel that is not 0 belongs to this class.", show_default=False)
]


def _guarded(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn errors into words on stderr and exit codes."""

    @functools.wraps(command)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return command(*args, **kwargs)
        except WeaksegError as error:
            _errors.print(f"[red]Error:[/] {_plain(error.problem)}", soft_wrap=True)
            _errors.print(_plain(error.remedy), soft_wrap=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            _errors.print("Stopped. What was learned is saved.")
            raise typer.Exit(130) from None

    return guarded


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def _print(value: Any, as_json: bool, text: str) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False) if as_json else text)


@app.command()
@_guarded
def new(
    project: Folder,
    classes: Annotated[str, typer.Option(help="Names, separated by commas; the background comes first.")],
    ndim: Annotated[int, typer.Option(min=2, max=3, help="2 for planes, 3 for volumes.")] = 2,
) -> None:
    """Make a project."""
    names = [name.strip() for name in classes.split(",") if name.strip()]
    with Project.create(project, classes=names, ndim=ndim) as made:
        typer.echo(f"Made “{made.name}” with the classes {', '.join(made.classes.names)}.")


@app.command()
@_guarded
def add(
    project: Folder,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.", show_default=False)],
    axes: Annotated[str | None, typer.Option(help="Letters of TZCYX, S = colour, e.g. ZCYX.")] = None,
) -> None:
    """Add images to a project; the files stay where they are."""
    with Project.open(project) as opened:
        for path in image_files(images):
            image = opened.add_image(path, axes=axes)
            typer.echo(f"{image.name}: {' × '.join(map(str, image.source.shape))} ({image.source.axes})")


@app.command("merge")
@_guarded
def merge_projects(
    project: Annotated[Path, typer.Argument(metavar="NEW", help="Folder of the new project.", show_default=False)],
    others: Annotated[list[Path], typer.Argument(metavar="PROJECT...", help="Projects.", show_default=False)],
) -> None:
    """Make one project of several; classes of the same name are joined, the others stay as they are.

    What is background in one may be a class of another, so it is only taken over where nothing speaks against it.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(Project.open(path)) for path in others]
        made = stack.enter_context(merge(project, opened))
        typer.echo(f"Made “{made.name}”: {len(made.images)} images, classes {', '.join(made.classes.names)}.")


@app.command()
@_guarded
def annotate(
    project: Folder,
    image: Annotated[str, typer.Argument(help="Name of the image in the project.", show_default=False)],
    labels: Annotated[Path, typer.Argument(help="A label image of the same size.", show_default=False)],
    coverage: Annotated[CoverageChoice, typer.Option(help="How complete the marks are.")] = CoverageChoice.SOME,
    as_class: AsClass = None,
    objects: Annotated[bool, typer.Option("--objects", help="The numbers tell objects apart.")] = False,
    zero: Annotated[
        Zero | None,
        typer.Option(help="What 0 stands for; background where the coverage is exact, else unknown."),
    ] = None,
    trust: Annotated[
        TrustChoice, typer.Option(help="Whether the labels are right, or a mask that may be wrong, and of what kind.")
    ] = TrustChoice.SURE,
) -> None:
    """Take a label image as annotation."""
    with Project.open(project) as opened:
        target = _named(opened, image)
        table = opened.classes
        class_id = None if as_class is None else table.id_of(as_class)
        if objects and class_id is None:
            raise typer.BadParameter("--objects needs --as-class.")
        if trust is not TrustChoice.SURE and (objects or coverage is not CoverageChoice.SOME):
            raise typer.BadParameter(
                "--objects and --coverage are for labels that are sure; leave them or --trust out."
            )
        values = read_labels(labels, target, opened.ndim)
        exact = coverage is CoverageChoice.EXACT
        background = zero is Zero.BACKGROUND or (zero is None and exact)
        ids = as_classes(values, len(table), name=labels.name, as_class=class_id, zero=int(background))
        target.paint(ids, trust=trust.value)
        if trust is not TrustChoice.SURE:
            typer.echo(f"{image}: {int((ids > 0).sum())} pixels claimed, {trust.value}.")
            return
        if objects and as_class is not None:
            target.paint_objects(as_class, values)
        kind: Coverage = coverage.value
        target.coverage(None if class_id is None or background else class_id, kind)
        typer.echo(f"{image}: {int((ids > 0).sum())} pixels annotated, {kind}.")


def _preset(choice: PresetChoice | None) -> TrainConfig | None:
    return None if choice is None else TrainConfig.preset(choice.value)


def _peers(device: str) -> "Peers | None":
    """Find the other processes where torchrun has started several; torch is not imported otherwise."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    from napari_weakseg.engine.peers import Peers

    return Peers.of_torchrun(device)


@app.command()
@_guarded
def train(
    project: Folder,
    seconds: Annotated[float | None, typer.Option(min=0, help="Training time.  [default: 60]")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps to make.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what was learned before.")] = False,
    device: Device = "auto",
    seed: Seed = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
    preset: Annotated[
        PresetChoice | None, typer.Option(help="A published method in place of the project's settings, to compare.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train on all the marks of a project.

    On several graphics cards: torchrun --nproc-per-node CARDS -m napari_weakseg train PROJECT. Each step then learns
    from as many batches as there are processes.
    """
    if seconds is None and steps is None:
        seconds = DEFAULT_SECONDS
    config, peers = _preset(preset), _peers(device)
    if peers is not None and not peers.leads:
        with Project.open(project, read_only=True) as opened:
            follow(peers, trainer_factory(opened, config, device=device, seed=seed, threads=threads, peers=peers)())
        peers.end()
        return
    with (
        Project.open(project) as opened,
        Session(opened, device=device, seed=seed, threads=threads, config=config, peers=peers) as session,
        _bar() as bar,
    ):
        task = bar.add_task("Getting ready.", total=seconds if seconds is not None else steps)
        first: list[int] = []
        last: list[messages.Progress] = []

        def on_progress(event: messages.Progress) -> None:
            last[:] = [event]
            first[:] = first or [event.step]
            done = event.seconds if seconds is not None else event.step - first[0]
            bar.update(task, completed=done, description=event.message)

        _follow(session, bar, task)
        status = session.train(seconds, steps, resume=not fresh, on_progress=on_progress)
    if peers is not None:
        peers.end()
    told = last[0] if last else None
    value = {
        "step": status.step,
        "seconds": round(status.seconds, 2),
        "loss": None if told is None else told.loss,
        "quality": None if told is None else told.quality,
    }
    _print(value, as_json, f"{status.step} steps in all, {status.seconds:.0f} s.")


@app.command()
@_guarded
def predict(
    project: Folder,
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Names of images of the project, files or folders; all images if left out."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the label images; predictions/ of the project if left out.")
    ] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Write class probabilities too.")] = False,
    objects: Annotated[bool, typer.Option("--objects", help="Write ids of single objects and a table too.")] = False,
    zarr: Annotated[
        bool,
        typer.Option("--zarr", help="Write OME-Zarr piece by piece instead, for images beyond memory; goes on later."),
    ] = False,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler whose workers predict; with --zarr.")
    ] = None,
    split: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="How readily touching objects are told apart, 0 to 1; with --objects."),
    ] = None,
    min_px: Annotated[
        int | None, typer.Option(min=0, help="Smaller objects are left out; what the marks tell if not given.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Predict images and write label images (TIFF, class ids, background 0).

    With --zarr the background keeps its number 1, and 0 is what is not predicted yet: the same command goes on where it
    was stopped, as long as nothing new was learned. How sure it is lies in certainty/, the objects in labels/objects/
    and their table in objects.csv.

    With --scheduler the workers of a dask cluster predict, one network each. They need the folder of the project and
    the images under the same paths.
    """
    if zarr and probabilities:
        raise typer.BadParameter("--zarr writes how sure the classes are, not all probabilities; leave one out.")
    if (split is not None or min_px is not None) and not objects:
        raise typer.BadParameter("--split and --min-px are about objects; give --objects too.")
    if scheduler is not None and not zarr:
        raise typer.BadParameter("--scheduler writes OME-Zarr only; give --zarr too.")
    written: dict[str, str] = {}
    wanted = Wanted(objects, split, min_px)
    with (
        Project.open(project) as opened,
        Session(opened, device=device) as session,
        _bar() as bar,
        _cluster(scheduler) as predict_there,
    ):
        folder = out or opened.prediction_dir
        jobs = prediction_jobs(opened, images)
        task = bar.add_task("Predicting", total=len(jobs))
        _follow(session, bar, task)
        for job in jobs:
            with member(opened, job) as name:
                path = folder / f"{name}.{'ome.zarr' if zarr else 'tif'}"
                if predict_there is not None:
                    tell = functools.partial(_tell_share, bar, task, name)
                    predict_there(opened, name, path, **asdict(wanted), device=device, on_progress=tell)
                elif zarr:
                    session.predict_to(name, path, **asdict(wanted))
                else:
                    predict_to_file(session, name, path, wanted, probabilities=probabilities)
                written[name] = str(path)
            bar.advance(task)
    _print(written, as_json, "\n".join(written.values()))


@app.command()
@_guarded
def evaluate(
    project: Folder,
    masks: Annotated[
        Path, typer.Argument(help="A mask, or a folder of masks named like their images.", show_default=False)
    ],
    image: Annotated[str | None, typer.Option(help="The image of a single mask of another name.")] = None,
    as_class: AsClass = None,
    zero: Annotated[Zero, typer.Option(help="What 0 in the masks stands for.")] = Zero.BACKGROUND,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Compare predictions with masks: Dice and IoU of each class."""
    with Project.open(project) as opened, Session(opened, device=device) as session:
        class_id = None if as_class is None else opened.classes.id_of(as_class)
        files = image_files([masks])
        pairs = [(image, files[0])] if image is not None else [(f.stem, f) for f in files]
        pairs = [(name, file) for name, file in pairs if image is not None or name in opened.images]
        if not pairs:
            raise ImageError(
                f"No mask in “{masks}” has the name of an image of the project.",
                "Name the masks like the images, or give --image.",
            )
        result = {}
        for name, file in pairs:
            values = read_labels(file, _named(opened, name), opened.ndim)
            ids = as_classes(
                values, len(opened.classes), name=file.name, as_class=class_id, zero=int(zero is Zero.BACKGROUND)
            )
            result[name] = {c: asdict(s) for c, s in session.evaluate(name, ids).items()}
    lines = [
        f"{name}: {c}: Dice {_number(s['dice'])}, IoU {_number(s['iou'])}"
        for name, scores in result.items()
        for c, s in scores.items()
    ]
    _print(result, as_json, "\n".join(lines))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


@app.command()
@_guarded
def suggest(
    project: Folder,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many suggestions.")] = 5,
    query: Annotated[QueryChoice, typer.Option(help="How to choose.")] = QueryChoice.MIXTURE,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Say what to annotate next, and with which kind of mark."""
    with Project.open(project) as opened, Session(opened, device=device, seed=seed) as session:
        found = session.suggest(number, query=query.value)
    told = [
        {
            "image": s.image,
            "frame": list(s.frame),
            "start": [part.start for part in s.region],
            "stop": [part.stop for part in s.region],
            "mark": s.kind,
            "seconds": round(s.seconds, 1),
            "reason": s.reason,
        }
        for s in found
    ]
    lines = [f"{s.image}{list(s.frame) or ''}: {s.kind}, about {s.seconds:.0f} s. {s.reason}" for s in found]
    _print(told, as_json, "\n".join(lines) or "Everything is annotated.")


@app.command()
@_guarded
def info(project: Folder, as_json: Json = False) -> None:
    """Tell what a project holds."""
    with Project.open(project) as opened:
        described = describe(opened)
    _print(described, as_json, as_text(described))


@app.command()
@_guarded
def export(
    project: Folder,
    out: Annotated[Path, typer.Option(help="Folder for the label images.", show_default=False)],
    what: Annotated[What, typer.Option(help="What to write.")] = What.ANNOTATION,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Write label images (TIFF) of every image.

    Predictions and grown blobs have 0 for the background. Annotation keeps its numbers: 0 is not annotated.
    """
    written: dict[str, str] = {}
    with Project.open(project) as opened, Session(opened, device=device) as session:
        for name, image in opened.images.items():
            if what is What.ANNOTATION:
                labels = np.asarray(image.annotations.labels[...], np.uint8)
            elif what is What.GROWN:
                labels = without_background(session.grown(name))
            else:
                labels = without_background(np.asarray(session.predict(name), int))
            written[name] = str(write_image(out / f"{name}.tif", labels, image.label_axes, image))
    _print(written, as_json, "\n".join(written.values()))


@app.command()
@_guarded
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the project and the pictures.")] = Path("demo"),
    seconds: Annotated[float, typer.Option(min=0, help="Training time without a window.")] = 45.0,
    window: Annotated[
        bool | None, typer.Option("--window/--no-window", help="A window where there is a display, if left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Segment the coins from a few dabs of paint, in napari or without a window."""
    from napari_weakseg.demo import run_demo

    say = (lambda text: typer.echo(text, err=True)) if as_json else typer.echo
    report = run_demo(out, seconds, window, say=say)
    if as_json:
        _print(report, True, "")


def _named(project: Project, name: str) -> Any:
    if name not in project.images:
        known = ", ".join(project.images) or "none yet"
        raise ProjectError(f"There is no image “{name}” in this project.", f"Its images: {known}.")
    return project.images[name]


def _bar() -> Progress:
    """Make a progress bar on stderr, so that stdout stays for results."""
    return Progress(
        BarColumn(24), TextColumn("{task.percentage:>3.0f}% {task.description}", markup=False), console=_errors
    )


@contextmanager
def _cluster(scheduler: str | None) -> Iterator[Callable[..., Path] | None]:
    """Give what predicts on the workers of a scheduler, if there is one."""
    if scheduler is None:
        yield None
        return
    from napari_weakseg.cluster import connected, predict_on

    with connected(scheduler) as client:
        yield functools.partial(predict_on, client)


def _tell_share(bar: Progress, task: TaskID, name: str, share: float) -> None:
    bar.update(task, description=f"Predicting “{name}”: {100 * share:.0f} %")


def _follow(session: Session, bar: Progress, task: TaskID) -> None:
    """Show beside the bar what the engine says."""

    @session.state_changed.connect
    def on_state(event: messages.StateChanged) -> None:
        if event.message:
            bar.update(task, description=event.message)


def main() -> None:
    """Run the command line."""
    app()

"""Commands that tell what was learned: predictions, scores, suggestions, label images."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import Progress, TaskID

from napari_weakseg.cli.files import masks_of, member, prediction_jobs, results_of, write_probabilities
from napari_weakseg.cli.masks import as_classes, check_named, read_labels
from napari_weakseg.cli.shell import (
    AsClass,
    Device,
    Folder,
    Json,
    Seed,
    Zero,
    app,
    follow,
    guarded,
    named,
    opened_project,
    progress_bar,
    tell,
    warn,
)
from napari_weakseg.core.errors import ImageError, WeaksegError
from napari_weakseg.core.label_files import check_replaceable, check_result_of, without_background, write_image
from napari_weakseg.core.names import result_name
from napari_weakseg.session import Session


class QueryChoice(StrEnum):
    """How to choose what to annotate next."""

    MIXTURE = "mixture"
    RANDOM = "random"
    ENTROPY = "entropy"
    MARGIN = "margin"
    DISAGREEMENT = "disagreement"
    DIVERSITY = "diversity"


class What(StrEnum):
    """What can be exported."""

    ANNOTATION = "annotation"
    GROWN = "grown"


@app.command()
@guarded
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
    """Predict images and write label images: NAME_classes.tif, class ids with the background as 0.

    With --objects also NAME_objects.tif, their numbers, and NAME_objects.csv, a table. A very large image becomes
    NAME.ome.zarr.

    With --zarr the background keeps its number 1, and 0 is what is not predicted yet: the same command goes on where it
    was stopped, as long as nothing new was learned. How sure it is lies in certainty/, the objects in labels/objects/
    and their table in objects.csv.

    With --scheduler the workers of a dask cluster predict, one network each. They need the folder of the project and
    the images under the same paths.

    Earlier results of an image are replaced. Those of a file that is not in the project are so only if they are of the
    same file, not of another one of that name.

    An image that is gone, damaged or cannot be predicted for another reason is named on stderr and the exit code is 1;
    the others are predicted.
    """
    if zarr and probabilities:
        raise typer.BadParameter("--zarr writes how sure the classes are, not all probabilities; leave one out.")
    if (split is not None or min_px is not None) and not objects:
        raise typer.BadParameter("--split and --min-px are about objects; give --objects too.")
    if scheduler is not None and not zarr:
        raise typer.BadParameter("--scheduler writes OME-Zarr only; give --zarr too.")
    written: dict[str, list[str]] = {}
    failed: dict[str, str] = {}
    wanted: dict[str, Any] = {"objects": objects, "split": split, "min_px": min_px}
    with (
        opened_project(project) as opened,
        Session(opened, device=device) as session,
        progress_bar() as bar,
        _cluster(scheduler) as predict_there,
    ):
        folder = out or opened.prediction_dir
        jobs = prediction_jobs(opened, images)

        def predicted(name: str) -> list[Path]:
            store = folder / f"{result_name(name, opened.images)}.ome.zarr"
            if predict_there is not None:
                tell_share = functools.partial(_tell_share, bar, task)
                return [predict_there(opened, name, store, **wanted, device=device, on_progress=tell_share)]
            if zarr:
                return [session.predict_to(name, store, **wanted)]
            first = [write_probabilities(session, name, folder)] if probabilities else []
            return [*session.save_results(name, folder, **wanted), *first]

        task = bar.add_task("Predicting", total=len(jobs))
        follow(session, bar, task)
        for name, file in jobs.items():
            try:
                with member(opened, name, file):
                    _ = opened.images[name].source  # one that is gone is told at once
                    if file is not None:
                        check_result_of(results_of(folder, result_name(name, opened.images)), file)
                    written[name] = [str(made) for made in predicted(name)]
            except WeaksegError as error:
                if str(error) not in failed.values():
                    warn(str(error))
                failed[name] = str(error)
            bar.advance(task)
    if written or as_json:
        tell(written, as_json, "\n".join(file for files in written.values() for file in files))
    if failed:
        raise ImageError(
            f"{len(failed)} of {len(jobs)} images are not predicted: {', '.join(failed)}.",
            f"What is wrong is told above{'; the others are done' if written else ''}.",
        )


@app.command()
@guarded
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
    with opened_project(project) as opened, Session(opened, device=device) as session:
        class_id = None if as_class is None else opened.classes.id_of(as_class)
        pairs = masks_of(opened, masks) if image is None else {image: masks}
        if class_id is None:
            every = (read_labels(file, named(opened, name), opened.ndim) for name, file in pairs.items())
            check_named(every, opened.classes, name=masks.name)
        result = {}
        for name, file in pairs.items():
            values = read_labels(file, named(opened, name), opened.ndim)
            background = int(zero is Zero.BACKGROUND)
            ids = as_classes(values, opened.classes, name=file.name, as_class=class_id, zero=background)
            result[name] = {c: asdict(s) for c, s in session.evaluate(name, ids).items()}
    lines = [
        f"{name}: {c}: Dice {_number(s['dice'])}, IoU {_number(s['iou'])}"
        for name, scores in result.items()
        for c, s in scores.items()
    ]
    tell(result, as_json, "\n".join(lines))


@app.command()
@guarded
def suggest(
    project: Folder,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many suggestions.")] = 5,
    query: Annotated[QueryChoice, typer.Option(help="How to choose.")] = QueryChoice.MIXTURE,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Say what to annotate next, and with which kind of mark."""
    with opened_project(project) as opened, Session(opened, device=device, seed=seed) as session:
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
    tell(told, as_json, "\n".join(lines) or "Everything is annotated.")


@app.command()
@guarded
def export(
    project: Folder,
    out: Annotated[Path, typer.Option(help="Folder for the label images.", show_default=False)],
    what: Annotated[What, typer.Option(help="What to write.")] = What.ANNOTATION,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Write the annotation of every image, or where its blobs have grown to: NAME_annotation.tif or NAME_grown.tif.

    Annotation keeps its numbers: 0 is not annotated. Grown blobs have 0 for the background. Predictions: predict.
    """
    written: dict[str, str] = {}
    with opened_project(project) as opened, Session(opened, device=device) as session:
        files = {name: out / f"{result_name(name, opened.images)}_{what.value}.tif" for name in opened.images}
        check_replaceable(files.values(), opened.images.values())
        for name, image in opened.images.items():
            if what is What.ANNOTATION:
                labels = np.asarray(image.annotations.labels[...], np.uint8)
            else:
                labels = without_background(session.grown(name))
            written[name] = str(write_image(files[name], labels, image.label_axes, image))
    tell(written, as_json, "\n".join(written.values()))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


@contextmanager
def _cluster(scheduler: str | None) -> Iterator[Callable[..., Path] | None]:
    """Give what predicts on the workers of a scheduler, if there is one."""
    if scheduler is None:
        yield None
        return
    from napari_weakseg.cluster import connected, predict_on

    with connected(scheduler) as client:
        yield functools.partial(predict_on, client)


def _tell_share(bar: Progress, task: TaskID, doing: str, share: float) -> None:
    bar.update(task, description=f"{doing}: {100 * share:.0f} %")

"""Commands that make a project and put images and annotation into it."""

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from napari_weakseg.cli.files import image_files
from napari_weakseg.cli.info import as_text, describe
from napari_weakseg.cli.masks import Labels, as_classes, beside, check_named, numbered_beside, pixels_of, read_labels
from napari_weakseg.cli.shell import (
    AsClass,
    Folder,
    Json,
    Zero,
    app,
    guarded,
    named,
    opened_project,
    progress_bar,
    tell,
    warn,
)
from napari_weakseg.core.annotations import Coverage, Trust
from napari_weakseg.core.checks import check_object_ids
from napari_weakseg.core.config import MOST_NEIGHBOURS, TrainConfig
from napari_weakseg.core.errors import ImageError
from napari_weakseg.core.merging import merge
from napari_weakseg.core.moved import find_moved
from napari_weakseg.core.project import Project
from napari_weakseg.core.project_image import ProjectImage
from napari_weakseg.core.regions import whole


class CoverageChoice(StrEnum):
    """How complete marks are."""

    SOME = "some"
    ALL_OBJECTS = "all objects"
    EXACT = "exact"


class TrustChoice(StrEnum):
    """How far a label image is to be trusted."""

    SURE = "sure"
    ROUGH = "rough"
    IMPORTED = "imported"
    MACHINE = "machine"


@app.command()
@guarded
def new(
    project: Folder,
    classes: Annotated[str, typer.Option(help="Names, separated by commas; the background comes first.")],
    ndim: Annotated[int, typer.Option(min=2, max=3, help="2 for planes, 3 for volumes.")] = 2,
    neighbours: Annotated[
        int,
        typer.Option(
            min=0, max=MOST_NEIGHBOURS, help="Planes above and below that are seen beside each, with --ndim 2."
        ),
    ] = 0,
) -> None:
    """Make a project."""
    if ndim == 3 and neighbours:
        raise typer.BadParameter("Volumes are seen whole, their planes need no neighbours; leave --neighbours out.")
    names = [name.strip() for name in classes.split(",") if name.strip()]
    config = TrainConfig(neighbours=neighbours)
    with Project.create(project, classes=names, ndim=ndim, config=config) as made:
        typer.echo(f"Made “{made.name}” with the classes {', '.join(made.classes.names)}.")


@app.command()
@guarded
def add(
    project: Folder,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.", show_default=False)],
    axes: Annotated[str | None, typer.Option(help="Letters of TZCYX, S = colour, e.g. ZCYX.")] = None,
) -> None:
    """Add images to a project; the files stay where they are. Those that it has already are left out."""
    with opened_project(project) as opened:
        there = {image.path.resolve(): name for name, image in opened.images.items()}
        for path in image_files(images):
            if path.resolve() in there:
                warn(f"“{path}” is in the project already, as “{there[path.resolve()]}”.")
                continue
            image = opened.add_image(path, axes=axes)
            there[path.resolve()] = image.name
            typer.echo(f"{image.name}: {' × '.join(map(str, image.source.shape))} ({image.source.axes})")


@app.command()
@guarded
def relink(
    project: Folder,
    folder: Annotated[Path, typer.Argument(help="Folder to look in, with all inside it.", show_default=False)],
) -> None:
    """Find images that were moved: those of the project whose files are missing, by name and contents."""
    with opened_project(project) as opened:
        found = find_moved(opened, folder)
        for name in found:
            typer.echo(f"{name}: {opened.images[name].path.resolve()}")
        if opened.missing:
            raise ImageError(
                f"{len(opened.missing)} images are still missing: {', '.join(opened.missing)}.",
                "Look in another folder, or put their files back.",
            )


@app.command("merge")
@guarded
def merge_projects(
    project: Annotated[Path, typer.Argument(metavar="NEW", help="Folder of the new project.", show_default=False)],
    others: Annotated[list[Path], typer.Argument(metavar="PROJECT...", help="Projects.", show_default=False)],
) -> None:
    """Make one project of several; classes of the same name are joined, the others stay as they are.

    What is background in one may be a class of another, so it is only taken over where nothing speaks against it. The
    first class of each has to be its background. A file that is in several projects becomes an image of each.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(opened_project(path)) for path in others]
        with progress_bar() as bar:
            task = bar.add_task("Joining.", total=sum(len(one.images) for one in opened))
            taken = merge(project, opened, on_image=lambda name: bar.update(task, advance=1, description=f"“{name}”"))
        made = stack.enter_context(taken)
        for note in made.notes:
            warn(note)
        typer.echo(f"Made “{made.name}”: {len(made.images)} images, classes {', '.join(made.classes.names)}.")


@app.command()
@guarded
def annotate(
    project: Folder,
    image: Annotated[str, typer.Argument(help="Name of the image in the project.", show_default=False)],
    labels: Annotated[Path, typer.Argument(help="A label image of the same size.", show_default=False)],
    coverage: Annotated[CoverageChoice, typer.Option(help="How complete the marks are.")] = CoverageChoice.SOME,
    as_class: AsClass = None,
    objects: Annotated[bool, typer.Option("--objects", help="The numbers tell objects apart.")] = False,
    zero: Annotated[
        Zero | None,
        typer.Option(
            help="What 0 stands for; if left out, background where the coverage of all classes is exact, else unknown."
        ),
    ] = None,
    trust: Annotated[
        TrustChoice, typer.Option(help="Whether the labels are right, or a mask that may be wrong, and of what kind.")
    ] = TrustChoice.SURE,
    replace: Annotated[bool, typer.Option("--replace", help="With --as-class: paint over other classes.")] = False,
) -> None:
    """Take a label image as annotation: instead of what is painted or, with --as-class, beside it.

    With --as-class, only that class changes, also its coverage alone, and what is 0 stays as it is. So masks of one
    class each can be given one after another. Where the coverage is exact, or with --trust, earlier paint of that class
    goes. Pixels that are painted as another class are refused unless --replace is given.

    With --objects, the objects get higher numbers where an earlier one that stays has one of theirs.
    """
    with opened_project(project) as opened:
        target = named(opened, image)
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
        background = zero is Zero.BACKGROUND or (zero is None and exact and class_id is None)
        said = new = as_classes(values, table, name=labels.name, as_class=class_id, zero=int(background))
        if class_id is None:
            check_named([values], table, name=labels.name)
        else:
            only = class_id if exact or trust is not TrustChoice.SURE else None
            new = beside(_painted(target, trust.value), said, table, only=only, replace=replace, name=labels.name)
        if objects:
            check_object_ids(values, whole(values.shape), name=image)
            values = numbered_beside(np.asarray(target.annotations.objects[...]), values, new == class_id)
            check_object_ids(values, whole(values.shape), name=image)
        target.paint(new, trust=trust.value)
        told = f"{int((said > 0).sum())} pixels", f"({pixels_of(said, table)})"
        if trust is not TrustChoice.SURE:
            typer.echo(f"{image}: {told[0]} claimed, {trust.value} {told[1]}.")
            return
        if objects and as_class is not None:
            target.paint_objects(as_class, values)
        kind: Coverage = coverage.value
        target.coverage(class_id, kind)
        typer.echo(f"{image}: {told[0]} annotated, {kind} {told[1]}.")


def _painted(image: ProjectImage, trust: Trust) -> Labels:
    """Class ids that are painted, or claimed by the mask of another trust."""
    said = image.annotations
    labels = said.labels if trust == "sure" else said.claims.get(trust)
    return np.zeros(image.label_shape, np.uint8) if labels is None else np.asarray(labels[...])


@app.command()
@guarded
def info(project: Folder, as_json: Json = False) -> None:
    """Tell what a project holds."""
    with Project.open(project) as opened:  # its notes are part of what is told
        described = describe(opened)
    tell(described, as_json, as_text(described))

"""Commands that make a project and put images and annotation into it."""

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from napari_weakseg.cli.files import as_classes, image_files, read_labels
from napari_weakseg.cli.info import as_text, describe
from napari_weakseg.cli.shell import AsClass, Folder, Json, Zero, app, guarded, named, tell
from napari_weakseg.core.annotations import Coverage
from napari_weakseg.core.merging import merge
from napari_weakseg.core.project import Project


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
) -> None:
    """Make a project."""
    names = [name.strip() for name in classes.split(",") if name.strip()]
    with Project.create(project, classes=names, ndim=ndim) as made:
        typer.echo(f"Made “{made.name}” with the classes {', '.join(made.classes.names)}.")


@app.command()
@guarded
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
@guarded
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
        typer.Option(help="What 0 stands for; background where the coverage is exact, else unknown."),
    ] = None,
    trust: Annotated[
        TrustChoice, typer.Option(help="Whether the labels are right, or a mask that may be wrong, and of what kind.")
    ] = TrustChoice.SURE,
) -> None:
    """Take a label image as annotation."""
    with Project.open(project) as opened:
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


@app.command()
@guarded
def info(project: Folder, as_json: Json = False) -> None:
    """Tell what a project holds."""
    with Project.open(project) as opened:
        described = describe(opened)
    tell(described, as_json, as_text(described))

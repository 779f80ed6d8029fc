"""Commands that learn: from a project, on one device or several, and the demonstration."""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_weakseg.cli.shell import (
    Device,
    Folder,
    Json,
    Seed,
    app,
    follow,
    guarded,
    opened_project,
    progress_bar,
    tell,
)
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.project import Project
from napari_weakseg.engine import factory, messages
from napari_weakseg.session import Session

if TYPE_CHECKING:
    from napari_weakseg.engine.peers import Peers

DEFAULT_SECONDS = 60.0


class PresetChoice(StrEnum):
    """Published methods."""

    PARTIAL_MASKS = "partial-masks"
    EVERY_ANNOTATION_COUNTS = "every-annotation-counts"
    PRESENCE_MASKING = "presence-masking"
    HYBRID_SUPERVISION = "hybrid-supervision"
    TAGS_AND_MASKS = "tags-and-masks"


@app.command()
@guarded
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
            make = factory.trainer_factory(opened, config, device=device, seed=seed, threads=threads, peers=peers)
            factory.follow(peers, make())
        peers.end()
        return
    with (
        opened_project(project) as opened,
        Session(opened, device=device, seed=seed, threads=threads, config=config, peers=peers) as session,
        progress_bar() as bar,
    ):
        task = bar.add_task("Getting ready.", total=seconds if seconds is not None else steps)
        first: list[int] = []
        last: list[messages.Progress] = []

        def on_progress(event: messages.Progress) -> None:
            last[:] = [event]
            first[:] = first or [event.step]
            done = event.seconds if seconds is not None else event.step - first[0]
            bar.update(task, completed=done, description=event.message)

        follow(session, bar, task)
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
    tell(value, as_json, f"{status.step} steps in all, {status.seconds:.0f} s.")


def _preset(choice: PresetChoice | None) -> TrainConfig | None:
    return None if choice is None else TrainConfig.preset(choice.value)


def _peers(device: str) -> "Peers | None":
    """Find the other processes where torchrun has started several; torch is not imported otherwise."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    from napari_weakseg.engine.peers import Peers

    return Peers.of_torchrun(device)


@app.command()
@guarded
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
        tell(report, True, "")

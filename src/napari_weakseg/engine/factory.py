"""Ties the engine to a project. torch is imported when a trainer is made: in the engine thread."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.project import Project
from napari_weakseg.engine.checkpoints import Checkpoints
from napari_weakseg.engine.progress import MarkCounter

if TYPE_CHECKING:
    from napari_weakseg.engine.peers import Peers
    from napari_weakseg.engine.trainer import Trainer

#: Settings without which saved weights do not fit the network.
NETWORK_SETTINGS = ("width", "neighbours")


def trainer_factory(
    project: Project,
    config: TrainConfig | None,
    *,
    device: str,
    seed: int,
    threads: int | None,
    peers: "Peers | None" = None,
) -> "Callable[[], Trainer]":
    """Make a function that makes trainers, with the settings that hold when it is called."""

    def make() -> "Trainer":
        import torch

        from napari_weakseg.engine.trainer import Trainer

        if threads is not None:
            torch.set_num_threads(max(1, threads))
        return Trainer(project, config or project.config, device=device, seed=seed, peers=peers)

    return make


def follow(peers: "Peers", trainer: "Trainer") -> int:
    """Train along with the process that leads until it ends; returns the number of steps made."""
    for _ in trainer.prepare():
        pass
    made = 0
    while True:
        on, share = peers.hear()
        if not on:
            return made
        if share:
            trainer.agree()
        trainer.step()
        made += 1


def checkpoints_of(project: Project, config: TrainConfig | None) -> Checkpoints:
    """Find the saved states of a project, of use while classes, axes, channels and network stay the same."""

    def identity() -> Mapping[str, object]:
        settings = (config or project.config).model_dump(mode="json")
        channels = next((image.n_channels for image in project.images.values()), 0)
        return {
            "classes": list(project.class_keys),
            "ndim": project.ndim,
            "channels": channels,
            "network": {name: settings[name] for name in NETWORK_SETTINGS},
        }

    return Checkpoints(project.checkpoint_dir, identity)


def mark_counter(project: Project) -> MarkCounter:
    """Count the marks of a project."""
    return MarkCounter(lambda: project.images, project.ndim)

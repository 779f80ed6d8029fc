"""Saved states of training on disk: whole or not at all, the latest few."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from napari_weakseg.core.storage import storage_errors
from napari_weakseg.engine.protocol import TrainerProtocol

#: Saved states kept.
KEEP = 3
_RECORD = "saved.json"


class Checkpoints:
    """The folder ``checkpoints`` of a project.

    Parameters
    ----------
    folder : Path
        Holds one folder a saved state, named by its step.
    identity : callable
        What a saved state must have been made for to be of use: classes, channels, network. JSON values.

    Notes
    -----
    A state is written under a temporary name and renamed, so a folder with a step for a name is complete.
    """

    def __init__(self, folder: Path, identity: Callable[[], Mapping[str, object]]) -> None:
        self._folder = folder
        self._identity = identity

    def save(self, trainer: TrainerProtocol) -> Path:
        """Save the state of a trainer and drop the oldest.

        Raises
        ------
        StorageError
            Where the disk refuses.
        """
        target = self._folder / f"{trainer.steps:08d}"
        part = self._folder / f".{target.name}.{os.getpid()}.part"
        with storage_errors(target):
            self._folder.mkdir(parents=True, exist_ok=True)
            for left in self._folder.glob(".*.part"):  # of a process that was killed while saving
                shutil.rmtree(left, ignore_errors=True)
            try:
                part.mkdir()
                trainer.save(part)
                number = max((n for n, _, _ in self._all()), default=0) + 1
                record = {"number": number, "identity": self._identity()}
                (part / _RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")
                _replace_folder(part, target)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        for _, _, old in self._all()[KEEP:]:
            shutil.rmtree(old, ignore_errors=True)
        return target

    def usable(self) -> list[Path]:
        """List the saved states that fit the project as it is now, newest first."""
        wanted = json.loads(json.dumps(self._identity()))
        return [path for _, identity, path in self._all() if identity == wanted]

    def _all(self) -> list[tuple[int, object, Path]]:
        """Complete states with their number and identity, newest first."""
        found: list[tuple[int, object, Path]] = []
        for path in self._folder.glob("[0-9]*"):
            try:
                record = json.loads((path / _RECORD).read_text(encoding="utf-8"))
                found.append((int(record["number"]), record["identity"], path))
            except (OSError, ValueError, KeyError, TypeError):
                continue  # not one of ours, or damaged: of no use either way
        return sorted(found, key=lambda entry: entry[0], reverse=True)


def _replace_folder(part: Path, target: Path) -> None:
    """Rename `part` to `target`; a folder already there makes way first."""
    if target.exists():
        aside = part.with_name(f".{target.name}.old.part")
        shutil.rmtree(aside, ignore_errors=True)
        target.rename(aside)
        part.rename(target)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        part.rename(target)

"""One project, one window: who may write, and what those are told who may not."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_weakseg import Project
from napari_weakseg.core.errors import ProjectError, ProjectLocked
from napari_weakseg.core.lock import ProjectLock


def test_whoever_comes_second_is_told_who_was_first_and_which_file_to_delete(project: Project) -> None:
    lock = project.path / "project.lock"
    mine = json.loads(lock.read_text())
    for holder, who in (
        (mine, "in this program"),
        ({**mine, "pid": os.getppid()}, rf"in another window or program \(process {os.getppid()}\)"),
        ({**mine, "host": "microscope-7"}, r"on another computer \(microscope-7\)"),
        ({}, r"in another window or program\."),
    ):
        lock.write_text(json.dumps(holder))
        with pytest.raises(ProjectLocked, match=rf"already open {who}.*close it there first.*delete the file “.*lock”"):
            Project.open(project.path)


def test_what_a_crash_left_behind_is_taken_over(tmp_path: Path) -> None:
    """Whatever it names: on some systems nothing tells a process from a later one of the same id."""
    Project.create(tmp_path / "p", ["background", "nucleus"]).close()
    lock = tmp_path / "p" / "project.lock"
    for left in (json.dumps({"pid": os.getppid(), "host": socket.gethostname()}), '{"pid": 1', ""):
        lock.write_text(left)
        Project.open(tmp_path / "p").close()
        assert not lock.exists()
    lock.write_text(json.dumps({"pid": 1, "host": "microscope-7"}))  # a network disk may not tell what that one does
    with pytest.raises(ProjectLocked, match=r"another computer \(microscope-7\).*delete the file"):
        Project.open(tmp_path / "p")
    lock.unlink()
    Project.open(tmp_path / "p").close()


def test_of_many_that_start_at_once_one_gets_the_project(tmp_path: Path) -> None:
    (tmp_path / "project.lock").write_text('{"pid": 1')

    def start(_: int) -> ProjectLock | None:
        try:
            return ProjectLock(tmp_path)
        except ProjectLocked:
            return None

    with ThreadPoolExecutor(16) as pool:
        for _ in range(30):
            (holder,) = [lock for lock in pool.map(start, range(16)) if lock is not None]
            assert holder.holds()
            holder.release()


@pytest.mark.skipif(sys.platform == "win32", reason="all disks know locks there")
def test_on_a_disk_without_locks_a_file_that_is_there_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    project = Project.create(tmp_path / "p", ["background", "nucleus"])
    with pytest.raises(ProjectLocked, match=r"already open in this program.*delete the file"):
        Project.open(tmp_path / "p")
    project.close()
    Project.open(tmp_path / "p").close()


def test_the_lock_of_a_process_goes_with_it(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", ["background", "nucleus"]):
        pass
    hold = f"from napari_weakseg import Project; p = Project.open({str(tmp_path / 'p')!r})"
    subprocess.run([sys.executable, "-c", hold], check=True)  # ends without closing
    assert not (tmp_path / "p" / "project.lock").exists()
    subprocess.run([sys.executable, "-c", f"{hold}; import os; os.abort()"], check=False)
    assert (tmp_path / "p" / "project.lock").exists()
    Project.open(tmp_path / "p").close()
    assert list((tmp_path / "p" / "annotations").iterdir()) == []


def test_a_closed_project_writes_nothing(project: Project) -> None:
    image = project.images["field"]
    project.close()
    with Project.open(project.path) as other:
        for change in (
            lambda: image.paint(np.full((3, 3), 2), start=(0, 0)),
            lambda: image.tag("nucleus", True),
            lambda: project.set_classes(project.classes.added("yeast")),
            lambda: project.append_history({"step": 1}),
            project.flush,
        ):
            with pytest.raises(ProjectError, match=r"was closed\. Open it again"):
                change()
        _ = image.source.statistics  # looking is allowed, and what was measured is forgotten
        assert other.images["field"].annotations.painted_counts() == {}
    project.close()

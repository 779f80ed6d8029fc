"""Prediction on a dask cluster: two workers give what one process gives, to the pixel."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster
from typer.testing import CliRunner

from napari_weakseg.cli import app
from napari_weakseg.cluster import connected, predict_on
from napari_weakseg.core.errors import ProjectError, TrainingError
from napari_weakseg.core.project import Project
from napari_weakseg.engine.stored_objects import TABLE
from napari_weakseg.session import Session

SIDE = 2600  # several tiles each way

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # what goes on inside dask and its event loop is not ours
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two workers, each a process of its own."""
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as made:
        yield made


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of an image of two frames, trained for a few steps."""
    folder = tmp_path_factory.mktemp("cluster")
    y, x = np.mgrid[:SIDE, :SIDE]
    dots = ((y % 60 - 30) ** 2 + (x % 60 - 30) ** 2 < 200).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.3, (2, SIDE, SIDE)).astype(np.float32)
    np.save(folder / "large.npy", dots + noise)
    with Project.create(folder / "large.weakseg", ("background", "cell")) as project:
        labels = np.zeros((1, 180, 180), np.uint8)
        labels[0, 25:35, 25:35], labels[0, 85:95, 85:95], labels[0, :6] = 2, 2, 1
        project.add_image(folder / "large.npy", axes="TYX").paint(labels, start=(0, 0, 0))
        with Session(project, device="cpu", threads=1) as session:
            session.train(steps=8)
    return folder / "large.weakseg"


def stored(path: Path) -> np.ndarray:
    return np.asarray(zarr.open_array(path / "0", mode="r")[:])


@pytest.fixture(scope="module")
def store_alone(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process predicts, with its objects."""
    with Project.open(trained) as project, Session(project, device="cpu", threads=1) as session:
        return session.predict_to("large", tmp_path_factory.mktemp("alone") / "large.ome.zarr", objects=True)


@pytest.fixture(scope="module")
def alone(store_alone: Path) -> np.ndarray:
    return stored(store_alone)


def test_two_workers_are_one_process(cluster: LocalCluster, trained: Path, store_alone: Path, tmp_path: Path) -> None:
    told: dict[str, list[float]] = {}
    settings = {"objects": True, "device": "cpu", "threads": 1}
    with Project.open(trained) as project, Client(cluster) as client:
        path = predict_on(
            client,
            project,
            "large",
            tmp_path / "out",
            on_progress=lambda doing, share: told.setdefault(doing, []).append(share),
            **settings,
        )
    assert set(np.unique(stored(store_alone))) == {1, 2}
    assert list(told) == ["Predicting “large”", "Telling the objects of “large” apart"]
    for shares in told.values():
        assert shares == sorted(shares)
        assert shares[-1] == 1
    assert len((path / TABLE).read_text().splitlines()) > 100
    for name in ("", "certainty", "inwardness", "labels/objects"):
        np.testing.assert_array_equal(stored(path / name), stored(store_alone / name))
    assert (path / TABLE).read_bytes() == (store_alone / TABLE).read_bytes()


def test_goes_on_with_what_one_process_began(
    cluster: LocalCluster, trained: Path, alone: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with Project.open(trained) as project:
        with Session(project, device="cpu", threads=1) as session:

            @session.state_changed.connect
            def stop(event: object) -> None:
                if (out / "done.txt").exists():
                    session.stop()

            with pytest.raises(TrainingError, match="stopped"):
                session.predict_to("large", out)
        before = (out / "done.txt").read_text().splitlines()
        assert (stored(out) == 0).any()
        with Client(cluster) as client:
            predict_on(client, project, "large", out, device="cpu", threads=1)
    lines = (out / "done.txt").read_text().splitlines()
    assert lines[: len(before)] == before
    assert len(set(lines)) == len(lines)
    np.testing.assert_array_equal(stored(out), alone)


def test_the_command_takes_a_scheduler(cluster: LocalCluster, trained: Path, tmp_path: Path) -> None:
    ask = ["predict", str(trained), "--zarr", "--out", str(tmp_path), "--device", "cpu"]
    result = CliRunner().invoke(app, [*ask, "--scheduler", cluster.scheduler_address])
    assert result.exit_code == 0, result.output
    assert stored(tmp_path / "large.ome.zarr").all()
    result = CliRunner().invoke(app, [*ask[:2], "--scheduler", cluster.scheduler_address])
    assert result.exit_code == 2


def test_files_that_are_no_part_of_the_project_one_after_another(
    cluster: LocalCluster, trained: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    files = [tmp_path / "one.npy", tmp_path / "two.npy"]
    for file in files:
        np.save(file, rng.random((64, 64)).astype(np.float32))
    ask = ["predict", str(trained), *map(str, files), "--zarr", "--out", str(tmp_path), "--device", "cpu"]
    result = CliRunner().invoke(app, [*ask, "--scheduler", cluster.scheduler_address])
    assert result.exit_code == 0, result.output
    assert all(stored(tmp_path / f"{file.stem}.ome.zarr").all() for file in files)


def test_troubles_are_told(
    cluster: LocalCluster, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_weakseg.cluster._WAIT", "1s")
    with pytest.raises(TrainingError, match="No dask scheduler answers"):
        connected("tcp://127.0.0.1:9")
    with Client(cluster) as client, Project.open(trained) as project:
        (tmp_path / "taken").mkdir()
        (tmp_path / "taken" / "thesis.txt").write_text("mine")
        with pytest.raises(ProjectError, match="in the way"):
            predict_on(client, project, "large", tmp_path / "taken", device="cpu", threads=1)
        with pytest.raises(ProjectError, match="no image “other”"):
            predict_on(client, project, "other", tmp_path / "out")
    with Client(cluster) as client, Project.create(tmp_path / "new.weakseg", ("background", "cell")) as empty:
        empty.add_image(np.zeros((9, 9), np.float32), name="a")
        with pytest.raises(TrainingError, match="Nothing has been learned"):
            predict_on(client, empty, "a", tmp_path / "out")


def test_what_is_opened_to_read_cannot_be_changed(trained: Path) -> None:
    with Project.open(trained) as project, Project.open(trained, read_only=True) as beside:
        before = (trained / "project.json").read_bytes()
        with pytest.raises(ProjectError, match="reading only"):
            beside.images["large"].paint(np.ones((1, 4, 4), np.uint8), start=(0, 0, 0))
        with pytest.raises(ProjectError, match="reading only"):
            beside.images["large"].tag("cell", True)
        with pytest.raises(ProjectError, match="reading only"):
            beside.remove_image("large")
        assert list(project.images) == ["large"]
        assert (trained / "project.json").read_bytes() == before

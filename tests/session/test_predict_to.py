"""Predictions that go to disk piece by piece: as the whole, stopped, killed and gone on with."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from typer.testing import CliRunner

from napari_weakseg.cli import app
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.errors import TrainingError
from napari_weakseg.core.prediction_store import PredictionStore
from napari_weakseg.core.project import Project
from napari_weakseg.core.tables import object_table
from napari_weakseg.engine.object_tiles import WINDOW_PX
from napari_weakseg.engine.stored_objects import TABLE, find_stored_objects
from napari_weakseg.session import Session

SIDE = 1800  # several tiles each way


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A project of one large image with a few dabs of paint, trained for some steps."""
    rng = np.random.default_rng(0)
    pixels = rng.normal(0, 0.1, (SIDE, SIDE)).astype(np.float32)
    y, x = np.mgrid[:SIDE, :SIDE]
    pixels += ((y % 60 - 30) ** 2 + (x % 60 - 30) ** 2 < 200).astype(np.float32)
    np.save(tmp_path / "large.npy", pixels)
    path = tmp_path / "large.weakseg"
    with Project.create(path, ("background", "cell")) as project:
        image = project.add_image(tmp_path / "large.npy", axes="YX")
        labels = np.zeros((180, 180), np.uint8)
        labels[25:35, 25:35], labels[85:95, 85:95], labels[0:6] = 2, 2, 1
        image.paint(labels, start=(0, 0))
        with Session(project, device="cpu", config=TrainConfig(width=8)) as session:
            session.train(steps=3)
    return path


def stored(path: Path) -> np.ndarray:
    return np.asarray(zarr.open_array(path / "0", mode="r")[:])


def test_on_disk_is_the_same_as_in_memory(trained: Path, tmp_path: Path) -> None:
    with Project.open(trained) as project, Session(project, device="cpu", config=TrainConfig(width=8)) as session:
        whole = session.predict("large")
        assert np.array_equal(stored(session.predict_to("large", tmp_path / "out.ome.zarr")), whole)
    assert set(np.unique(whole)) <= {1, 2}


def test_a_stopped_prediction_goes_on_where_it_was(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.ome.zarr"
    with Project.open(trained) as project, Session(project, device="cpu", config=TrainConfig(width=8)) as session:
        stops = iter([True])

        @session.state_changed.connect
        def stop(event: object) -> None:
            if (out / "done.txt").exists() and next(stops, False):
                session.stop()

        with pytest.raises(TrainingError, match="stopped"):
            session.predict_to("large", out)
        before = (out / "done.txt").read_text().splitlines()
        assert len(before) > 0
        assert (stored(out) == 0).any()
        session.predict_to("large", out)
        lines = (out / "done.txt").read_text().splitlines()
        assert lines[: len(before)] == before
        assert len(set(lines)) == len(lines)
        assert np.array_equal(stored(out), session.predict("large"))


def same_parts(a: np.ndarray, b: np.ndarray) -> bool:
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1] and np.array_equal(a > 0, b > 0)


def test_objects_on_disk_are_those_in_memory(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WINDOW_PX, 2, (700, 100))  # many windows in this image too
    out = tmp_path / "out.ome.zarr"
    with Project.open(trained) as project, Session(project, device="cpu", config=TrainConfig(width=8)) as session:
        ids, classes = session.find_objects("large", min_px=20)
        session.predict_to("large", out, objects=True, min_px=20)
        on_disk = np.asarray(zarr.open_array(out / "labels" / "objects" / "0", mode="r")[:])
        assert ids.max() > 100
        assert same_parts(on_disk, ids)
        expected = object_table(on_disk, classes, project.classes.names, axes="YX", pixel_size={})
    with (out / TABLE).open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{key: str(value) for key, value in row.items()} for row in expected]
    assert json.loads((out / "weakseg.json").read_text())["objects"] == "complete"


def test_objects_that_were_stopped_are_found_anew(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.ome.zarr"
    with Project.open(trained) as project, Session(project, device="cpu", config=TrainConfig(width=8)) as session:
        session.predict_to("large", out)
        pieces = (out / "done.txt").read_text()
        with monkeypatch.context() as patched:
            patched.setattr(PredictionStore, "write_objects", lambda *_: session.stop())
            with pytest.raises(TrainingError, match="stopped"):
                session.predict_to("large", out, objects=True)
        assert json.loads((out / "weakseg.json").read_text())["objects"] == "not complete"
        session.predict_to("large", out, objects=True)
        assert (out / "done.txt").read_text() == pieces
        on_disk = np.asarray(zarr.open_array(out / "labels" / "objects" / "0", mode="r")[:])
        assert same_parts(on_disk, session.predict("large", objects=True))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise here")
def test_a_killed_prediction_goes_on_and_is_the_same(trained: Path, tmp_path: Path) -> None:
    script = "; ".join(
        (
            "import sys",
            "from napari_weakseg.core.config import TrainConfig",
            "from napari_weakseg.core.project import Project",
            "from napari_weakseg.session import Session",
            "session = Session(Project.open(sys.argv[1]), device='cpu', config=TrainConfig(width=8))",
            "session.predict_to('large', sys.argv[2])",
        )
    )
    out = tmp_path / "out.ome.zarr"
    child = subprocess.Popen([sys.executable, "-c", script, str(trained), str(out)])
    done = out / "done.txt"
    until = time.monotonic() + 120
    while not (done.exists() and done.read_text().count("\n") >= 2):
        assert child.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with Project.open(trained) as project, Session(project, device="cpu", config=TrainConfig(width=8)) as session:
        pieces = done.read_text().count("\n")
        session.predict_to("large", out)
        assert done.read_text().count("\n") > pieces
        assert np.array_equal(stored(out), session.predict("large"))


def test_the_command_writes_zarr_and_says_what_is_in_the_way(tmp_path: Path) -> None:
    with Project.create(tmp_path / "s.weakseg", ("background", "cell")) as project:
        labels = np.zeros((64, 64), np.uint8)
        labels[20:30, 20:30], labels[50:] = 2, 1
        project.add_image(np.random.default_rng(0).random((64, 64)), name="a", axes="YX").paint(labels)
        with Session(project, device="cpu") as session:
            session.train(steps=2)
    ask = ["predict", str(tmp_path / "s.weakseg"), "--zarr", "--out", str(tmp_path / "out"), "--device", "cpu"]
    result = CliRunner().invoke(app, [*ask, "--json"])
    assert result.exit_code == 0, result.output
    assert stored(Path(json.loads(result.stdout)["a"][0])).all()
    (tmp_path / "out" / "a.ome.zarr" / "weakseg.json").write_text('{"image": "another"}')
    result = CliRunner().invoke(app, ask)
    assert result.exit_code == 1
    assert "in the way" in result.stderr
    assert CliRunner().invoke(app, [*ask, "--probabilities"]).exit_code == 2
    assert CliRunner().invoke(app, [*ask, "--split", "0.5"]).exit_code == 2


def test_another_image_of_the_same_name_is_not_gone_on_with(trained: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((2, 64, 64)).astype(np.float32)
    for folder, pixels in zip(("a", "b"), images, strict=True):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "same.tif", pixels)
    stores = []
    with Project.open(trained) as project:
        for folder in ("a", "b"):
            image = project.add_image(tmp_path / folder / "same.tif")
            stores.append(PredictionStore(tmp_path / "out", image, 2, "weights"))
            if folder == "a":
                stores[0].write((), (0, 0), *np.ones((3, 64, 64), np.uint8))
                assert PredictionStore(tmp_path / "out", image, 2, "weights").done(()) == {(0, 0)}
            project.remove_image("same")
    assert not stores[1].done(())


def test_objects_of_a_stack_are_numbered_through_and_listed_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.ones((4, 90, 90), np.uint8)
    for frame, n in zip(labels, (3, 0, 5, 4), strict=True):
        for i in range(n):
            frame[15 * i + 3 : 15 * i + 12, 20 + i : 33] = 2
    with Project.create(tmp_path / "stack.weakseg", ("background", "cell")) as project:
        pixels = rng.normal(size=labels.shape).astype(np.float32)
        sizes = {"Z": (2.0, "µm"), "Y": (0.5, "µm"), "X": (0.5, "µm")}
        image = project.add_image(pixels, name="stack", axes="ZYX", pixel_size=sizes)
        store = PredictionStore(tmp_path / "out.ome.zarr", image, 2, "somebody")
        for i, frame in enumerate(labels):
            store.write((i,), (0, 0), frame, *np.full((2, *frame.shape), 99, np.uint8))
        assert list(find_stored_objects(project, image, store, min_px=1))[-1] == 1
        ids = np.asarray(zarr.open_array(store.path / "labels" / "objects" / "0", mode="r")[:])
    with (store.path / TABLE).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["object"]) for row in rows] == list(range(1, 13)) == np.unique(ids[ids > 0]).tolist()
    for row in rows:
        mine = ids == int(row["object"])
        assert int(row["pixels"]) == mine.sum()
        middle = [axis.mean() for axis in np.nonzero(mine)]
        assert [float(row[axis]) for axis in "zyx"] == pytest.approx(middle, abs=0.006)
        assert float(row["area (µm²)"]) == mine.sum() / 4  # planes are images of their own here

"""Predictions on disk: every piece once, gone on with after a kill, never over anything else."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_weakseg.core.errors import ProjectError
from napari_weakseg.core.prediction_store import PredictionStore
from napari_weakseg.core.project import Project
from napari_weakseg.core.project_image import ProjectImage


@pytest.fixture
def image(tmp_path: Path) -> Iterator[ProjectImage]:
    with Project.create(tmp_path / "p.weakseg", ("background", "cell")) as project:
        yield project.add_image(
            np.zeros((2, 40, 60), np.float32), name="a", axes="ZYX", pixel_size={"Y": (0.5, "µm"), "X": (0.5, "µm")}
        )


def labels(value: int, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def test_pieces_are_found_again(tmp_path: Path, image: ProjectImage) -> None:
    store = PredictionStore(tmp_path / "s.ome.zarr", image, 2, "a network")
    store.write((1,), (20, 30), labels(2), labels(90), labels(50))
    store.write((0,), (0, 0), labels(1), labels(90), labels(50))
    again = PredictionStore(tmp_path / "s.ome.zarr", image, 2, "a network")
    assert again.done((1,)) == {(20, 30)}
    assert again.done((0,)) == {(0, 0)}
    assert again.share == pytest.approx(1200 / 4800)
    values = zarr.open_array(tmp_path / "s.ome.zarr" / "0", mode="r")[:]
    assert (values[1, 20:, 30:] == 2).all()
    assert (values[0, :20, :30] == 1).all()
    assert (values > 0).sum() == 1200


def test_it_is_an_ome_zarr_image_with_axes_and_pixel_size(tmp_path: Path, image: ProjectImage) -> None:
    PredictionStore(tmp_path / "s.ome.zarr", image, 2, "a network")
    (multiscale,) = zarr.open_group(tmp_path / "s.ome.zarr", mode="r").attrs["ome"]["multiscales"]
    assert [axis["name"] for axis in multiscale["axes"]] == ["z", "y", "x"]
    assert multiscale["axes"][1]["unit"] == "micrometer"
    assert multiscale["datasets"][0]["coordinateTransformations"][0]["scale"] == [1.0, 0.5, 0.5]


def test_a_line_that_a_kill_cut_off_does_not_count(tmp_path: Path, image: ProjectImage) -> None:
    store = PredictionStore(tmp_path / "s.ome.zarr", image, 2, "a network")
    store.write((0,), (0, 0), labels(1), labels(90), labels(50))
    store.write((0,), (20, 0), labels(1), labels(90), labels(50))
    done = tmp_path / "s.ome.zarr" / "done.txt"
    done.write_bytes(done.read_bytes()[:-3])
    again = PredictionStore(tmp_path / "s.ome.zarr", image, 2, "a network")
    assert again.done((0,)) == {(0, 0)}
    again.write((0,), (20, 0), labels(2), labels(90), labels(50))
    assert PredictionStore(tmp_path / "s.ome.zarr", image, 2, "a network").done((0,)) == {(0, 0), (20, 0)}


def test_what_another_network_said_is_thrown_away(tmp_path: Path, image: ProjectImage) -> None:
    store = PredictionStore(tmp_path / "s.ome.zarr", image, 2, "a network")
    store.write((0,), (0, 0), labels(1), labels(90), labels(50))
    store = PredictionStore(tmp_path / "s.ome.zarr", image, 2, "another")
    assert not store.done((0,))
    assert not zarr.open_array(tmp_path / "s.ome.zarr" / "0", mode="r")[:].any()


def test_a_store_that_a_kill_left_half_made_is_made_anew(
    tmp_path: Path, image: ProjectImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(zarr.Group, "create_array", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            PredictionStore(tmp_path / "s.ome.zarr", image, 2, "a network")
    store = PredictionStore(tmp_path / "s.ome.zarr", image, 2, "a network")
    store.write((0,), (0, 0), labels(1), labels(90), labels(50))
    assert zarr.open_array(tmp_path / "s.ome.zarr" / "0", mode="r")[:].sum() == 600


def test_gives_back_what_was_written(tmp_path: Path, image: ProjectImage) -> None:
    store = PredictionStore(tmp_path / "s.ome.zarr", image, 2, "a network")
    store.write((1,), (20, 30), labels(2), labels(90), labels(50))
    found, certainty, inwardness = store.read((1,), (slice(10, 40), slice(20, 60)))
    np.testing.assert_array_equal(found, np.pad(labels(2), ((10, 0), (10, 0))))
    np.testing.assert_array_equal(certainty, np.pad(labels(90), ((10, 0), (10, 0))))
    np.testing.assert_array_equal(inwardness, np.pad(labels(50), ((10, 0), (10, 0))))


def test_objects_lie_beside_and_go_with_the_prediction(tmp_path: Path, image: ProjectImage) -> None:
    path = tmp_path / "s.ome.zarr"
    store = PredictionStore(path, image, 2, "a network")
    store.begin_objects()
    store.write_objects((1,), (20, 30), np.full((20, 30), 70_000, np.int32))
    assert (store.read_objects((1,), (slice(20, 40), slice(30, 60))) == 70_000).all()
    assert zarr.open_group(path / "labels", mode="r").attrs["ome"]["labels"] == ["objects"]
    assert zarr.open_group(path / "labels" / "objects", mode="r").attrs["ome"]["image-label"]
    store.end_objects()
    PredictionStore(path, image, 2, "a network")
    assert zarr.open_array(path / "labels" / "objects" / "0", mode="r")[:].any()
    store.begin_objects()
    assert not store.read_objects((1,), (slice(20, 40), slice(30, 60))).any()
    PredictionStore(path, image, 2, "another")
    assert not (path / "labels").exists()


def test_nothing_else_is_written_over(tmp_path: Path, image: ProjectImage) -> None:
    folder = tmp_path / "holiday"
    folder.mkdir()
    (folder / "picture.txt").write_text("sea")
    with pytest.raises(ProjectError, match="in the way"):
        PredictionStore(folder, image, 2, "a network")
    assert (folder / "picture.txt").read_text() == "sea"
    with pytest.raises(ProjectError, match="in the way"):
        PredictionStore(folder / "picture.txt", image, 2, "a network")

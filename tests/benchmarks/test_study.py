"""The study on a toy set: every way to learn gets the marks it should, and the page shows what was run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from benchmarks.sets import Judge, Picture, judges_of

from benchmarks import report_study, results, study


class Toy:
    """Bright squares on noise, as an image set has it."""

    name, classes = "toy", ("background", "square")

    def __init__(self, folder: Path) -> None:
        self._pictures: dict[str, Picture] = {}
        rng = np.random.default_rng(0)
        for i in range(6):
            objects = np.zeros((64, 64), np.int32)
            for number, (y, x) in enumerate([(8, 8), (8, 40), (40, 10), (42, 42)], 1):
                objects[y : y + 12, x : x + 12] = number
            path = folder / f"{i}.tif"
            tifffile.imwrite(path, ((objects > 0) + rng.normal(0, 0.2, objects.shape)).astype(np.float32))
            self._pictures[f"{i}"] = Picture(f"{i}", path, (objects > 0).astype(np.uint8) + 1, objects)

    def names(self, split: str) -> list[str]:
        return list(self._pictures)

    def picture(self, name: str) -> Picture:
        return self._pictures[name]

    def judges(self) -> list[Judge]:
        return [judge for picture in self._pictures.values() for judge in judges_of(picture)]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def key(way: str, **changed: Any) -> dict[str, Any]:
    usual = {"way": way, "policy": "mixed", "minutes": 2.0, "seed": 0, "seconds": 1.5, "device": "cpu", "threads": 1}
    return {**usual, "images": 0, "judges": 0, **changed}


@pytest.mark.parametrize("way", ["ours", "forest", "full supervision"])
def test_every_kind_of_way_learns(toy: Toy, way: str) -> None:
    measured = study.learn(toy, key(way), toy.judges())  # type: ignore[arg-type]
    assert measured["median"] > 0.6
    assert 0 < measured["miou"] <= measured["median"]
    assert 0 < measured["ap50"] <= 1
    assert len(measured["dice"]) == 6


def test_marks_are_as_many_as_the_minutes_and_the_rest_is_unmarked(toy: Toy, tmp_path: Path) -> None:
    used = {}
    for minutes in (0.5, 2.0):
        folder = tmp_path / f"{minutes}"
        with study._marked(folder, toy, key("ours", minutes=minutes)) as project:  # type: ignore[arg-type]
            assert len(project.images) == 6
            used[minutes] = [name for name, image in project.images.items() if image.annotations.used_classes()]
    assert set(used[0.5]) < set(used[2.0])


def test_full_supervision_knows_everything(toy: Toy, tmp_path: Path) -> None:
    with study._marked(tmp_path / "p", toy, key("full supervision", images=4)) as project:  # type: ignore[arg-type]
        assert len(project.images) == 4
        for name, image in project.images.items():
            np.testing.assert_array_equal(image.knowledge().certain, toy.picture(name).truth)


def test_the_page_shows_every_run_and_marks_the_best(tmp_path: Path) -> None:
    usual = {"set": "glas_train", "policy": "mixed", "seconds": 30.0, "device": "cpu", "device_name": "CPU"}
    usual |= {"threads": 2, "images": 60, "judges": 20, "revision": "a", "commit": "0123456789"}
    for way, minutes, values in (
        ("ours", 2.0, (0.7, 0.8)),
        ("plain", 2.0, (0.9, 0.62)),
        ("full supervision", 0.0, (0.95,)),
    ):
        for seed, value in enumerate(values):
            line = {**usual, "way": way, "minutes": minutes, "seed": seed, "median": value, "miou": 0.5, "ap50": 0.4}
            results.append(tmp_path / study.FILE, line)
    report_study.write(tmp_path, tmp_path / "study.md")
    page = (tmp_path / "study.md").read_text()
    assert "| ours | 0.750 (0.700–0.800) · 0.500 · 0.400 |" in page
    assert "| plain | **0.760** (0.620–0.900) · 0.500 · 0.400 |" in page
    assert "Full supervision: 0.950 · 0.500 · 0.400." in page
    assert "- 2 min: ours is behind plain (+0.010); 79 % of full supervision." in page
    picture = (tmp_path / "study.svg").read_text()
    assert picture.count("<polyline") == 3
    assert "minutes of human work" in picture
    report_study.write(tmp_path / "none", tmp_path / "study.md")
    assert "Not run yet." in (tmp_path / "study.md").read_text()

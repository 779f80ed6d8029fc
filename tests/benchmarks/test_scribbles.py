"""Scribbles that people drew: each task is learned by itself, from the scribbles of one person."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from benchmarks import scribbles


@pytest.fixture
def small_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tasks of three images, in which three people scribbled at different places."""
    folder = tmp_path / "data" / "medscribble"
    for name in ("images", "masks", *(f"scribbles{n}" for n in (1, 2, 3))):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"{task}_{i}" for task in "ab" for i in range(3)]
    for name in names:
        mask = np.zeros((64, 64), np.uint8)
        mask[16:48, 16:48] = 1
        tifffile.imwrite(folder / "images" / f"{name}.tif", (mask + rng.normal(0, 0.2, mask.shape)).astype(np.float32))
        tifffile.imwrite(folder / "masks" / f"{name}.tif", mask)
        for person in (1, 2, 3):
            drawn = np.full(mask.shape, 255, np.uint8)
            drawn[20 + 6 * person, 20:44], drawn[2 + 3 * person, 4:60] = 1, 0
            tifffile.imwrite(folder / f"scribbles{person}" / f"{name}.tif", drawn)
    table = {"kind": "semantic", "classes": {"0": "background", "1": "object"}}
    (folder / "classes.json").write_text(json.dumps(table))
    split = {"train": [n for n in names if n[-1] != "2"], "test": [n for n in names if n[-1] == "2"]}
    groups = {task.upper(): [n for n in names if n.startswith(task)] for task in "ab"}
    (folder / "split.json").write_text(json.dumps({**split, "groups": groups}))
    monkeypatch.setenv("WEAKSEG_DATA", str(folder.parent))
    monkeypatch.setattr(scribbles, "SCRIBBLED", {"medscribble": scribbles.ImageSet("medscribble", "small tasks")})
    return folder


def key(way: str, **changed: Any) -> dict[str, Any]:
    usual = {"set": "medscribble", "task": "A", "way": way, "seed": 0, "seconds": 1.5, "device": "cpu", "threads": 1}
    return {**usual, "images": 0, "judges": 0, **changed}


def test_a_task_has_images_of_its_own(small_tasks: Path) -> None:
    image_set = scribbles.SCRIBBLED["medscribble"]
    teaching, judges = scribbles._images(image_set, key("ours", task="B"))
    assert (teaching, len(judges)) == (["b_0", "b_1"], 1)
    assert scribbles._images(image_set, key("ours", task="B", images=1))[0] == ["b_0"]


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_each_seed_learns_from_another_person(small_tasks: Path, tmp_path: Path, seed: int) -> None:
    image_set = scribbles.SCRIBBLED["medscribble"]
    with scribbles._project(tmp_path, image_set, ["a_0"], key("ours", seed=seed)) as project:
        painted = project.images["a_0"].knowledge().certain
    assert sorted(set(np.flatnonzero((painted == 2).any(1)))) == [20 + 6 * (seed % 3 + 1)]
    assert (painted == 1).sum() == 56


def test_full_supervision_has_the_exact_masks(small_tasks: Path, tmp_path: Path) -> None:
    image_set = scribbles.SCRIBBLED["medscribble"]
    with scribbles._project(tmp_path, image_set, ["a_0"], key("full supervision")) as project:
        np.testing.assert_array_equal(project.images["a_0"].knowledge().certain, image_set.picture("a_0").truth)


def test_only_who_is_told_knows_that_every_object_is_marked(small_tasks: Path, tmp_path: Path) -> None:
    image_set = scribbles.SCRIBBLED["medscribble"]
    for way, said in (("ours", "some"), (f"ours{scribbles._TOLD}", "all objects")):
        with scribbles._project(tmp_path / way, image_set, ["a_0"], key(way)) as project:
            assert project.images["a_0"].annotations.coverage_of(2) == said


@pytest.mark.parametrize("way", ["ours", "forest", f"plain{scribbles._TOLD}"])
def test_it_learns_and_judges(small_tasks: Path, way: str) -> None:
    assert scribbles._measured(key(way))["median"] > 0.6


def test_the_page_gives_each_task_and_the_middle_of_all(small_tasks: Path) -> None:
    usual = {"set": "medscribble", "seconds": 30.0, "device": "cpu", "threads": 2, "images": 0, "judges": 0}
    usual |= {"seed": 0, "commit": "0123456789"}
    values = {("A", "ours"): 0.8, ("A", "forest"): 0.7, ("B", "ours"): 0.5, ("B", "forest"): 0.9}
    lines = [{**usual, "task": task, "way": way, "median": value} for (task, way), value in values.items()]
    page = scribbles.section(lines)
    assert "| A | **0.800** | – | 0.700 | – | – | – |" in page
    assert "| B | 0.500 | – | **0.900** | – | – | – |" in page
    assert "| **median of 2 tasks** (`medscribble`) | 0.650 | – | 0.800 | – | – | – |" in page


def test_the_page_says_if_nothing_was_measured() -> None:
    assert "Not measured yet." in scribbles.section([])

"""The papers' questions on a toy set: each way gets the marks it should, and the page shows what was run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from benchmarks.papers import QUESTIONS, Turn, Way, answer, exactly, half_wrong, one_class, one_class_for_all
from benchmarks.sets import Judge, Picture, judges_of

from benchmarks import papers, report_papers, rounds
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.project import Project


class Toy:
    """Squares of two kinds on noise, as an image set has them; in a volume they go through all of its planes."""

    classes = ("background", "bright", "dark")
    orientation = "any"

    def __init__(self, folder: Path, shape: tuple[int, ...] = (64, 64)) -> None:
        self.pictures: dict[str, Picture] = {}
        rng = np.random.default_rng(0)
        for i in range(8):
            objects = np.zeros(shape, np.int32)
            for number, (y, x) in enumerate([(8, 8), (8, 40), (40, 10), (42, 42)], 1):
                objects[..., y : y + 12, x : x + 12] = number
            truth = np.where(objects == 0, 1, np.where(objects < 3, 2, 3)).astype(np.uint8)
            path = folder / f"{i}.tif"
            pixels = np.array([0, 0, 1, -1])[truth] + rng.normal(0, 0.2, truth.shape)
            tifffile.imwrite(path, pixels.astype(np.float32))
            self.pictures[f"{i}"] = Picture(f"{i}", path, truth, objects)

    def names(self, split: str) -> list[str]:
        return list(self.pictures)

    def picture(self, name: str) -> Picture:
        return self.pictures[name]

    def judges(self) -> list[Judge]:
        return [judge for picture in self.pictures.values() for judge in judges_of(picture)]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def marked(toy: Toy, tmp_path: Path, mark: Any, place: float, *, name: str = "0") -> Any:
    project = Project.create(tmp_path / "p.weakseg", toy.classes)
    image = project.add_image(toy.picture(name).path, name=name)
    mark(image, toy.picture(name), Turn(place, 3, np.random.default_rng(0)))
    return image


@pytest.mark.parametrize(("name", "asked", "other"), [("0", 2, 3), ("1", 3, 2)])
def test_who_looks_for_one_class_says_nothing_of_the_other(
    toy: Toy, tmp_path: Path, name: str, asked: int, other: int
) -> None:
    truth, known = toy.picture(name).truth, marked(toy, tmp_path, one_class, 0.0, name=name).knowledge()
    np.testing.assert_array_equal(known.certain, np.where(truth == asked, asked, 0))
    assert ((known.allowed[truth != asked] & (1 << asked)) == 0).all()
    assert ((known.allowed[truth != asked] & (1 << other)) != 0).all()


def test_the_naive_way_takes_the_other_class_for_background(toy: Toy, tmp_path: Path) -> None:
    known = marked(toy, tmp_path, one_class_for_all, 0.0).knowledge()
    np.testing.assert_array_equal(known.certain, np.where(toy.picture("0").truth == 2, 2, 1))


def test_only_the_first_tenth_is_exact_beside_rough_masks(toy: Toy, tmp_path: Path) -> None:
    image = marked(toy, tmp_path, half_wrong, 0.5)
    assert not image.knowledge().known.any()
    rough = np.asarray(image.annotations.claims["rough"][...])
    assert 0 < (rough == 2).sum() < (toy.picture("0").truth > 1).sum() * 2
    assert rough.all()


def test_few_images_are_exact_beside_boxes_and_tags(toy: Toy, tmp_path: Path) -> None:
    assert marked(toy, tmp_path / "a", papers.boxes_and_tags, 0.0).knowledge().complete.all()
    image = marked(toy, tmp_path / "b", papers.boxes_and_tags, 0.5)
    assert set(image.annotations.tags) == {2, 3}
    assert len(image.annotations.boxes) in (0, 4)


def test_networks_for_single_classes_answer_together(toy: Toy) -> None:
    ways = (
        Way(papers.class_alone(2), TrainConfig(), share=1.5, only=2),
        Way(papers.class_alone(3), TrainConfig(), share=1.5, only=3),
    )
    key = {"seed": 0, "seconds": 1.5, "device": "cpu", "threads": 1}
    measured = answer(toy, ways, key, toy.judges())  # type: ignore[arg-type]
    assert len(measured["classes"]) == 2
    assert measured["dice"] > 0.6
    assert measured["iou"] < measured["dice"]


@pytest.mark.parametrize("shape", [(64, 64), (8, 64, 64)], ids=["2d", "3d"])
def test_weights_of_right_and_wrong_masks_are_told_apart(tmp_path: Path, shape: tuple[int, ...]) -> None:
    toy = Toy(tmp_path, shape)
    key = {"seed": 0, "seconds": 0.5, "device": "cpu", "threads": 1}
    measured = answer(toy, (Way(half_wrong, TrainConfig()),), key, toy.judges())  # type: ignore[arg-type]
    assert measured["right_n"] + measured["wrong_n"] > 5
    assert 0 <= measured["wrong_weight"] <= 1


@pytest.mark.parametrize(
    "mark", [papers.boxes_and_tags, one_class, one_class_for_all, papers.class_alone(2), half_wrong]
)
def test_volumes_are_marked_as_volumes(tmp_path: Path, mark: papers.Marker) -> None:
    toy = Toy(tmp_path, (12, 64, 64))
    with papers._marked(tmp_path, toy, Way(mark, TrainConfig()), 0) as project:  # type: ignore[arg-type]
        assert project.ndim == 3
        assert [image.frames() for image in project.images.values()] == [[()]] * len(toy.pictures)
        boxes = [box for image in project.images.values() for box in image.annotations.boxes]
    assert all(len(box.start) == 3 for box in boxes)
    assert bool(boxes) == (mark is papers.boxes_and_tags)


def test_a_question_is_asked_of_the_sets_that_were_chosen(tmp_path: Path) -> None:
    chosen = {"questions": ("presence", "trust"), "sets": ("hippocampus3d_a",)}
    options = papers.Options(**chosen, seeds=1, seconds=1.0, device="cpu", threads=1, judges=0, folder=tmp_path)
    asked = list(papers._grid(options))
    assert {(key["question"], key["set"]) for key in asked} == {("presence", "hippocampus3d_a")}
    assert [key["way"] for key in asked] == list(QUESTIONS["presence"].ways)


def test_every_question_has_ways_that_differ() -> None:
    for question in QUESTIONS.values():
        assert len(set(question.ways.values())) == len(question.ways)
    assert exactly in {way.mark for ways in QUESTIONS["trust"].ways.values() for way in ways}


def images_of(toy: Toy) -> rounds.Images:
    """Give each image one kind of square only, told by its tag."""
    pictures, pixels, tags = [], [], []
    for i, (name, picture) in enumerate(toy.pictures.items()):
        tag = 2 + i % 2
        truth = np.where(picture.objects > 0, tag, 1).astype(np.uint8)
        image = np.random.default_rng(i).normal(0, 0.2, (1, 144, 160)).astype(np.float32)
        image[0, :64, :64] += np.array([0, 0, 1, -1])[truth]
        big = np.ones((144, 160), np.uint8)
        big[:64, :64] = truth
        path = picture.path.with_name(f"{name}_{tag}.tif")
        tifffile.imwrite(path, image[0])
        pictures.append(Picture(name, path, big, (big > 1).astype(np.int32)))
        pixels.append(image)
        tags.append(tag)
    return rounds.Images(pictures, pixels, np.array(tags))


@pytest.mark.parametrize("way", list(rounds.WAYS))
def test_rounds_give_a_score_for_each_number_of_masks(toy: Toy, way: str) -> None:
    images = images_of(toy)
    judges = [
        Judge(p, (1 + (q.truth > 1)).astype(np.uint8), q.objects)
        for p, q in zip(images.pixels, images.pictures, strict=True)
    ]
    key = {"way": way, "seed": 0, "seconds": 0.3, "rounds": 2, "per_round": 2, "device": "cpu", "threads": 1}
    scores = rounds.learn(images, rounds.WAYS[way], key, judges)
    assert len(scores) == (1 if way in ("tags only", "all masks exact") else 2)
    assert all(0 <= score <= 1 for score in scores)


def test_pseudo_masks_are_never_taken_for_a_persons(toy: Toy, tmp_path: Path) -> None:
    images = images_of(toy)
    pseudo = {images.names[3]: np.full((144, 160), 2, np.uint8)}
    with rounds._marked(tmp_path, images, [0], pseudo) as project:
        assert project.images["0"].knowledge().complete.all()
        assert not project.images["3"].knowledge().painted.any()
        assert (np.asarray(project.images["3"].annotations.claims["machine"][...]) == 2).all()
        assert project.images["3"].annotations.tags == {2: False, 3: True}


def test_the_page_shows_what_was_run(tmp_path: Path) -> None:
    common = {"seed": 0, "seconds": 60.0, "device": "cpu", "device_name": "CPU", "threads": 2, "judges": 20}
    common |= {"commit": "abc", "revision": "r"}
    asked = {"question": "trust", "set": "glas_train", "way": "default", "dice": 0.8, "iou": 0.7}
    lines = [{**common, **asked, "right_weight": 0.9, "wrong_weight": 0.2}]
    lines.append({**common, **asked, "seed": 1, "dice": 0.9, "iou": 0.8, "right_weight": 0.7, "wrong_weight": 0.4})
    (tmp_path / papers.FILE).write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    line = {**common, "way": "default, random masks", "rounds": 2, "per_round": 4, "dice": [0.5, 0.6], "mean": 0.55}
    (tmp_path / rounds.FILE).write_text(json.dumps(line), encoding="utf-8")
    report_papers.write(tmp_path, tmp_path / "papers.md")
    page = (tmp_path / "papers.md").read_text(encoding="utf-8")
    assert "| default | 0.850 (0.800–0.900) | 0.750 (0.700–0.800) | 0.800 (0.700–0.900) | 0.300 (0.200–0.400) |" in page
    assert "| Dice with so many masks | 4 | 8 | mean |" in page
    assert "| default, random masks | 0.500 | 0.600 | 0.550 |" in page
    assert "dsb2018_fluo_a" not in page
    assert "Wong" not in page

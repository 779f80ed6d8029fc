"""A program that is killed at any moment loses nothing older than the last finished call."""

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from napari_weakseg import Project

SHAPE = (600, 600)
PAINTER = """
import random, sys
import numpy as np
from napari_weakseg import Project

project = Project.open(sys.argv[1])
image = project.images["field"]
rng = random.Random(int(sys.argv[2]))
n = int(sys.argv[3])
while True:
    n += 1
    y, x = rng.randrange(540), rng.randrange(540)  # strokes of up to 60 px, often across chunks
    side = rng.randrange(1, 60)
    if n % 3:
        image.paint(np.full((side, side), 1 + n % 2), start=(y, x))
    else:
        image.paint_objects("nucleus", np.full((side, side), n), start=(y, x))
    image.tag("nucleus", bool(n % 2))
    image.add_box("nucleus", (y, x), (y + side, x + side))
    print(n, y, x, side, flush=True)
"""


def _stroke(labels: np.ndarray, objects: np.ndarray, n: int, y: int, x: int, side: int) -> None:
    where = (slice(y, y + side), slice(x, x + side))
    if n % 3:
        objects[where] = np.where(labels[where] == 1 + n % 2, objects[where], 0)
        labels[where] = 1 + n % 2
    else:
        labels[where], objects[where] = 2, n


def _next_stroke(rng: random.Random) -> tuple[int, int, int]:
    y, x = rng.randrange(540), rng.randrange(540)
    return y, x, rng.randrange(1, 60)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_killed_program_loses_no_finished_stroke(tmp_path: Path) -> None:
    path = tmp_path / "p"
    with Project.create(path, ["background", "nucleus"]) as project:
        project.add_image(np.zeros(SHAPE, np.uint8), name="field")
    labels, objects = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.int32)
    last = boxes = 0
    for seed in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", PAINTER, str(path), str(seed), str(last)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(random.Random(seed).uniform(0.02, 0.4))
        process.kill()
        lines = [first, *process.stdout.read().splitlines()]
        process.wait()
        process.stdout.close()
        rng = random.Random(seed)
        for line in lines:
            n, *place = map(int, line.split())
            assert tuple(place) == _next_stroke(rng)
            _stroke(labels, objects, n, *place)
            last, boxes = n, boxes + 1
        y, x, side = _next_stroke(rng)  # the stroke it may have been at
        unsure = np.zeros(SHAPE, bool)
        unsure[y : y + side, x : x + side] = True
        with Project.open(path) as project:  # the lock of the killed process does not stand in the way
            annotations = project.images["field"].annotations
            now, ids = np.asarray(annotations.labels), np.asarray(annotations.objects)
            assert project.notes == ()
            assert np.array_equal(now[~unsure], labels[~unsure])
            assert np.array_equal(ids[~unsure], objects[~unsure])
            assert not (ids[now != 2] > 0).any()
            assert boxes <= len(annotations.boxes) <= boxes + 1
            assert 2 in annotations.tags
            labels, objects, boxes = now.copy(), ids.copy(), len(annotations.boxes)
            last += 1


def test_reading_while_another_thread_paints_sees_whole_strokes(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", ["background", "nucleus"]) as project:
        image = project.add_image(np.zeros((300, 300), np.uint8), name="field")
        done = threading.Event()
        problems: list[str] = []

        def read() -> None:
            while not done.is_set():
                block = image.annotations.labels[250:262, 250:262]  # across four chunks
                if len(np.unique(block)) > 1:
                    problems.append(str(np.unique(block)))
                image.knowledge(region=(slice(200, 300), slice(200, 300)))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for n in range(60):
                image.paint(np.full((12, 12), 1 + n % 2), start=(250, 250))
        finally:
            done.set()
            reader.join()
        assert problems == []

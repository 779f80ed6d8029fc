"""The pure parts: words for errors, the trend, the count of marks, when to show something."""

import errno
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_weakseg.core.annotations import Annotations, Box
from napari_weakseg.core.errors import ImageError
from napari_weakseg.engine.failures import explain, is_out_of_memory
from napari_weakseg.engine.inbox import Inbox
from napari_weakseg.engine.messages import AnnotationsChanged, Pause, Predict, Resume, Shutdown, Start, Stop, View
from napari_weakseg.engine.pacing import Every, Pace, Stopwatch
from napari_weakseg.engine.progress import MarkCount, MarkCounter, duration, sentence, trend


def _cpu_allocation_error() -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of …"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.14 GB, max allowed: 9.07 GB)"),
        RuntimeError("Invalid buffer size: 48.00 GB"),
        _cpu_allocation_error(),
        MemoryError("Unable to allocate 7.45 GiB for an array"),
    ],
)
def test_out_of_memory_is_recognised(error):
    assert is_out_of_memory(error)
    assert "memory" in explain(error).problem


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), ValueError("out of memory lane"), KeyError("a")])
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/p/x"), "full"),
        (PermissionError(errno.EACCES, "Permission denied", "/p/x"), "may not"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "torch"),
        (ImageError("“a” is empty.", "Choose another."), "empty"),
        (ZeroDivisionError("division by zero"), "engine"),
    ],
)
def test_every_error_has_a_problem_a_remedy_and_details(error, word):
    failure = explain(error)
    assert word in failure.problem
    assert failure.remedy
    assert type(error).__name__ in failure.details


def test_the_trend_sees_through_noise():
    noise = np.random.default_rng(0).normal(0, 0.02, 60)
    assert trend(list(0.8 + noise), rising=True) == "levelling off"
    assert trend(list(np.linspace(0.5, 0.9, 60) + noise), rising=True) == "still improving"
    assert trend(list(np.linspace(1.0, 0.4, 60) + noise), rising=False) == "still improving"
    assert trend(list(np.linspace(0.9, 0.5, 60)), rising=True) == "levelling off"
    assert trend([float("nan")] * 20, rising=True) == "just started"


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=80), st.booleans())
def test_the_trend_always_has_words(values, rising):
    with np.errstate(all="ignore"):
        assert trend(values, rising=rising) in ("just started", "still improving", "levelling off")


def test_the_sentence():
    assert sentence(MarkCount(14, 0, 3), 38.9, "x") == "Learning from 14 blobs in 3 images · 38 s · x"
    assert sentence(MarkCount(1, 1, 1), 60, "x") == "Learning from 1 blob and 1 box in 1 image · 1 min 0 s · x"
    assert sentence(MarkCount(0, 0, 1), 0, "x") == "Learning from your marks in 1 image · 0 s · x"
    assert duration(3671) == "61 min 11 s"


def _annotations() -> Annotations:
    labels = np.zeros((2, 20, 20), np.uint8)
    labels[0, 2:5, 2:5] = labels[0, 10:12, 10:12] = labels[1, 2:5, 2:5] = 2
    labels[0, 15:18] = 1
    objects = np.zeros(labels.shape, np.int32)
    labels[1, 10:14, 5:10] = 2  # two objects that touch, told apart by their ids
    objects[1, 10:14, 5:7], objects[1, 10:14, 7:10] = 7, 8
    return Annotations((2, 20, 20), labels, objects, boxes=(Box(2, (0, 0, 0), (1, 4, 4)),))


def test_blobs_are_counted_frame_by_frame_and_the_background_is_none():
    images = {"a": SimpleNamespace(annotations=_annotations())}
    images["empty"] = SimpleNamespace(annotations=Annotations.empty((2, 20, 20)))
    counter = MarkCounter(lambda: images, 2)
    assert counter() == MarkCount(blobs=5, boxes=1, images=1)
    images["a"] = images["empty"]
    assert counter().blobs == 5  # not counted anew until told
    counter.changed("a")
    assert counter() == MarkCount()
    images["a"] = SimpleNamespace(annotations=replace(Annotations.empty((2, 20, 20)), frame_tags={(1,): {2: False}}))
    counter.changed("a")
    assert counter() == MarkCount(images=1)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_previews_come_soon_after_a_stroke_and_ever_more_seldom():
    clock = Clock()
    pace = Pace(clock)
    assert pace.due(1)
    gaps = []
    for _ in range(8):
        pace.shown(0.01)
        began = clock.now
        while not pace.due(1):
            clock.now += 0.05
        gaps.append(clock.now - began)
    assert gaps[0] == pytest.approx(1, abs=0.1)
    assert gaps == sorted(gaps)
    assert gaps[-1] == pytest.approx(5, abs=0.1)
    pace.shown(0.01)
    pace.stroke(50)
    pace.stroke(52)  # painting on does not put the preview off
    assert not pace.due(52)
    assert pace.due(53)


def test_a_slow_preview_takes_a_fifth_of_the_time_at_most():
    clock = Clock()
    pace = Pace(clock)
    pace.shown(4.0)
    clock.now += 15.9
    assert not pace.due(1)
    clock.now += 0.2
    assert pace.due(1)


def test_the_stopwatch_leaves_pauses_out():
    clock = Clock()
    watch = Stopwatch(clock)
    for _ in range(2):
        watch.go()
        clock.now += 2
        watch.hold()
        clock.now += 5
    watch.hold()
    assert watch.seconds == 4
    every = Every(1.0, clock)
    assert not every.due()
    clock.now += 1
    assert every.due()
    assert not every.due()


def test_a_stop_ends_what_was_asked_before_it_and_not_what_comes_after():
    inbox = Inbox()
    for command in (Start(run_id=1), Predict(1, "a"), Pause(), Stop(), Predict(2, "a"), Start(run_id=2)):
        inbox.send(command)
    inbox.read()
    assert [s.run_id for s in inbox.stopped] == [1]
    assert [r.request_id for r in inbox.cancelled] == [1]
    assert [r.request_id for r in inbox.requests] == [2]
    assert inbox.start == Start(run_id=2)
    assert inbox.interrupted
    assert not inbox.paused


def test_the_inbox_gathers_strokes_and_the_newest_view():
    inbox = Inbox()
    for command in (
        AnnotationsChanged("a"),
        AnnotationsChanged("b"),
        AnnotationsChanged("a"),
        View("a"),
        View("b", (3,)),
        Pause(),
        Resume(),
    ):
        inbox.send(command)
    inbox.read()
    assert inbox.changed == ["a", "b"]
    assert inbox.view == View("b", (3,))
    inbox.view_changed = False
    inbox.send(View("b", (3,)))
    inbox.read()
    assert not inbox.view_changed
    inbox.send(Shutdown())
    inbox.read(1.0)
    assert inbox.shutdown

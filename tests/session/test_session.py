"""The session on a real project, with the trainer of the tests."""

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from napari_weakseg.core.errors import AnnotationError, ProjectError, TrainingError
from napari_weakseg.core.project import Project
from napari_weakseg.engine.factory import checkpoints_of
from napari_weakseg.engine.messages import Phase
from napari_weakseg.session import Session

SHAPE = (6, 8)  # what the trainer of the tests predicts


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "cells.weakseg", classes=["background", "cell"]) as project:
        project.add_image(np.random.default_rng(0).random(SHAPE).astype(np.float32), name="a", axes="YX")
        yield project


@pytest.fixture
def session(project, fake_trainer):
    with Session(project, make_trainer=fake_trainer) as session:
        yield session


def test_train_predict_grow_and_evaluate(session):
    told = []
    status = session.train(steps=4, on_progress=told.append)
    assert (status.step, status.phase, status.trained) == (4, Phase.IDLE, True)
    assert told[-1].step == 4
    assert session.predict("a").shape == SHAPE
    assert session.predict("a", probabilities=True).shape == (2, *SHAPE)
    assert session.grown("a").dtype == np.uint8
    masks = np.full(SHAPE, 2)
    masks[:3] = 0
    masks[3] = 1
    scores = session.evaluate("a", masks)
    assert scores["cell"].iou == pytest.approx(2 / 3)
    assert scores["background"].dice == 0
    assert session.project.history()[-1]["step"] == 4


def test_every_frame_is_predicted_where_none_is_named(tmp_path, fake_trainer):
    with Project.create(tmp_path / "t.weakseg", classes=["background", "cell"]) as project:
        project.add_image(np.zeros((3, *SHAPE), np.float32), name="film", axes="TYX")
        with Session(project, make_trainer=fake_trainer) as session:
            session.train(steps=1)
            assert session.predict("film").shape == (3, *SHAPE)
            assert session.predict("film", probabilities=True).shape == (2, 3, *SHAPE)
            assert session.predict("film", frame=(1,)).shape == SHAPE
            assert session.grown("film").shape == (3, *SHAPE)
            assert [c[1][1] for c in fake_trainer.made[-1].calls if c[0] == "predict"][:3] == [(0,), (1,), (2,)]


def test_objects_have_a_number_each_through_all_frames(tmp_path, fake_trainer):
    with Project.create(tmp_path / "t.weakseg", classes=["background", "cell"]) as project:
        project.add_image(np.zeros((3, *SHAPE), np.float32), name="film", axes="TYX")
        with Session(project, make_trainer=fake_trainer) as session:
            session.train(steps=1)
            classes, ids = session.predict("film"), session.predict("film", objects=True)
            assert ids.dtype == np.int32
            assert ids.shape == classes.shape == (3, *SHAPE)
            np.testing.assert_array_equal(ids > 0, classes > 1)
            numbers = [set(np.unique(frame[frame > 0]).tolist()) for frame in ids]
            assert sum(map(len, numbers)) == len(set.union(*numbers)) == ids.max()
            assert not session.predict("film", objects=True, min_px=10**6).any()
            one = session.predict("film", objects=True, frame=(1,))
            assert one.shape == SHAPE
            assert one.max() == len(numbers[1])
            assert session.predict("film", objects=True, probabilities=True).shape == ids.shape


def test_errors_say_what_to_do(session):
    with pytest.raises(TrainingError, match="Nothing has been learned yet"):
        session.predict("a")
    with pytest.raises(ProjectError, match=r"no image “b”.*“a”"):
        session.predict("b")
    with pytest.raises(TrainingError, match="How long"):
        session.train()
    for masks, words in [
        (np.ones((2, 2), int), "2 × 2"),
        (np.ones(SHAPE, bool), "true/false"),
        (np.full(SHAPE, 1.5), "whole numbers"),
        (np.full(SHAPE, 57), "hold 57"),
    ]:
        with pytest.raises(AnnotationError, match=words):
            session.evaluate("a", masks)


def test_a_failing_training_is_raised(session, fake_trainer, monkeypatch):
    monkeypatch.setattr(fake_trainer, "step", lambda self: 1 / 0)
    with pytest.raises(TrainingError, match="Something went wrong") as caught:
        session.train(steps=1)
    assert "ZeroDivisionError" in caught.value.details
    monkeypatch.undo()
    assert session.train(steps=1).step == 1


def test_signals_are_emitted_by_poll_in_the_callers_thread(session):
    threads, phases = set(), []

    def on_state(event):
        threads.add(threading.current_thread())
        phases.append(event.phase)

    session.state_changed.connect(on_state)
    session.start(steps=2)
    time.sleep(0.2)
    assert not phases
    session.poll()
    assert phases[-1] is Phase.IDLE
    assert threads == {threading.main_thread()}


def test_what_an_error_in_a_slot_left_over_is_emitted_next_time(session):
    def fail(event):
        raise ValueError("in a slot")

    phases = []
    session.state_changed.connect(fail)
    session.start(steps=1)
    time.sleep(0.2)
    with pytest.raises(Exception, match="in a slot"):
        session.poll()
    session.state_changed.disconnect(fail)
    session.state_changed.connect(lambda event: phases.append(event.phase))
    session.poll()
    assert phases[-1] is Phase.IDLE


def test_a_prediction_in_the_background(session):
    session.train(steps=1)
    got = []
    session.predicted.connect(got.append)
    number = session.request_prediction("a")
    deadline = time.monotonic() + 5
    while not got and time.monotonic() < deadline:
        session.poll()
        time.sleep(0.01)
    assert got[0].request_id == number
    assert got[0].fragments is None


def test_ctrl_c_stops_saves_and_is_raised_again(session, project):
    told = []

    def interrupt(progress):
        told.append(progress)
        if len(told) == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        session.train(seconds=60, on_progress=interrupt)
    assert session.status.phase is Phase.IDLE
    assert list(project.checkpoint_dir.glob("0*"))
    assert session.train(steps=1).step > 1


def test_what_was_learned_serves_the_next_session(project, fake_trainer):
    with Session(project, make_trainer=fake_trainer) as session:
        session.train(steps=3)
    with Session(project, make_trainer=fake_trainer) as session:
        assert session.status.trained
        assert session.predict("a").shape == SHAPE
        assert session.train(steps=2).step == 5


def test_closing_twice_and_without_ever_starting(project, fake_trainer):
    session = Session(project, make_trainer=fake_trainer)
    session.close()
    session.close()
    assert session.status.phase is Phase.CLOSED
    with pytest.raises(TrainingError, match="closed"):
        session.predict("a")
    with pytest.raises(TrainingError):
        session.train(steps=1)


def test_a_session_nobody_holds_ends_its_thread(project, fake_trainer):
    session = Session(project, make_trainer=fake_trainer)
    session.start()
    deadline = time.monotonic() + 5
    while not fake_trainer.made and time.monotonic() < deadline:
        time.sleep(0.01)
    del session
    deadline = time.monotonic() + 5
    while any(t.name == "weakseg-engine" for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(t.name == "weakseg-engine" for t in threading.enumerate())


def test_python_ends_though_nobody_closed_the_session_and_saves(tmp_path):
    script = f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from conftest import FakeTrainer
        import numpy as np
        from napari_weakseg.core.project import Project
        from napari_weakseg.session import Session
        FakeTrainer.made = []
        project = Project.create({str(tmp_path / "p.weakseg")!r}, classes=["background", "cell"])
        project.add_image(np.zeros((6, 8), np.float32), name="a", axes="YX")
        session = Session(project, make_trainer=FakeTrainer)
        session.start()
        while not FakeTrainer.made or FakeTrainer.made[-1].steps < 2:
            time.sleep(0.01)
        assert "torch" not in sys.modules
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "p.weakseg" / "checkpoints").glob("0*"))


def test_a_class_with_another_name_is_the_same_class_to_what_was_learned(tmp_path):
    with Project.create(tmp_path / "p.weakseg", ("background", "object")) as project:
        saved = checkpoints_of(project, None)
        made = saved.save(SimpleNamespace(steps=3, save=lambda folder: None))
        project.set_classes(project.classes.renamed("object", "nucleus"))
        assert saved.usable() == [made]
        two = project.classes
        project.set_classes(two.added("debris"))
        assert saved.usable() == []
        three = saved.save(SimpleNamespace(steps=5, save=lambda folder: None))
        project.set_classes(two)  # taken back
        assert saved.usable() == [made]
        project.set_classes(two.added("vessel"))  # not what was learned as debris
        assert three.is_dir()
        assert saved.usable() == []
    with Project.open(tmp_path / "p.weakseg") as project:
        assert checkpoints_of(project, None).usable() == []

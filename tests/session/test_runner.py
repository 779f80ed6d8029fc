"""The state machine, driven without a window."""

import threading
import time

import numpy as np
import pytest

from napari_weakseg.core.errors import StorageError, TrainingError
from napari_weakseg.engine.messages import (
    AnnotationsChanged,
    Conflict,
    Failed,
    Finished,
    Grow,
    Grown,
    GrownPreview,
    Pause,
    Phase,
    Predict,
    Predicted,
    Preview,
    Progress,
    Refused,
    Resume,
    Save,
    Saved,
    Start,
    StateChanged,
    Stop,
    View,
)

VISIBLE = (slice(2, 6), slice(0, 4))


def test_a_run_goes_through_its_phases_and_saves(harness):
    harness.send(Start(steps=5, run_id=7))
    ended = harness.until_finished(7)
    assert (ended.reason, ended.step) == ("budget", 5)
    assert harness.phases == [Phase.PREPARING, Phase.TRAINING, Phase.IDLE]
    assert [e.message for e in harness.of(StateChanged)][1:3] == list(harness.trainer.stages)
    assert harness.of(Saved)[-1].path.name == "00000005"
    assert harness.trainer.thread == "weakseg-engine"
    assert harness.history[-1]["step"] == 5


def test_progress_is_a_plain_sentence(harness):
    harness.send(Start(steps=3))
    told = harness.until_event(Progress)
    assert told.message == "Learning from 14 blobs in 3 images · 0 s · just started"
    assert (told.marks, told.images, told.quality, told.budget_steps) == (14, 3, 0.5, 3)


def test_stop_is_met_at_the_next_step(harness):
    harness.send(Start(run_id=1))
    harness.until_steps(3)
    harness.trainer.gate.clear()
    harness.until(lambda: harness.trainer.count("step") > harness.trainer.steps)
    harness.send(Stop())
    steps = harness.trainer.steps
    harness.trainer.gate.set()
    assert harness.until_finished(1).reason == "stopped"
    assert harness.trainer.steps == steps + 1
    assert harness.runner.status.phase is Phase.IDLE


def test_memory_is_given_back_after_a_stop(harness, monkeypatch):
    monkeypatch.setattr("napari_weakseg.engine.loop.KEEP_AFTER_RUN_S", 0.01)
    harness.send(Start(steps=2))
    harness.until(lambda: harness.trainers and harness.trainer.closed)
    assert len(harness.trainers) == 1


def test_pause_holds_and_resume_goes_on(harness):
    harness.send(Start())
    harness.until_steps(2)
    harness.send(Pause())
    harness.until_phase(Phase.PAUSED)
    steps, seconds = harness.trainer.steps, harness.runner.status.seconds
    time.sleep(0.05)
    assert harness.trainer.steps == steps
    harness.send(Resume())
    harness.until_steps(steps + 1)
    assert harness.runner.status.phase is Phase.TRAINING
    assert harness.runner.status.seconds < seconds + 0.05


def test_pauses_do_not_count_as_training_time(harness):
    harness.send(Start(seconds=0.15, run_id=1))
    harness.until_steps(1)
    harness.send(Pause())
    harness.until_phase(Phase.PAUSED)
    time.sleep(0.3)
    steps = harness.trainer.steps
    harness.send(Resume())
    assert 0.15 <= harness.until_finished(1).seconds < 0.4
    assert harness.trainer.steps > steps


def test_stop_ends_a_pause(harness):
    harness.send(Start(run_id=1), Pause())
    harness.until_phase(Phase.PAUSED)
    harness.send(Stop())
    assert harness.until_finished(1).reason == "stopped"


def test_a_stroke_reaches_the_trainer_without_a_restart(harness):
    harness.send(Start())
    harness.until_steps(1)
    harness.send(AnnotationsChanged("a"), AnnotationsChanged("b"))
    harness.until(lambda: ("annotations_changed", "b") in harness.trainer.calls)
    assert ("annotations_changed", "a") in harness.trainer.calls
    assert {"a", "b"} <= set(harness.marks.forgotten)
    assert len(harness.trainers) == 1


def test_a_stroke_during_preparing_is_not_lost(harness):
    harness.on_make = lambda trainer: trainer.gate.clear()
    harness.send(Start())
    harness.until(lambda: harness.trainers and harness.trainer.count("prepare"))
    harness.send(AnnotationsChanged("a"))
    harness.trainer.gate.set()
    harness.until(lambda: ("annotations_changed", "a") in harness.trainer.calls)


def test_a_stroke_is_taken_in_while_paused(harness):
    harness.send(Start(), Pause())
    harness.until_phase(Phase.PAUSED)
    harness.send(AnnotationsChanged("a"))
    harness.until(lambda: ("annotations_changed", "a") in harness.trainer.calls)
    assert harness.runner.status.phase is Phase.PAUSED


def test_conflicts_are_told_once_and_when_resolved(harness):
    harness.send(Start())
    harness.until_steps(1)
    harness.trainer.found_conflicts = {"a": 3}
    harness.send(AnnotationsChanged("a"))
    assert harness.until_event(Conflict) == Conflict("a", 3)
    harness.send(AnnotationsChanged("b"))
    harness.until(lambda: ("annotations_changed", "b") in harness.trainer.calls)
    harness.trainer.found_conflicts = {}
    harness.send(AnnotationsChanged("a"))
    assert harness.until_event(Conflict, 2) == Conflict("a", 0)


def test_a_failure_is_told_in_words_and_start_works_again(harness):
    harness.send(Start(run_id=1))
    harness.until_steps(2)
    harness.trainer.fail["step"] = [RuntimeError("shape mismatch [3, 4]")]
    failure = harness.until_event(Failed)
    assert harness.until_finished(1).reason == "failed"
    harness.until_phase(Phase.FAILED)
    assert "shape mismatch" not in failure.problem + failure.remedy
    assert "shape mismatch" in failure.details
    assert harness.trainer.closed
    harness.send(Start(steps=2, run_id=2))
    assert harness.until_finished(2).reason == "budget"
    assert harness.runner.status.phase is Phase.IDLE


def test_nothing_to_learn_from_keeps_its_own_words(harness):
    wrong = TrainingError("Only “cell” is marked.", "Mark some background too.")
    harness.on_make = lambda trainer: trainer.fail.update(prepare=[wrong])
    harness.send(Start(run_id=1))
    failure = harness.until_event(Failed)
    assert (failure.problem, failure.remedy) == (wrong.problem, wrong.remedy)
    assert harness.until_finished(1).reason == "failed"


def test_a_trainer_that_cannot_be_made_is_a_failure(harness):
    def broken(trainer):
        raise ImportError("no torch", name="torch")

    harness.on_make = broken
    harness.send(Start(run_id=1))
    assert "torch" in harness.until_event(Failed).problem
    assert harness.until_finished(1).reason == "failed"
    harness.trainer.closed = True  # it never came into the runner's hands


OUT_OF_MEMORY = [
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "cpu", "mps", "host"])
def test_out_of_memory_shrinks_says_so_and_carries_on(harness, error):
    harness.send(Start(steps=6, run_id=1))
    harness.on_make = lambda trainer: trainer.fail.update(step=[error])
    assert harness.until_finished(1).reason == "budget"
    assert harness.trainer.count("shrink") == 1
    assert "half as many patches" in " ".join(e.message for e in harness.of(StateChanged))
    assert not harness.of(Failed)


def test_out_of_memory_with_nothing_left_fails(harness):
    harness.on_make = lambda trainer: trainer.fail.update(step=[MemoryError() for _ in range(9)])
    harness.send(Start(run_id=1))
    assert harness.until_event(Failed).problem == "The images are too large."
    assert harness.until_finished(1).reason == "failed"


def test_out_of_memory_while_predicting_shrinks(harness):
    harness.send(Start())
    harness.until_steps(1)
    harness.trainer.fail["tile"] = [RuntimeError("out of memory")]
    harness.send(Predict(1, "a"))
    harness.until_event(Predicted)
    assert harness.trainer.count("shrink") == 1


def test_stop_while_preparing_abandons_it(harness):
    harness.on_make = lambda trainer: trainer.gate.clear()
    harness.send(Start(run_id=1))
    harness.until(lambda: harness.trainers and harness.trainer.count("prepare") == 1)
    harness.send(Stop())
    harness.trainer.gate.set()
    assert harness.until_finished(1).reason == "stopped"
    assert harness.trainer.count("prepare") == 1
    assert harness.trainer.closed
    assert not harness.of(Saved)


def test_stop_straight_after_start_never_trains(harness):
    harness.send(Start(run_id=1), Stop(), Start(steps=1, run_id=2))
    assert harness.until_finished(1).reason == "stopped"
    assert harness.until_finished(2).reason == "budget"


def test_a_start_that_is_stopped_before_it_was_read_leaves_the_window_idle(harness):
    harness.send(Start(run_id=1), Stop())
    harness.until_finished(1)
    harness.until(lambda: harness.of(StateChanged))  # the window had taken it for begun
    assert harness.of(StateChanged)[-1].phase is Phase.IDLE


def test_the_next_start_goes_on_from_the_saved_state(harness):
    harness.send(Start(steps=4, run_id=1))
    harness.until_finished(1)
    harness.send(Start(steps=3, run_id=2))
    assert harness.until_finished(2).step == 7
    harness.send(Start(steps=3, resume=False, run_id=3))
    assert harness.until_finished(3).step == 3


def test_other_classes_mean_a_new_beginning(harness):
    harness.send(Start(steps=4, run_id=1))
    harness.until_finished(1)
    harness.identity = {"classes": ["background", "cell", "debris"]}
    harness.send(Start(steps=1, run_id=2))
    assert harness.until_finished(2).step == 1


def test_a_fresh_run_is_newer_than_a_longer_old_one(harness):
    harness.send(Start(steps=9, run_id=1))
    harness.until_finished(1)
    harness.send(Start(steps=2, resume=False, run_id=2))
    harness.until_finished(2)
    assert [path.name for path in harness.checkpoints.usable()] == ["00000002", "00000009"]


def test_a_damaged_state_is_left_out(harness):
    for run_id in (1, 2):
        harness.send(Start(steps=2, run_id=run_id))
        harness.until_finished(run_id)
    (harness.checkpoints.usable()[0] / "state.json").write_text("{", encoding="utf-8")
    harness.send(Start(steps=1, run_id=3))
    assert harness.until_finished(3).step == 3
    assert "cannot be read" in " ".join(e.message for e in harness.of(StateChanged))


def test_three_states_are_kept(harness):
    for run_id in range(1, 6):
        harness.send(Start(steps=1, run_id=run_id))
        harness.until_finished(run_id)
    assert [path.name for path in harness.checkpoints.usable()] == ["00000005", "00000004", "00000003"]


def test_a_full_disk_at_the_end_keeps_what_was_learned(harness):
    full = StorageError("The disk is full.", "Free some space.")
    harness.on_make = lambda trainer: trainer.fail.update(save=[full])
    harness.send(Start(steps=2, run_id=1))
    assert harness.until_finished(1).reason == "failed"
    assert harness.of(Failed)[-1].problem == "The disk is full."
    assert not harness.trainer.closed
    harness.send(Save())
    assert harness.until_event(Saved).path.name == "00000002"
    assert list(harness.checkpoints.usable()[0].parent.glob(".*")) == []


def test_save_does_not_stop_training(harness):
    harness.send(Start())
    harness.until_steps(1)
    harness.send(Save())
    harness.until_event(Saved)
    assert harness.runner.status.phase is Phase.TRAINING


def test_predicting_needs_something_learned(harness):
    harness.send(Predict(1, "a"))
    refused = harness.until_event(Refused)
    assert refused.problem.startswith("Nothing has been learned yet")
    assert "train" in refused.remedy
    harness.until_phase(Phase.IDLE)


def test_prediction_is_put_together_and_shown_tile_by_tile(harness):
    harness.send(Start())
    harness.until_steps(1)
    harness.send(Predict(4, "a", probabilities=True))
    answer = harness.until_event(Predicted)
    assert (answer.request_id, answer.start, answer.labels.dtype) == (4, (0, 0), np.uint8)
    assert answer.labels.shape == (6, 8)
    assert (answer.labels == 2).all()
    assert answer.probabilities is not None
    assert answer.probabilities.dtype == np.float32
    np.testing.assert_allclose(answer.probabilities[1], 0.75)
    assert [p.start for p in harness.of(Preview)] == [(0, 0), (2, 0), (4, 0)]
    assert Phase.PREDICTING in harness.phases
    harness.until_phase(Phase.TRAINING)


def test_a_part_is_predicted_alone(harness):
    harness.send(Start())
    harness.until_steps(1)
    harness.send(Predict(1, "a", (), VISIBLE))
    answer = harness.until_event(Predicted)
    assert (answer.start, answer.labels.shape) == ((2, 0), (4, 4))


def test_prediction_after_a_stop_reloads_and_frees_again(harness, monkeypatch):
    monkeypatch.setattr("napari_weakseg.engine.loop.KEEP_AFTER_RUN_S", 0.0)
    monkeypatch.setattr("napari_weakseg.engine.loop.KEEP_AFTER_PREDICTION_S", 0.05)
    harness.send(Start(steps=3, run_id=1))
    harness.until_finished(1)
    harness.until(lambda: harness.trainer.closed)
    harness.send(Predict(2, "a"))
    harness.until_event(Predicted)
    assert len(harness.trainers) == 2
    assert harness.trainer.count("load") == 1
    assert harness.trainer.count("prepare") == 0
    harness.until(lambda: harness.trainer.closed)


def test_a_new_session_predicts_from_the_saved_state(harness):
    harness.send(Start(steps=3, run_id=1))
    harness.until_finished(1)
    assert harness.runner.shutdown(5)
    harness.new_runner()
    assert harness.runner.status.trained
    harness.send(Predict(1, "a"), Grow(2, "a"))
    harness.until_event(Predicted)
    assert harness.until_event(Grown).labels.shape == (6, 8)


def test_a_stop_while_predicting_ends_it_between_tiles(harness):
    harness.send(Start(steps=1, run_id=1))
    harness.until_finished(1)
    harness.trainer.gate.clear()
    harness.send(Predict(5, "a"), Predict(6, "a"))
    harness.until(lambda: harness.trainer.count("predict"))
    harness.send(Stop())
    harness.trainer.gate.set()
    harness.until_event(Refused, 2)
    assert {e.request_id for e in harness.of(Refused)} == {5, 6}
    assert harness.trainer.count("tile") == 1
    harness.until_phase(Phase.IDLE)
    harness.send(Predict(7, "a"))
    assert harness.until_event(Predicted).request_id == 7


def test_a_prediction_that_goes_wrong_does_not_end_training(harness):
    harness.send(Start())
    harness.until_steps(1)
    harness.trainer.fail["predict"] = [KeyError("b")]
    harness.send(Predict(1, "b"))
    harness.until_event(Refused)
    steps = harness.trainer.steps
    harness.until_steps(steps + 2)
    assert harness.runner.status.phase is Phase.TRAINING


def test_what_is_on_screen_is_shown_while_training(harness):
    harness.send(View("a", (), VISIBLE), Start())
    shown = harness.until_event(Preview)
    assert (shown.image, shown.start, shown.labels.dtype) == ("a", (2, 0), np.uint8)
    assert harness.until_event(GrownPreview).image == "a"
    assert ("predict", ("a", (), VISIBLE, VISIBLE)) in harness.trainer.calls


def test_a_stroke_is_shown_a_few_steps_later(harness):
    harness.send(View("a"), Start())
    harness.until_event(Preview)
    harness.until_steps(5)
    calls = harness.trainer.calls
    before = len(calls)
    harness.send(AnnotationsChanged("a"))
    harness.until(lambda: "predict" in [name for name, _ in calls[before:]])
    after = [name for name, _ in calls[before:]]
    told = after.index("annotations_changed")
    assert after[told : after.index("predict", told)].count("step") == 3


def test_commands_are_read_between_the_tiles_of_a_preview(harness):
    harness.send(View("a"), Start(run_id=1))
    harness.until_event(Preview)
    harness.trainer.gate.clear()
    harness.send(View("b"))
    harness.until(lambda: ("predict", ("b", (), None, None)) in harness.trainer.calls or harness.trainer.gate.set())
    harness.send(Stop())
    harness.trainer.gate.set()
    assert harness.until_finished(1).reason == "stopped"


def test_the_last_state_is_shown_after_the_end(harness):
    harness.send(View("a"), Start(steps=4, run_id=1))
    harness.until_finished(1)
    harness.forget()
    harness.until(lambda: len(harness.of(Preview)) == 3)


def test_a_view_is_shown_from_the_saved_state_without_training(harness):
    harness.send(Start(steps=1, run_id=1))
    harness.until_finished(1)
    harness.runner.shutdown(5)
    harness.new_runner()
    harness.send(View("a"))
    harness.until(lambda: len(harness.of(Preview)) == 3)
    assert harness.runner.status.phase is Phase.IDLE


def test_a_view_that_cannot_be_shown_does_not_end_training(harness):
    harness.on_make = lambda trainer: trainer.fail.update(predict=[KeyError("gone")])
    harness.send(View("gone"), Start())
    harness.until(lambda: any("cannot be shown" in e.message for e in harness.of(StateChanged)))
    steps = harness.trainer.steps
    harness.until_steps(steps + 2)


def test_a_start_while_training_takes_over(harness):
    harness.send(Start(run_id=1))
    harness.until_steps(2)
    harness.send(Start(steps=3, run_id=2))
    assert harness.until_finished(1).reason == "replaced"
    assert harness.until_finished(2).reason == "budget"
    assert len(harness.trainers) == 1


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.PREPARING, Phase.TRAINING, Phase.PAUSED, Phase.FAILED])
def test_closing_in_any_phase_ends_the_thread(harness, phase):
    if phase is Phase.PREPARING:
        harness.on_make = lambda trainer: trainer.gate.clear()
    if phase is Phase.FAILED:
        harness.on_make = lambda trainer: trainer.fail.update(step=[ValueError("no")])
    if phase is Phase.IDLE:
        harness.send(View(None))
    else:
        harness.send(Start(run_id=1))
    if phase is Phase.PAUSED:
        harness.until_steps(1)
        harness.send(Pause())
    if phase is Phase.TRAINING:
        harness.until_steps(1)
    harness.until_phase(phase)
    if phase is Phase.PREPARING:
        harness.until(lambda: harness.trainers and harness.trainer.count("prepare"))
        threading.Timer(0.05, harness.trainer.gate.set).start()
    assert harness.runner.shutdown(5)
    assert harness.runner.status.phase is Phase.CLOSED
    assert harness.drain()[-1] == StateChanged(Phase.CLOSED, "Closed.")
    if phase in (Phase.TRAINING, Phase.PAUSED):
        assert harness.of(Saved)
    if phase is not Phase.IDLE:
        assert len(harness.of(Finished)) == 1


def test_closing_while_predicting_ends_the_thread(harness):
    harness.send(Start(steps=1, run_id=1))
    harness.until_finished(1)
    harness.trainer.gate.clear()
    harness.send(Predict(1, "a"))
    harness.until(lambda: harness.trainer.count("predict"))
    threading.Timer(0.05, harness.trainer.gate.set).start()
    assert harness.runner.shutdown(5)
    assert harness.of(Refused)[0].request_id == 1


def test_after_closing_nobody_is_left_waiting(harness):
    harness.runner.shutdown(1)
    harness.send(Start(run_id=3), Predict(4, "a"))
    assert harness.until_finished(3).reason == "stopped"
    assert harness.until_event(Refused).request_id == 4


def test_commands_may_come_from_several_threads(harness):
    def paint(name):
        for n in range(50):
            harness.send(AnnotationsChanged(f"{name}{n}"), Predict(n, "a") if n % 10 == 0 else Save())

    harness.send(Start(run_id=1))
    harness.until_steps(1)
    threads = [threading.Thread(target=paint, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    harness.until_event(Predicted, 20)
    wanted = {f"{name}{n}" for name in "abcd" for n in range(50)}
    harness.until(lambda: wanted == {what for name, what in harness.trainer.calls if name == "annotations_changed"})


def test_the_idle_thread_sleeps(harness):
    harness.send(View(None))
    time.sleep(0.05)
    began = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - began < 0.05

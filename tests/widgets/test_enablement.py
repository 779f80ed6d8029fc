from itertools import product

import pytest

from napari_weakseg.engine.messages import Phase
from napari_weakseg.widgets.enablement import Action, Situation, enabled


def everything():
    for phase, *flags in product(Phase, *[(False, True)] * 4):
        yield Situation(phase, *flags)


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.TRAINING, Phase.PAUSED])
def test_what_runs_can_be_stopped_and_not_started_again(phase):
    actions = enabled(Situation(phase, has_image=True, has_marks=True))
    assert Action.STOP in actions
    assert Action.TRAIN not in actions
    assert Action.CHANGE_PROJECT not in actions


def test_training_starts_again_after_a_failure():
    assert Action.TRAIN in enabled(Situation(Phase.FAILED, has_image=True))


def test_nothing_can_be_done_after_closing_or_while_busy():
    assert enabled(Situation(Phase.CLOSED, has_image=True)) == frozenset()
    assert enabled(Situation(Phase.IDLE, has_image=True, busy=True)) == frozenset()


def test_pause_and_resume_exclude_each_other_and_training():
    for situation in everything():
        assert len({Action.TRAIN, Action.PAUSE, Action.RESUME} & enabled(situation)) <= 1


def test_without_an_image_one_can_only_open_a_project():
    assert enabled(Situation()) == {Action.CHANGE_PROJECT}


def test_while_results_are_saved_neither_more_are_nor_another_project_is_opened():
    idle = enabled(Situation(has_image=True, trained=True))
    assert idle - enabled(Situation(has_image=True, trained=True, saving=True)) == {
        Action.SAVE_RESULTS,
        Action.CHANGE_PROJECT,
    }


def test_axes_are_fixed_once_something_is_marked():
    assert Action.DESCRIBE_IMAGE in enabled(Situation(has_image=True))
    assert Action.DESCRIBE_IMAGE not in enabled(Situation(has_image=True, has_marks=True))

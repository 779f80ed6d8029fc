"""Value editors: what is set can be read, and what a person does comes out as a signal."""

from dataclasses import replace

import pytest
from qtpy.QtCore import Qt

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.engine.messages import Phase
from napari_weakseg.widgets.class_table import COVERAGE_WORDS, TAG_WORDS, ClassRow, ClassTableView
from napari_weakseg.widgets.enablement import Action, Situation, enabled
from napari_weakseg.widgets.image_box import ImageBox, ImageDescription
from napari_weakseg.widgets.side_boxes import NoticeBox, ProjectBox, SettingsBox
from napari_weakseg.widgets.train_box import AcceptBox, TrainBox

ROWS = (
    ClassRow(1, "background", "#8c8c8c", 10),
    ClassRow(2, "nucleus", "#e69f00", 0, "exact", True),
    ClassRow(3, "debris", "#56b4e9", 7, None, False),
)


@pytest.fixture
def table(qtbot):
    view = ClassTableView()
    qtbot.addWidget(view)
    view.setValue(ROWS)
    return view


def test_the_class_table_gives_back_what_was_set(table):
    assert table.value() == ROWS
    table.setValue(ROWS[:2])
    assert table.value() == ROWS[:2]
    table.setValue(())
    assert table.value() == ()


def test_typing_a_name_asks_for_it_once(qtbot, table):
    renamed = []
    table.renamed.connect(lambda class_id, name: renamed.append((class_id, name)))
    field = table._views[1].name
    field.setText("")
    qtbot.keyClicks(field, "cell")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert renamed == [(2, "cell")]


def test_an_empty_name_is_taken_back(qtbot, table):
    field = table._views[1].name
    field.setText(" ")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert field.text() == "nucleus"


def test_picking_and_choosing_come_out_as_signals(qtbot, table):
    with qtbot.waitSignal(table.picked, check_params_cb=lambda i: i == 3):
        table._views[2].pick.click()
    box = table._views[1].coverage
    assert box.currentText() == COVERAGE_WORDS["exact"]
    with qtbot.waitSignal(table.coverage_changed, check_params_cb=lambda i, k: (i, k) == (2, "some")):
        qtbot.keyClick(box, Qt.Key.Key_Home)
        box.activated.emit(box.currentIndex())
    assert table._views[2].coverage.currentIndex() == -1  # differs from place to place


def test_in_a_stack_the_tag_is_of_the_slice_or_of_none(qtbot, table):
    table.setValue([replace(ROWS[1], here="slice"), replace(ROWS[2], tag=None, here="slice", image_tag=False)])
    first, second = (view.tag for view in table._views)
    assert (first.currentText(), second.currentText()) == ("is here", "in no slice")
    assert "this slice" in first.toolTip()
    with qtbot.waitSignal(table.tag_changed, check_params_cb=lambda i, tag: (i, tag) == (3, None)):
        qtbot.keyClick(second, Qt.Key.Key_Home)
        second.activated.emit(second.currentIndex())
    with qtbot.waitSignal(table.ruled_out, check_params_cb=lambda i: i == 2):
        qtbot.keyClick(first, Qt.Key.Key_End)
        first.activated.emit(first.currentIndex())
    table.setValue([replace(ROWS[1], tag=None, here="slice", image_tag=True), ROWS[2]])
    assert first.currentIndex() == -1  # in some slice, nobody knows in which
    assert [second.itemText(i) for i in range(second.count())] == list(TAG_WORDS.values())
    assert "this image" in second.toolTip()


def test_the_image_box_shows_axes_only_where_there_is_a_choice(qtbot):
    box = ImageBox()
    qtbot.addWidget(box)
    box.setValue(ImageDescription((60, 30, 40), "ZYX", False, ("ZYX", "TYX"), 3, False))
    assert box.value().axes == "ZYX"
    assert box.form.isRowVisible(box.axes)
    assert box.form.isRowVisible(box.ndim)
    assert box.ndim.currentText() == "as a volume"
    assert "is that right?" in box.words.text()
    box.setValue(ImageDescription((30, 40), "YX", False, ("YX",)))
    assert not box.form.isRowVisible(box.axes)
    assert not box.form.isRowVisible(box.ndim)


def test_settings_change_only_what_is_shown(qtbot):
    box = SettingsBox()
    qtbot.addWidget(box)
    config = TrainConfig(rounds=5, growth="regrow")
    box.setValue(config)
    assert box.value() == config
    with qtbot.waitSignal(box.value_changed):
        qtbot.keyClick(box.growth, Qt.Key.Key_End)
        box.growth.activated.emit(box.growth.currentIndex())
    assert box.value() == config.model_copy(update={"growth": "off"})
    assert box.neighbours.text() == "none"
    with qtbot.waitSignal(box.value_changed):
        box.neighbours.stepUp()
    assert box.value() == config.model_copy(update={"growth": "off", "neighbours": 1})
    with qtbot.assertNotEmitted(box.value_changed):
        box.setValue(config)
    assert box.neighbours.value() == 0


def test_buttons_say_what_they_do(qtbot):
    box = TrainBox()
    qtbot.addWidget(box)
    wanted = []
    box.wanted.connect(wanted.append)
    for phase in (Phase.TRAINING, Phase.PAUSED):
        box.set_phase(phase)
        box.set_enabled(enabled(Situation(phase, has_image=True)))
        box.pause.click()
        box.train.click()
        box.stop.click()
    assert wanted == [Action.PAUSE, Action.STOP, Action.RESUME, Action.STOP]


def test_the_curve_keeps_its_points_and_begins_anew_with_a_new_run(qtbot):
    box = TrainBox()
    qtbot.addWidget(box)
    for second in range(5):
        box.curve.add(second, 1 / (second + 1), second / 5 if second > 2 else None)
    loss, quality = box.curve.value()
    assert len(loss) == 5
    assert quality == ((3, 0.6), (4, 0.8))
    box.curve.add(0.5, 1.0, None)
    assert box.curve.value() == (((0.5, 1.0),), ())


def test_notices_replace_others_of_their_kind_and_vanish(qtbot):
    box = NoticeBox()
    qtbot.addWidget(box)
    pressed = []
    box.post("conflict", "one pixel", {"Show": lambda: pressed.append(1)})
    box.post("conflict", "two pixels", {"Show": lambda: pressed.append(2), "Later": lambda: pressed.append(3)})
    box.post("removed", "a layer")
    assert box.value() == {"conflict": "two pixels", "removed": "a layer"}
    box.press("conflict")
    box.press("conflict", 1)
    assert pressed == [2, 3]
    box.clear("conflict")
    box.clear("removed")
    assert box.isHidden()


def test_a_long_path_is_shortened_and_told_in_full(qtbot, tmp_path):
    box = ProjectBox()
    qtbot.addWidget(box)
    path = tmp_path / ("very" * 40)
    box.resize(250, 40)
    box.set_path(path)
    assert str(path) in box.path.toolTip()


def test_disabling_accept_releases_the_click_button(qtbot):
    box = AcceptBox()
    qtbot.addWidget(box)
    box.set_enabled(True)
    box.click.click()
    with qtbot.waitSignal(box.clicking_changed, check_params_cb=lambda on: not on):
        box.set_enabled(False)

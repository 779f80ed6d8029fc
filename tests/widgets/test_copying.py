"""A folder is copied while it is written to: the second copy brings what has changed."""

import os
import shutil
import sys

import pytest

from napari_weakseg.widgets import copying
from napari_weakseg.widgets.copying import bytes_in, copy_changed


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "a" / "empty").mkdir(parents=True)
    for name in ("one", "a/two", "project.lock", "a/three.part"):
        (folder / name).write_text(name)
        os.utime(folder / name, (1e9, 1e9))  # long ago
    return folder


def files(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_all_but_locks_and_halves_is_copied(source, tmp_path):
    assert copy_changed(source, tmp_path / "deep" / "target")
    assert files(tmp_path / "deep" / "target") == {"one": "one", "a/two": "a/two"}
    assert (tmp_path / "deep" / "target" / "a" / "empty").is_dir()
    assert bytes_in(source) == sum(map(len, ("one", "a/two", "project.lock", "a/three.part")))


def test_a_half_written_folder_is_left_out_with_all_that_is_in_it(source, tmp_path):
    (source / "a" / ".0300.77.part" / "deep").mkdir(parents=True)
    (source / "a" / ".0300.77.part" / "deep" / "weights").write_text("half")
    assert copy_changed(source, tmp_path / "target")
    assert files(tmp_path / "target") == {"one": "one", "a/two": "a/two"}


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own")
def test_what_a_link_leads_to_is_copied(source, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "image").write_text("image")
    (source / "images").symlink_to(tmp_path / "elsewhere")
    assert copy_changed(source, tmp_path / "target")
    assert files(tmp_path / "target")["images/image"] == "image"
    assert not (tmp_path / "target" / "images").is_symlink()


def test_what_has_changed_follows_and_what_is_gone_goes(source, tmp_path, monkeypatch):
    target = tmp_path / "target"
    copy_changed(source, target)
    (source / "new").write_text("new")
    (source / "one").write_text("1ne")  # as long as before
    shutil.rmtree(source / "a")
    written = []
    copy = shutil.copy2
    monkeypatch.setattr(copying.shutil, "copy2", lambda a, b: (written.append(a.name), copy(a, b)))
    copy_changed(source, target)
    assert sorted(written) == ["new", "one"]
    assert files(target) == {"new": "new", "one": "1ne"}
    assert not (target / "a").exists()


def test_what_was_written_just_before_is_copied_again(source, tmp_path):
    target = tmp_path / "target"
    (source / "one").write_text("new")
    copy_changed(source, target)
    time = (source / "one").stat().st_mtime_ns
    (source / "one").write_text("wen")
    os.utime(source / "one", ns=(time, time))  # as on a disk that tells times roughly
    copy_changed(source, target)
    assert files(target)["one"] == "wen"


def test_it_ends_when_it_is_not_wanted_any_more(source, tmp_path):
    answers = iter([True, True, False])
    assert not copy_changed(source, tmp_path / "target", wanted=lambda: next(answers))
    assert files(tmp_path / "target") == {}


def test_a_file_that_vanishes_is_left_out_and_a_folder_that_does_is_told(source, tmp_path, monkeypatch):
    copy = shutil.copy2

    def vanish(a, b):
        a.unlink()
        copy(a, b)

    monkeypatch.setattr(copying.shutil, "copy2", vanish)
    assert copy_changed(source, tmp_path / "target")
    assert files(tmp_path / "target") == {}
    (source / "again").write_text("again")

    def gone(a, b):
        raise FileNotFoundError(b)

    monkeypatch.setattr(copying.shutil, "copy2", gone)
    with pytest.raises(FileNotFoundError):
        copy_changed(source, tmp_path / "target")

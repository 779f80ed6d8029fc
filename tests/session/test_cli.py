"""The command line, with the trainer of the tests."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.io import imsave
from typer.testing import CliRunner

from napari_weakseg import session as session_module
from napari_weakseg.cli import app
from napari_weakseg.cli.training import PresetChoice
from napari_weakseg.core.errors import ImageError
from napari_weakseg.core.names import PICTURES
from napari_weakseg.core.presets import PRESETS
from napari_weakseg.core.project import Project

SHAPE = (6, 8)  # what the trainer of the tests predicts


@pytest.fixture
def run(tmp_path, monkeypatch, fake_trainer):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session_module, "trainer_factory", lambda *args, **kwargs: fake_trainer)

    def run(*args, code=0):
        result = CliRunner().invoke(app, [str(a) for a in args])
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return run


@pytest.fixture
def project(run, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a", "b"):
        tifffile.imwrite(images / f"{name}.tif", np.random.default_rng(0).random(SHAPE).astype(np.float32))
    run("new", "p.weakseg", "--classes", "background, cell")
    run("add", "p.weakseg", "images")
    return tmp_path / "p.weakseg"


def _labels(path, value=2):
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:4, 2:6] = value
    tifffile.imwrite(path, labels)
    return path


def _annotated(project, name="a"):
    with Project.open(project) as opened:
        said = opened.images[name].annotations
        kinds = {c: said.coverage_of(opened.classes.id_of(c)) for c in opened.classes.names}
        return np.asarray(said.labels[...]), np.asarray(said.objects[...]), kinds


def test_projects_are_merged(run, project, tmp_path):
    run("new", "q.weakseg", "--classes", "background, fibre")
    run("annotate", "p.weakseg", "a", str(_labels(tmp_path / "m.tif")))
    told = run("merge", "both.weakseg", "p.weakseg", "q.weakseg").stdout
    assert told == "Made “both”: 2 images, classes background, cell, fibre.\n"
    shown = json.loads(run("info", "both.weakseg", "--json").stdout)
    assert shown["classes"] == json.loads(run("info", "p.weakseg", "--json").stdout)["classes"] + ["fibre"]
    failed = run("merge", "both.weakseg", "p.weakseg", code=1)
    assert "holds a project already" in failed.stderr


def test_what_to_annotate_next_is_told(run, project):
    run("train", "p.weakseg", "--steps", "3")
    (told,) = json.loads(run("suggest", "p.weakseg", "--json").stdout)
    assert told["image"] == "b"
    assert told["stop"] == list(SHAPE)
    assert "b: blob, about 5 s. It looks new." in run("suggest", "p.weakseg", "-n", "1").stdout


def test_a_published_method_can_be_trained(run, project):
    assert json.loads(run("train", "p.weakseg", "--steps", "2", "--preset", "presence-masking", "--json").stdout)[
        "step"
    ]
    assert "no-method" in run("train", "p.weakseg", "--preset", "no-method", code=2).output


def test_the_command_line_knows_every_preset():
    assert [choice.value for choice in PresetChoice] == list(PRESETS)


def test_a_rough_mask_is_kept_apart(run, project, tmp_path):
    told = run("annotate", "p.weakseg", "a", _labels(tmp_path / "mask.tif"), "--trust", "rough").stdout
    assert "8 pixels claimed, rough" in told
    with Project.open(project) as opened:
        annotations = opened.images["a"].annotations
        assert not np.asarray(annotations.labels[...]).any()
        assert (np.asarray(annotations.claims["rough"][...]) == 2).sum() == 8
    run("annotate", "p.weakseg", "a", tmp_path / "mask.tif", "--trust", "rough", "--coverage", "exact", code=2)


def test_from_a_new_project_to_a_score(run, project, tmp_path):
    run("annotate", "p.weakseg", "a", _labels(tmp_path / "a_labels.tif"))
    trained = json.loads(run("train", "p.weakseg", "--steps", "3", "--json").stdout)
    assert trained["step"] == 3
    assert json.loads(run("train", "p.weakseg", "--seconds", "0.05", "--json").stdout)["step"] > 3
    run("predict", "p.weakseg", "--out", "labels", "--probabilities", "--objects")
    assert (tifffile.imread(tmp_path / "labels" / "b_objects.tif") == 1).all()
    table = (tmp_path / "labels" / "b_objects.csv").read_text(encoding="utf-8-sig").splitlines()
    assert table[0].startswith("object,class,pixels")
    assert table[1].startswith("1,cell,48")
    assert len(table) == 2
    assert (tifffile.imread(tmp_path / "labels" / "a_classes.tif") == 2).all()
    assert tifffile.imread(tmp_path / "labels" / "b_probabilities.tif").shape == (2, *SHAPE)
    masks = tmp_path / "masks"
    masks.mkdir()
    _labels(masks / "a.tif")
    scores = json.loads(run("evaluate", "p.weakseg", "masks", "--json").stdout)
    assert scores["a"]["cell"]["iou"] == pytest.approx(8 / 48)
    assert "Dice" in run("evaluate", "p.weakseg", masks / "a.tif", "--zero", "unknown").stdout
    info = json.loads(run("info", "p.weakseg", "--json").stdout)
    assert (info["marks"], info["classes"], list(info["images"])) == (1, ["background", "cell"], ["a", "b"])
    assert info["learned_steps"] > 3
    assert "cell 8 px" in run("info", "p.weakseg").stdout


def test_a_folder_of_other_images_is_predicted_and_not_kept(run, project, tmp_path):
    run("train", "p.weakseg", "--steps", "1")
    other = tmp_path / "other"
    other.mkdir()
    tifffile.imwrite(other / "c.tif", np.ones(SHAPE, np.float32))
    written = json.loads(run("predict", "p.weakseg", "other", "a", "images/b.tif", "--json").stdout)
    assert list(written) == ["a", "c", "b"]
    assert all(Path(file).exists() for files in written.values() for file in files)
    with Project.open(project) as opened:
        assert list(opened.images) == ["a", "b"]


def test_names_keep_their_dots_and_no_two_results_are_alike(run, project, tmp_path):
    run("train", "p.weakseg", "--steps", "1")
    files = ["drug_0.1uM.tif", "drug_0.5uM.tif", "plate.ome.tif", "s1/well.tif", "s2/Well.tif", "s2/a.tif"]
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        tifffile.imwrite(file, np.ones(SHAPE, np.float32))
    done = run("predict", "p.weakseg", *files, "--out", "out", "--json")
    names = ["drug_0.1uM", "drug_0.5uM", "plate", "well", "Well-2", "a-2"]
    assert list(json.loads(done.stdout)) == names
    assert {file.name for file in (tmp_path / "out").iterdir()} == {f"{name}_classes.tif" for name in names}
    assert "“s2/Well.tif” are called “Well-2”" in done.stderr.replace("\n", " ")

    run("add", "p.weakseg", *files[:3])
    masks = tmp_path / "masks"
    masks.mkdir()
    for file in (*files[:3], "stranger.tif", "a_classes.tif"):
        _labels(masks / file)
    done = run("evaluate", "p.weakseg", "masks", "--json")
    assert list(json.loads(done.stdout)) == names[:3]
    assert "stranger.tif" in done.stderr
    assert "a_classes.tif" in done.stderr


def test_results_are_no_images(run, project, tmp_path):
    run("train", "p.weakseg", "--steps", "1")
    run("predict", "p.weakseg", "--out", "out")
    corrected = tmp_path / "images" / "a_classes.tif"
    tifffile.imwrite(corrected, np.ones(SHAPE, np.uint8))  # saved anew by a person
    given = sorted((tmp_path / "images").glob("*.tif"))
    done = run("predict", "p.weakseg", "out", *given, "--json")
    assert list(json.loads(done.stdout)) == ["a", "b"]
    assert "a_classes.tif" in done.stderr


def test_predicting_a_file_does_not_touch_the_project(run, project, tmp_path, monkeypatch):
    run("train", "p.weakseg", "--steps", "1")
    tifffile.imwrite("c.tif", np.ones(SHAPE, np.float32))

    def contents():
        return {path: path.read_bytes() for path in project.rglob("*") if path.is_file() and path.suffix != ".lock"}

    before, during = contents(), []
    save = session_module.Session.save_results

    def saved(self, *args, **kwargs):
        during.append(contents())
        return save(self, *args, **kwargs)

    monkeypatch.setattr(session_module.Session, "save_results", saved)
    run("predict", "p.weakseg", "c.tif", "--out", "out", "--objects")
    assert (tmp_path / "out" / "c_objects.tif").exists()
    assert before == during[0] == contents()


def test_images_that_are_gone_are_told_and_the_others_predicted(run, project, tmp_path):
    for name in "ab":
        run("annotate", "p.weakseg", name, _labels(tmp_path / f"{name}_l.tif"))
    tifffile.imwrite(tmp_path / "images" / "b.tif", np.ones(SHAPE, np.float32))
    (tmp_path / "images" / "a.tif").unlink()
    for command in (("train", "p.weakseg", "--steps", "1"), ("export", "p.weakseg", "--out", "said"), ("suggest",)):
        told = run(*command, *(["p.weakseg"] if len(command) == 1 else [])).stderr.replace("\n", " ")
        assert "of the image “a” is missing" in told
        assert "of the image “b” was changed" in told
    done = run("predict", "p.weakseg", "--out", "out", "--json", code=1)
    assert list(json.loads(done.stdout)) == ["b"]
    assert "1 of 2 images are not predicted: a." in done.stderr


def test_an_image_with_damaged_pixels_is_told_and_the_others_predicted(run, project, fake_trainer, monkeypatch):
    predict = fake_trainer.predict

    def damaged(self, image, *args, **kwargs):
        if image == "a":
            raise ImageError("The pixels of “a” are damaged.", "Copy it again.")
        return predict(self, image, *args, **kwargs)

    run("train", "p.weakseg", "--steps", "1")
    monkeypatch.setattr(fake_trainer, "predict", damaged)
    for extra in ((), ("--zarr",), ("--probabilities",)):
        done = run("predict", "p.weakseg", "--out", "out", "--json", *extra, code=1)
        assert list(json.loads(done.stdout)) == ["b"]
        assert done.stderr.count("The pixels of “a” are damaged. Copy it again.") == 1
        assert "1 of 2 images are not predicted: a." in done.stderr


def test_what_is_wrong_with_all_images_is_told_once(run, project):
    told = run("predict", "p.weakseg", code=1).stderr.replace("\n", " ")
    assert told.count("Nothing has been learned yet") == 1
    assert "2 of 2 images are not predicted: a, b." in told


def test_a_folder_is_added_once(run, project, tmp_path):
    images = tmp_path / "images"
    (images / "._a.tif").write_bytes(b"Mac OS X")  # beside every file on a USB disk
    tifffile.imwrite(images / "c.tif", np.ones(SHAPE, np.float32))
    done = run("add", "p.weakseg", "images", images / "c.tif")
    assert done.stdout == "c: 6 × 8 (YX)\n"
    assert "a.tif” is in the project already, as “a”" in done.stderr.replace("\n", " ")
    with Project.open(project) as opened:
        assert list(opened.images) == ["a", "b", "c"]


def test_a_folder_of_pictures_of_any_kind_is_added(run, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i, suffix in enumerate(sorted(PICTURES)):
        imsave(pictures / f"p{i}{suffix.upper()}", np.zeros((16, 16, 3), np.uint8), check_contrast=False)
    run("new", "q.weakseg", "--classes", "background,cell")
    run("add", "q.weakseg", "pictures")
    assert list(json.loads(run("info", "q.weakseg", "--json").stdout)["images"]) == [f"p{i}" for i in range(6)]


@pytest.mark.parametrize(
    ("shape", "axes"), [((1, 16, 20), "YX"), ((5, 16, 20), "TYX"), ((3, 16, 20), "TYX"), ((4, 16, 20, 3), "TYXS")]
)
def test_grey_and_coloured_pictures_that_move_have_their_axes(run, tmp_path, shape, axes):
    frames = np.resize(
        np.arange(256, dtype=np.uint8), shape
    )  # all values: a palette of greys is told from colours by it
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(tmp_path / "g.gif", save_all=True, append_images=pictures[1:])
    run("new", "q.weakseg", "--classes", "background,cell")
    run("add", "q.weakseg", "g.gif")
    with Project.open(tmp_path / "q.weakseg") as opened:
        image = opened.images["g"]
        assert image.axes == axes
        assert image.label_shape == (shape[:3] if len(axes) > 2 else shape[1:])


def test_annotation_of_an_image_that_cannot_be_read_is_exported(run, project, tmp_path):
    run("annotate", "p.weakseg", "b", _labels(tmp_path / "l.tif"))
    with Project.open(project) as opened:
        file = opened.images["b"].path
    tifffile.imwrite(file, np.zeros((2, 3), np.float32))  # another image by now
    written = json.loads(run("export", "p.weakseg", "--out", "masks", "--json").stdout)
    assert "b" in written
    assert tifffile.imread(tmp_path / "masks" / "b_annotation.tif").any()


def test_exported_annotation_serves_as_masks(run, project, tmp_path):
    run("annotate", "p.weakseg", "a", _labels(tmp_path / "l.tif"))
    run("train", "p.weakseg", "--steps", "1")
    run("export", "p.weakseg", "--out", "masks")
    run("predict", "p.weakseg", "--out", "masks")
    done = run("evaluate", "p.weakseg", "masks", "--zero", "unknown", "--json")
    assert json.loads(done.stdout)["a"]["cell"]["dice"] == 1
    assert "a_classes.tif, b_classes.tif" in done.stderr.replace("\n", " ")


def test_two_rough_masks_of_one_class_each_stay(run, project, tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    for row, name in ((0, "background"), (2, "cell"), (4, "cell")):
        mask[:] = 0
        mask[row] = 1
        tifffile.imwrite("rough.tif", mask)
        run("annotate", "p.weakseg", "a", "rough.tif", "--as-class", name, "--trust", "rough")
    with Project.open(project) as opened:
        claimed = np.asarray(opened.images["a"].annotations.claims["rough"][...])
    assert claimed[:, 0].tolist() == [1, 0, 0, 0, 2, 0]


def test_names_that_the_terminal_cannot_show(tmp_path):
    with Project.create(tmp_path / "p.weakseg", ["background", "核"]) as made:
        made.add_image(np.zeros(SHAPE, np.uint8), name="細胞", axes="YX")
    for options in ((), ("--json",)):
        done = subprocess.run(
            [sys.executable, "-m", "napari_weakseg", "info", str(tmp_path / "p.weakseg"), *options],
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        )
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["classes"] == ["background", "核"]


def test_the_demo_needs_a_folder(run, tmp_path):
    (tmp_path / "file").write_text("")
    told = run("demo", "--out", "file", "--no-window", code=1)
    assert "“file” could not be saved" in told.stderr.replace("\n", " ")


def test_exact_masks_say_what_is_background_too(run, project, tmp_path):
    run("annotate", "p.weakseg", "a", _labels(tmp_path / "m.tif", 255), "--as-class", "cell", "--coverage", "exact")
    with Project.open(project) as opened:
        knowledge = opened.images["a"].knowledge(())
        assert not knowledge.conflicts.any()
        assert (knowledge.certain > 0).all()
        np.testing.assert_array_equal(opened.images["a"].annotations.labels[...][2:4, 2:6], 2)


def test_one_mask_for_each_class_is_taken_beside_the_others(run, tmp_path):
    run("new", "three.weakseg", "--classes", "background,nucleus,cytoplasm")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(SHAPE, np.uint8))
    run("add", "three.weakseg", "a.tif")
    nuclei, cytoplasm = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    nuclei[1:3], cytoplasm[3:5] = 1, 1
    tifffile.imwrite("n.tif", nuclei)
    tifffile.imwrite("c.tif", cytoplasm)
    exact = ("--coverage", "exact")
    told = run("annotate", "three.weakseg", "a", "n.tif", "--as-class", "nucleus", *exact).stdout
    assert told == "a: 16 pixels annotated, exact (nucleus 16).\n"
    assert _annotated("three.weakseg")[2] == {"background": "some", "nucleus": "exact", "cytoplasm": "some"}
    run("annotate", "three.weakseg", "a", "c.tif", "--as-class", "cytoplasm", *exact)
    np.testing.assert_array_equal(_annotated("three.weakseg")[0], nuclei * 2 + cytoplasm * 3)
    with Project.open("three.weakseg") as opened:
        assert not opened.images["a"].knowledge().conflicts.any()

    tifffile.imwrite("n.tif", np.roll(nuclei, 1, axis=0))  # half of it on cytoplasm, half of the old mask left out
    again = ("annotate", "three.weakseg", "a", "n.tif", "--as-class", "nucleus", *exact)
    assert "8 pixels of “n.tif” are painted as “cytoplasm”" in run(*again, code=1).stderr.replace("\n", " ")
    np.testing.assert_array_equal(_annotated("three.weakseg")[0], nuclei * 2 + cytoplasm * 3)
    run(*again, "--replace")
    np.testing.assert_array_equal(_annotated("three.weakseg")[0][:, 0], [0, 0, 2, 2, 3, 0])


@pytest.mark.parametrize("trust", ["sure", "rough"])
def test_a_refused_mask_changes_nothing(run, project, tmp_path, trust):
    run("annotate", "p.weakseg", "a", _labels(tmp_path / "l.tif"))
    before = _annotated(project)
    wrong = np.zeros(SHAPE, np.int64)
    wrong[0], wrong[5] = 7, -1
    tifffile.imwrite("negative.tif", wrong)
    np.save("large.npy", np.abs(wrong) * 2**40)
    objects = ["--objects"] if trust == "sure" else []
    run("annotate", "p.weakseg", "a", "negative.tif", "--as-class", "cell", "--trust", trust, *objects, code=1)
    run("annotate", "p.weakseg", "a", "large.npy", "--as-class", "cell", "--objects", code=1)
    for old, new in zip(before, _annotated(project), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("dtype", [np.uint8, bool])
def test_a_mask_of_0_and_1_is_not_taken_for_background(run, project, tmp_path, dtype):
    mask = np.zeros(SHAPE, dtype)
    mask[2:4, 2:6] = 1
    masks = tmp_path / "masks"
    masks.mkdir()
    tifffile.imwrite(masks / "a.tif", mask)
    run("train", "p.weakseg", "--steps", "1")
    for command in (("annotate", "p.weakseg", "a", masks / "a.tif"), ("evaluate", "p.weakseg", masks)):
        told = run(*command, code=1).stderr.replace("\n", " ")
        assert "1 is the number of “background”" in told
        assert "--as-class" in told
        run(*command, "--as-class", "cell")
    assert _annotated(project)[0].sum() == 16
    _labels(masks / "b.tif")  # here 2 occurs, so 1 is a class id beside it as well
    assert json.loads(run("evaluate", "p.weakseg", masks, "--json").stdout).keys() == {"a", "b"}


def test_a_label_file_has_its_own_axes_and_all_its_digits(run, project, tmp_path):
    film = np.random.default_rng(0).integers(0, 3, (3, 3, *SHAPE), np.uint8)
    with Project.open(project) as opened:
        opened.add_image(film, name="film", axes="TZYX")
    tifffile.imwrite("named.ome.tif", film.swapaxes(0, 1), ome=True, metadata={"axes": "ZTYX"})
    tifffile.imwrite("unnamed.tif", film, photometric="minisblack")
    run("annotate", "p.weakseg", "film", "unnamed.tif")
    run("export", "p.weakseg", "--out", "out")
    for file in ("named.ome.tif", "unnamed.tif", "out/film_annotation.tif"):
        run("annotate", "p.weakseg", "film", file)
        np.testing.assert_array_equal(_annotated(project, "film")[0], film)
    ids = np.zeros(SHAPE, np.int32)
    ids[0], ids[1] = 2**24, 2**24 + 1
    tifffile.imwrite("ids.tif", ids)
    run("annotate", "p.weakseg", "a", "ids.tif", "--as-class", "cell", "--objects")
    np.testing.assert_array_equal(_annotated(project)[1], ids)


def test_object_numbers_are_kept(run, project, tmp_path):
    labels = np.zeros(SHAPE, np.uint16)
    labels[1:3, 1:3], labels[1:3, 3:5] = 300, 301
    tifffile.imwrite(tmp_path / "o.tif", labels)
    run("annotate", "p.weakseg", "a", "o.tif", "--as-class", "cell", "--objects", "--coverage", "all objects")
    assert json.loads(run("info", "p.weakseg", "--json").stdout)["marks"] == 2
    run("annotate", "p.weakseg", "a", "o.tif", "--objects", code=2)


def test_a_second_mask_of_objects_leaves_those_of_the_first(run, project, tmp_path):
    first, second = np.zeros(SHAPE, np.uint16), np.zeros(SHAPE, np.uint64)
    first[0, 0], first[2, 2], second[2, 2], second[4, 4] = 1, 2, 1, 2
    ask = ("annotate", "p.weakseg", "a", "o.tif", "--as-class", "cell", "--objects")
    for mask in (first, second):
        tifffile.imwrite("o.tif", mask)
        run(*ask)
    for _ in range(2):  # the same again changes nothing
        labels, objects, _kinds = _annotated(project)
        assert {int(objects[place]) for place in ((0, 0), (2, 2), (4, 4))} == {1, 2, 3}
        assert (objects > 0).sum() == (labels == 2).sum() == 3
        tifffile.imwrite("o.tif", objects)
        run(*ask)
    tifffile.imwrite("o.tif", second)
    run(*ask, "--coverage", "exact")
    np.testing.assert_array_equal(_annotated(project)[1], second)


def test_export_writes_what_was_asked_for(run, project, tmp_path):
    run("annotate", "p.weakseg", "a", _labels(tmp_path / "l.tif"))
    run("export", "p.weakseg", "--out", "said")
    said = tifffile.imread(tmp_path / "said" / "a_annotation.tif")
    np.testing.assert_array_equal(said, tifffile.imread(tmp_path / "l.tif"))
    run("train", "p.weakseg", "--steps", "1")
    run("export", "p.weakseg", "--out", "grown", "--what", "grown")
    assert set(np.unique(tifffile.imread(tmp_path / "grown" / "a_grown.tif"))) == {0}  # the fake grows background


def test_mistakes_of_the_person_are_told_on_stderr(run, project, tmp_path):
    for args, words in [
        (("info", "nowhere.weakseg"), "nowhere"),
        (("predict", "p.weakseg"), "Nothing has been learned yet"),
        (("predict", "p.weakseg", "nowhere.tif"), "does not exist"),
        (("annotate", "p.weakseg", "c", "l.tif"), "no image “c”"),
        (("annotate", "p.weakseg", "a", _labels(tmp_path / "n.tif", 9)), "number 9"),
        (("evaluate", "p.weakseg", _labels(tmp_path / "unknown_name.tif")), "No mask"),
        (("new", "p.weakseg", "--classes", "background,cell"), "p.weakseg"),
    ]:
        result = run(*args, code=1)
        assert words in result.stderr.replace("\n", " ")
        assert "Traceback" not in result.output
        assert not result.stdout


def test_a_mask_of_another_size_is_refused(run, project, tmp_path):
    tifffile.imwrite(tmp_path / "small.tif", np.ones((3, 3), np.uint8))
    assert "6 × 8" in run("annotate", "p.weakseg", "a", "small.tif", code=1).stderr


def test_wrong_usage_is_2(run):
    run("train", code=2)
    run("fly", code=2)
    run("new", "x.weakseg", code=2)
    run("new", "x.weakseg", "--classes", "background,cell", "--ndim", 3, "--neighbours", 2, code=2)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for child processes")
def test_ctrl_c_saves_and_is_130(project, tmp_path):
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import FakeTrainer
from napari_weakseg import cli, session
FakeTrainer.made = []
class Telling(FakeTrainer):
    def step(self):
        super().step()
        if self.steps == 3:
            print("learning", flush=True)
session.trainer_factory = lambda *args, **kwargs: Telling
sys.argv = ["napari-weakseg", "train", {str(project)!r}, "--seconds", "60"]
cli.main()
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "learning"
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=30)
    assert child.returncode == 130, told
    assert "saved" in told
    assert list((project / "checkpoints").glob("0*"))


def test_what_is_told_in_words_comes_without_a_traceback(tmp_path):
    path = tmp_path / "one.weakseg"
    labels = np.zeros((32, 32), np.uint8)
    labels[4:9, 4:9] = 2
    with Project.create(path, classes=["background", "cell"]) as project:
        project.add_image(np.random.default_rng(0).random((32, 32)), name="a", axes="YX").paint(labels)
    command = [sys.executable, "-m", "napari_weakseg", "train", str(path), "--seconds", "1", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Only “cell” is marked." in done.stderr
    assert "Traceback" not in done.stderr


def test_results_are_never_written_over_the_image(tmp_path: Path) -> None:
    """Predicting into the folder of the images, where the names would be the same."""
    pixels = np.random.default_rng(0).random((48, 48)).astype(np.float32)
    file = tmp_path / "a_classes.tif"
    tifffile.imwrite(file, pixels)
    with Project.create(tmp_path / "p.weakseg", ("background", "cell")) as project:
        labels = np.zeros((48, 48), np.uint8)
        labels[10:20, 10:20], labels[40:] = 2, 1
        project.add_image(file, name="a").paint(labels)
        with session_module.Session(project, device="cpu") as session:
            session.train(steps=2)
    ask = ["predict", str(tmp_path / "p.weakseg"), "--out", str(tmp_path), "--device", "cpu"]
    result = CliRunner().invoke(app, ask)
    assert result.exit_code == 1
    assert "is an image of the project" in result.stderr
    np.testing.assert_array_equal(tifffile.imread(file), pixels)


def test_an_export_beside_the_raw_images_leaves_them_alone(run, project, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    with Project.open(project) as opened:
        for name in ("c", str(raw / "c"), "../c", "C"):  # arrays read from raw/c.tif, say
            opened.add_image(np.zeros(SHAPE, np.uint8), name=name, axes="YX")
    tifffile.imwrite(raw / "c.tif", np.ones(SHAPE, np.uint8))
    for _ in range(2):  # what was exported before is replaced
        written = json.loads(run("export", "p.weakseg", "--out", "raw", "--json").stdout)
    assert (tifffile.imread(raw / "c.tif") == 1).all()
    assert len({Path(file).name.lower() for file in written.values()}) == len(written) == 6
    assert {Path(file).parent for file in written.values()} == {Path("raw")}


def test_what_a_person_has_changed_is_not_written_over(run, project, tmp_path):
    run("train", "p.weakseg", "--steps", "1")
    ask = ["predict", "p.weakseg", "a", "--out", "out", "--probabilities"]
    for ending in ("classes", "probabilities"):
        run(*ask)
        corrected = tmp_path / "out" / f"a_{ending}.tif"
        tifffile.imwrite(corrected, np.full(SHAPE, 7, np.uint8))
        assert f"a_{ending}.tif” is in the way" in run(*ask, code=1).stderr.replace("\n", " ")
        assert (tifffile.imread(corrected) == 7).all()
        corrected.unlink()


def test_the_result_of_another_file_of_the_same_name_is_not_written_over(run, project, tmp_path):
    run("train", "p.weakseg", "--steps", "1")
    for folder in ("s1", "s2 µ"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "well.tif", np.ones(SHAPE, np.float32))
    for extra in (("--objects", "--probabilities"), ("--zarr",)):
        for first, second in (("s1", "s2 µ"), ("s2 µ", "s1")):
            out = tmp_path / f"of {first} {extra[0]}"
            for _ in range(2):  # the same file again
                run("predict", "p.weakseg", f"{first}/well.tif", "--out", out, *extra)
            before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
            told = run("predict", "p.weakseg", f"{second}/well.tif", "--out", out, *extra, code=1).stderr
            assert f"is the result of “{tmp_path / first / 'well.tif'}”" in told
            assert before == {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}


def test_results_beside_the_images_are_no_images_the_next_time(run, project, tmp_path):
    run("train", "p.weakseg", "--steps", "1")
    other = tmp_path / "other"
    other.mkdir()
    for name in ("c", "d_classes"):
        tifffile.imwrite(other / f"{name}.tif", np.ones(SHAPE, np.float32))
    for _ in range(2):
        written = json.loads(run("predict", "p.weakseg", "other", "--out", "other", "--objects", "--json").stdout)
        assert list(written) == ["c", "d_classes"]


def test_moved_images_are_found(run, project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    with Project.open(project) as opened:
        files = [image.path.resolve() for image in opened.images.values()]
    for file in files:
        file.rename(tmp_path / "elsewhere" / file.name)
    assert run("relink", "p.weakseg", "nowhere", code=1).exit_code == 1
    assert str(tmp_path / "elsewhere") in run("relink", "p.weakseg", "elsewhere").stdout.replace("\n", "")
    with Project.open(project) as opened:
        assert not opened.missing

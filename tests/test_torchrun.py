"""Training by several processes that torchrun starts: in step, with the same weights, on different patches."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_weakseg.core.project import Project
from napari_weakseg.session import Session

pytestmark = pytest.mark.slow

_SCRIPT = """
import sys, torch
from napari_weakseg.core.project import Project
from napari_weakseg.engine.factory import follow, trainer_factory
from napari_weakseg.engine.peers import Peers

peers = Peers.of_torchrun("cpu")
if sys.argv[1] == "average":
    weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((3,), (2, 2), (1,))]
    weights[0].grad = torch.full((3,), 1.0 + peers.rank)
    if peers.rank:
        weights[1].grad = torch.full((2, 2), 4.0)
    peers.average(weights)
    found = {"a": weights[0].grad, "b": weights[1].grad, "c": torch.tensor(float(weights[2].grad is None))}
else:
    project = Project.open(sys.argv[1], read_only=not peers.leads)
    trainer = trainer_factory(project, None, device="cpu", seed=0, threads=1, peers=peers)()
    if peers.leads:
        for _ in trainer.prepare():
            pass
        with torch.no_grad():  # as a saved state would
            for weights in trainer.learner.student.parameters():
                weights.mul_(1.5)
        for _ in range(4):
            trainer.step()
    else:
        assert follow(peers, trainer) == 4
    found = {name: x for name, x in trainer.learner.student.named_parameters()}
    found["teacher"] = torch.cat([x.flatten() for x in trainer.learner.teacher.network.parameters()])
    found["seen"] = torch.cat([x.flatten() for x in trainer.learner.voice.seen])
torch.save(found, f"{sys.argv[2]}/{peers.rank}.pt")
if sys.argv[1] == "average" and not peers.leads:
    assert peers.hear() == (False, False)
peers.end()
"""


def torchrun(*command: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run([*launcher, *command], capture_output=True, text=True, timeout=240)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    path = tmp_path / "p.weakseg"
    with Project.create(path, ("background", "cell")) as made:
        for i in range(3):
            pixels = (((y - 48) ** 2 + (x - 30 - 10 * i) ** 2) < 300) + rng.normal(0, 0.2, (96, 96))
            labels = np.zeros((96, 96), np.uint8)
            labels[44:52, 26 + 10 * i : 34 + 10 * i], labels[4:8] = 2, 1
            made.add_image(pixels.astype(np.float32), name=f"i{i}", axes="YX").paint(labels)
    return path


def results(folder: Path) -> list[dict[str, torch.Tensor]]:
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_gradients_are_averaged(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(_SCRIPT)
    done = torchrun(str(script), "average", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for found in results(tmp_path):
        assert (found["a"] == 1.5).all()
        assert (found["b"] == 2).all()
        assert found["c"] == 1


def test_all_have_the_weights_of_the_leader_and_patches_of_their_own(tmp_path: Path, project: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(_SCRIPT)
    done = torchrun(str(script), str(project), str(tmp_path))
    assert done.returncode == 0, done.stderr
    one, other = results(tmp_path)
    assert not torch.equal(one.pop("seen"), other.pop("seen"))
    for name, weights in one.items():
        torch.testing.assert_close(weights, other[name], msg=name)


def test_the_command_trains_goes_on_and_what_is_learned_predicts(project: Path) -> None:
    ask = ["-m", "napari_weakseg", "train", str(project), "--device", "cpu", "--steps", "3", "--json"]
    for steps in (3, 6):
        done = torchrun(*ask)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["step"] == steps  # one process reports
    with Project.open(project) as opened, Session(opened, device="cpu") as session:
        assert set(np.unique(session.predict("i0"))) <= {1, 2}


def test_nothing_to_learn_from_is_told_by_all_and_nobody_waits(tmp_path: Path) -> None:
    with Project.create(tmp_path / "empty.weakseg", ("background", "cell")) as made:
        made.add_image(np.zeros((64, 64), np.float32), name="a")
    done = torchrun("-m", "napari_weakseg", "train", str(tmp_path / "empty.weakseg"), "--device", "cpu", "--steps", "3")
    assert done.returncode == 1
    assert "Nothing is annotated" in done.stderr or "marked" in done.stderr

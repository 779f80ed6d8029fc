"""The scripts in examples/ run as they stand."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script: str, folder: Path, *options: str) -> str:
    """Output of an example, run in an empty folder."""
    command = [sys.executable, str(EXAMPLES / script), *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "partial_masks.py",
        "resume.py",
        "predict_folder.py",
    }


@pytest.mark.slow
def test_partial_masks_of_a_folder(tmp_path: Path) -> None:
    run("partial_masks.py", tmp_path, "--seconds", "3", "--out", "cells.weakseg")
    written = sorted(tmp_path.glob("cells.weakseg/*_labels.tif"))
    assert len(written) == 4
    labels = tifffile.imread(written[0])
    assert labels.shape == (151, 192)
    assert set(np.unique(labels)) <= {0, 2}


@pytest.mark.slow
def test_a_second_run_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    steps = [int(run("resume.py", tmp_path, "--seconds", "3").split(";")[1].split()[0]) for _ in range(2)]
    assert 0 < steps[0] < steps[1]


@pytest.mark.slow
def test_predict_a_folder(tmp_path: Path) -> None:
    assert "lower_half.tif" in run("predict_folder.py", tmp_path, "--seconds", "3", "--out", "labels")
    assert tifffile.imread(tmp_path / "labels" / "lower_half_labels.tif").shape == (151, 384)

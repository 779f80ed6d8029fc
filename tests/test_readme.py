"""What the README shows works as it stands, and its links lead somewhere."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md"))),
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    ids = np.zeros((256, 256), np.int32)
    ids[15:35, 25:50], ids[60:90, 100:140] = 1, 2
    tifffile.imwrite("field01.tif", (rng.normal(20, 5, ids.shape) + 100 * (ids > 0)).clip(0).astype(np.uint8))
    labels = np.where(ids > 0, 2, 0)
    labels[200:210] = 1
    (shown,) = blocks("python")
    values: dict[str, object] = {"labels": labels, "ids": ids}
    exec(compile(shown.replace("seconds=60", "seconds=2"), "README.md", "exec"), values)
    values["project"].close()
    predicted, probabilities, grown = (np.asarray(values[key]) for key in ("labels", "probabilities", "grown"))
    assert predicted.shape == grown.shape == (256, 256)
    assert set(np.unique(predicted)) <= {1, 2}
    assert probabilities.shape == (2, 256, 256)
    assert probabilities.dtype == np.float32


def test_the_commands_of_the_readme_exist() -> None:
    from napari_weakseg.cli import app

    shown = [shlex.split(line, comments=True) for block in blocks("bash") for line in block.splitlines()]
    commands = [words for words in shown if words and words[0] == "napari-weakseg"]
    assert len(commands) >= 8
    for _, command, *words in commands:
        result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
        assert result.exit_code == 0, result.output
        for option in (word for word in words if word.startswith("--")):
            assert option in result.output, f"{command} has no {option}"


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target

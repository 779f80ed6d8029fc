"""The house stays in order: who may import whom, a valid manifest, cheap imports, one version."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import npe2
import pytest
from importlinter import cli

import napari_weakseg

ROOT = Path(__file__).parents[1]
PACKAGE = Path(napari_weakseg.__file__).parent


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a statement loads in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*sorted(sys.modules), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_imports_keep_to_the_contracts(capsys: pytest.CaptureFixture[str]) -> None:
    failed = cli.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert not failed, capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("napari_weakseg", {"numpy", "torch", "napari", "qtpy"}),
        ("napari_weakseg.core.project", {"torch", "napari", "qtpy"}),
        ("napari_weakseg.session", {"torch", "napari", "qtpy"}),
        ("napari_weakseg.cli", {"torch", "napari", "qtpy"}),
        ("napari_weakseg.widgets", {"torch"}),
    ],
)
def test_importing_is_cheap(module: str, unwanted: set[str]) -> None:
    assert not loaded_by(f"import {module}") & unwanted


def test_the_public_names_can_be_imported() -> None:
    from napari_weakseg import Project, Session

    assert Project.__name__ == "Project"
    assert Session.__name__ == "Session"
    assert {"Project", "Session"} <= set(dir(napari_weakseg))
    with pytest.raises(AttributeError, match="no_such_name"):
        napari_weakseg.no_such_name  # noqa: B018


def test_the_version_is_the_one_in_setup_cfg() -> None:
    stated = re.search(r"^version = (\S+)$", (ROOT / "setup.cfg").read_text(), re.M)
    assert stated
    assert napari_weakseg.__version__ == importlib.metadata.version("napari-weakseg") == stated[1]
    assert f"version: {stated[1]}" in (ROOT / "CITATION.cff").read_text()


def test_the_manifest_is_valid_and_every_command_exists() -> None:
    manifest = npe2.PluginManifest.from_file(PACKAGE / "napari.yaml")
    assert manifest.name == "napari-weakseg"
    manifest.validate_imports()


def test_napari_finds_the_manifest_by_its_entry_point() -> None:
    manifest = npe2.PluginManifest.from_distribution("napari-weakseg")
    assert manifest.contributions.widgets


def test_the_manifest_at_the_top_is_the_one_in_the_package() -> None:
    assert (ROOT / "napari.yaml").read_bytes() == (ROOT / "src/napari_weakseg/napari.yaml").read_bytes()

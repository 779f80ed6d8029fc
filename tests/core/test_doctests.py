import doctest
import importlib
import pkgutil

import pytest

import napari_weakseg.core

NAMES = [module.name for module in pkgutil.iter_modules(napari_weakseg.core.__path__)]


@pytest.mark.parametrize("name", NAMES)
def test_examples_in_docstrings_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"napari_weakseg.core.{name}")).failed == 0

"""Every example in a docstring of the library gives what it says."""

import doctest
import importlib
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_lottery as tfl

ROOT = Path(tfl.__file__).parent
MODULES = [
    ".".join(("tf_lottery", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(ROOT.rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run_as_written(name, data_dir, monkeypatch):
    monkeypatch.setenv("TF_LOTTERY_DATA", str(data_dir))
    keras.utils.clear_session(free_memory=False)  # automatic names of layers count up within a process
    result = doctest.testmod(importlib.import_module(name), extraglobs={"keras": keras, "np": np, "tfl": tfl})
    assert result.attempted
    assert not result.failed

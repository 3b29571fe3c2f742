"""Criteria, controls and rewind points of the user's own, through `find_ticket`."""

import importlib
import sys

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UsageError
from tf_lottery.experiment.controls import Control, ControlStart
from tf_lottery.experiment.directory import Job, RunReader
from tf_lottery.experiment.rewind_point import RewindPoint

L = keras.layers
X, Y = np.random.default_rng(0).normal(size=(64, 6)).astype("float32"), np.arange(64) % 3
MODULE = """
import numpy as np
from tf_lottery.experiment.controls import Control, ControlStart


def largest(weights):
    return {path: weight**2 for path, weight in weights.items()}


def turned(ticket):
    return ControlStart(ticket.masks, {path: -ticket.initial[path] for path in ticket.masks})


TURNED = Control(turned, "all signs turned")


def quarter(steps):
    return steps // 4
"""


def make():
    return keras.Sequential([keras.Input((6,)), L.Dense(8, "relu"), L.Dense(3, "softmax")])


def find(**options):
    given = {"loss": "sparse_categorical_crossentropy", "rounds": 1, "rate": 0.5, "steps": 8, "batch_size": 16}
    return tfl.find_ticket(make, X, Y, jit_compile=False, verbose=0, **{**given, **options})


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's in the current directory: its name, and what it holds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    yield name, importlib.import_module(name)
    sys.modules.pop(name, None)


def arrays(result, variant="ticket"):
    """The masks and trained weights of round 1, as bytes."""
    folder = RunReader(result.run_dir).job_folder(Job(0, 1, variant))
    stored = {}
    for name in ("masks", "weights"):
        with np.load(folder / f"{name}.npz") as members:
            stored |= {(name, path): members[path].tobytes() for path in members}
    return stored


def largest(weights):
    return {path: weight**2 for path, weight in weights.items()}


def test_a_criterion_is_a_name_a_function_a_lambda_or_an_import_path(own):
    name, module = own
    expected = arrays(find())  # squares rank as magnitudes do
    for criterion in ("magnitude", largest, lambda weights: largest(weights), module.largest, f"{name}:largest"):
        assert arrays(find(criterion=criterion)) == expected
    assert arrays(find(criterion=lambda weights: {path: -(weight**2) for path, weight in weights.items()})) != expected


def test_a_criterion_by_function_and_by_import_path_is_one_run(own, tmp_path):
    name, module = own
    first = find(criterion=module.largest, run_dir=tmp_path / "run")
    again = find(criterion=f"{name}:largest", run_dir=tmp_path / "run")
    assert again.rows == first.rows
    with pytest.raises(UsageError, match="holds a run of another configuration"):
        find(criterion=largest, run_dir=tmp_path / "run")


def test_a_control_is_a_function_an_object_or_an_import_path(own):
    name, module = own
    result = find(variants=("ticket", module.turned, "random_reinit", f"{name}:TURNED"))
    variants = {row["variant"] for row in result.rows if row["round"] == 1}
    assert variants == {"ticket", "random_reinit", f"{name}:turned", f"{name}:TURNED"}
    assert arrays(result, f"{name}:turned") == arrays(result, f"{name}:TURNED") != arrays(result)

    def same_start(ticket):
        return ControlStart(ticket.masks)

    for variants in (same_start, (Control(same_start, "the ticket again"),)):
        result = find(variants=variants)
        control = next(row["variant"] for row in result.rows if row["variant"] != "ticket")
        assert control.startswith("local:same_start-")
        assert arrays(result, control) == arrays(result)


def test_a_rewind_point_is_a_text_an_object_a_function_or_an_import_path(own):
    name, module = own
    expected = arrays(find(rewind="step:2"))
    for rewind in (RewindPoint("weights", "step", 2), module.quarter, lambda steps: steps // 4, f"{name}:quarter"):
        assert arrays(find(rewind=rewind)) == expected
    assert arrays(find()) != expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"criterion": "not_here:largest"}, r"No module named 'not_here'.*for the criterion"),
        ({"variants": ("not_here:turned",)}, r"No module named 'not_here'.*for the control"),
        ({"rewind": "not_here:quarter"}, r"No module named 'not_here'.*for the rewind function"),
        ({"criterion": lambda weights, *, temperature: weights}, "needs temperature, which an experiment does not"),
    ],
    ids=["criterion", "control", "rewind", "needs"],
)
def test_what_can_t_be_used_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        find(**options)

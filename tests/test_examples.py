"""The examples run as a user runs them: each as a process of its own, in an empty folder."""

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
# What the example of Optuna calls, with the settings of each trial drawn at random.
OPTUNA = """
import math
import random
from types import SimpleNamespace


class Trial:
    def __init__(self, generator):
        self.generator, self.params, self.user_attrs, self.value = generator, {}, {}, None

    def suggest_float(self, name, low, high, *, log=False):
        assert log
        self.params[name] = math.exp(self.generator.uniform(math.log(low), math.log(high)))
        return self.params[name]

    def suggest_categorical(self, name, choices):
        self.params[name] = self.generator.choice(choices)
        return self.params[name]

    def set_user_attr(self, name, value):
        self.user_attrs[name] = value


class Study:
    def __init__(self, seed):
        self.generator, self.trials = random.Random(seed), []

    def optimize(self, objective, n_trials):
        for _ in range(n_trials):
            trial = Trial(self.generator)
            trial.value = objective(trial)
            self.trials.append(trial)

    @property
    def best_trial(self):
        return max(self.trials, key=lambda trial: trial.value)


def create_study(*, direction, sampler):
    assert direction == "maximize"
    return Study(sampler)


samplers = SimpleNamespace(TPESampler=lambda seed: seed)
"""


def number(pattern: str, text: str) -> float:
    actual = re.search(pattern, text)
    assert actual is not None, text
    return float(actual[1])


@pytest.fixture(scope="module")
def run(run_python: Callable[..., str]) -> Callable[..., str]:
    """Runs an example in a folder; returns what it prints."""

    def run_example(example: str, *arguments: str, folder: Path) -> str:
        return run_python("-W", "error::UserWarning", ROOT / "examples" / example, *arguments, folder=folder)

    return run_example


@pytest.fixture(scope="module")
def own_model(run: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What `own_model.py` prints, and the folder that it ran in."""
    folder = tmp_path_factory.mktemp("own_model")
    return run("own_model.py", folder=folder), folder


@pytest.mark.slow
def test_own_model_finds_a_ticket(own_model: tuple[str, Path]) -> None:
    out, _ = own_model
    rounds = re.findall(r"round (\d) +(\w+): +([\d.]+)% of the weights, validation ([\d.]+)%, test ([\d.]+)%", out)
    assert [(int(r), v) for r, v, *_ in rounds] == [
        (0, "ticket"),
        *((r, v) for r in range(1, 7) for v in ("ticket", "random_reinit")),
    ]
    assert float(rounds[0][2]) == 100
    assert float(rounds[0][3]) > 90
    # A ticket within a point of the dense network, well below half of the weights; trained on, it has not collapsed.
    assert number(r"the ticket keeps ([\d.]+)%", out) < 50
    assert number(r"test loss [\d.]+, accuracy ([\d.]+)%", out) > 90


@pytest.mark.slow
def test_own_model_writes_verified_files(own_model: tuple[str, Path]) -> None:
    out, folder = own_model
    files = folder / "saved_models" / "own_model"
    report = json.loads((files / "export.json").read_text())
    assert report["samples"] == "given"
    # Whether a unit is dead depends on the processor. No file is refused for being wrong.
    not_worth_it = ("pays", "no smaller", "nothing to remove")
    wrong = [file for file in report["refused"] if not any(words in file["reason"] for words in not_worth_it)]
    assert wrong == []
    assert {file["format"] for file in report["files"]} == {"keras", "saved_model", "tflite"}
    tflite = [file for file in report["files"] if file["format"] == "tflite"]
    assert {file["precision"] for file in tflite} == {"float32", "float16", "dynamic", "int8"}
    sizes = {file["encoding"]: file["bytes"] for file in tflite if file["precision"] == "float32"}
    assert sizes["sparse"] < sizes["dense"] / 2
    assert report["best"] in {file["path"] for file in tflite}
    assert f"to ship: {report['best']}" in out
    assert [path.name for path in folder.iterdir()] == ["saved_models"]


@pytest.mark.slow
def test_own_model_stays_sparse_in_fit_and_needs_plain_keras_only(
    own_model: tuple[str, Path], run_python: Callable[..., str]
) -> None:
    """What `fit` trained further is still as sparse as the ticket, in a file that plain Keras loads."""
    out, folder = own_model
    code = (
        "import sys, keras, numpy as np; m = keras.models.load_model(sys.argv[1]); "
        "k = [np.array(m.get_layer(n).kernel.value) for n in ('conv', 'hidden', 'output')]; "
        "print(100 * sum(map(np.count_nonzero, k)) / sum(a.size for a in k), 'tf_lottery' in sys.modules)"
    )
    file = folder / "saved_models" / "own_model" / "model.keras"
    density, loaded = run_python("-c", code, file, folder=folder).split()
    assert loaded == "False"
    assert float(density) == pytest.approx(number(r"the ticket keeps ([\d.]+)%", out), abs=0.06)


def test_own_loop(run: Callable[..., str], tmp_path: Path) -> None:
    out = run("own_loop.py", folder=tmp_path)
    densities = [float(each) for each in re.findall(r"round \d: +([\d.]+)% of the weights", out)]
    # By hand: 6400 * 0.5**r and 1000 * 0.75**r of 7400, each round half to even (422 after 562.5 -> 562 weights).
    kept = [7400, 3200 + 750, 1600 + 562, 800 + 422, 400 + 316]
    assert densities == [round(100 * each / 7400, 1) for each in kept]
    accuracies = [float(each) for each in re.findall(r"test accuracy ([\d.]+)%", out)]
    assert len(accuracies) == 5
    assert np.min(accuracies) > 85
    assert "traced 1 time(s)" in out
    assert "400 of 6400 hidden weights are left" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_mobile(run: Callable[..., str], tmp_path: Path) -> None:
    """The ticket runs sparse on a phone, by the rules; the files are written, and say what they are."""
    out = run("mobile.py", "--steps", "30", "--to", "files", folder=tmp_path)
    assert re.findall(r"round (\d): +([\d.]+)% of the 1x1 weights", out) == [
        ("0", "100.0"),
        ("1", "45.0"),
        ("2", "20.0"),
    ]
    assert re.findall(r"CONV_2D (block_\d_pointwise) +(.+)", out) == [
        (f"block_{number}_pointwise", "sparse on ARM") for number in range(1, 7)
    ]
    assert number(r"of the multiplications are on sparse kernels.* ([\d.]+) % on ARM", out) > 80
    report = json.loads((tmp_path / "files" / "export.json").read_text())
    sizes = {file["encoding"]: file["bytes"] for file in report["files"] if file["precision"] == "float32"}
    assert sizes["sparse"] < sizes["dense"] / 2
    assert (tmp_path / report["best"]).is_file()
    assert f"to ship: {report['best']}" in out
    assert [path.name for path in tmp_path.iterdir()] == ["files"]


@pytest.mark.slow
def test_optuna_search(run: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Optuna where it is installed; otherwise with a stand-in for the calls that the example makes of it."""
    if importlib.util.find_spec("optuna") is None:
        (tmp_path / "modules").mkdir()
        (tmp_path / "modules" / "optuna.py").write_text(OPTUNA)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    folder = tmp_path / "empty"
    folder.mkdir()
    out = run("optuna_search.py", "--trials", "2", folder=folder)
    assert re.search(r"best of 2 trials: learning_rate [\d.e-]+, criterion \w+, rewind [\w:]+\n", out), out
    # 640 of 6,400 and 100 of 1,000 weights, but for the rounding of each round.
    assert number(r"([\d.]+)% of the weights", out) == pytest.approx(10, abs=0.1)
    assert number(r"validation accuracy ([\d.]+)%", out) > 50
    assert number(r"test accuracy ([\d.]+)%", out) > 50
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_say_how_they_are_run(example: Path) -> None:
    text = example.read_text()
    assert f"python examples/{example.name}" in text
    assert re.search(r"^def main\(", text, re.MULTILINE)
    assert f"(examples/{example.name})" in (ROOT / "README.md").read_text()

"""The proof of bit-equality sees a single bit, names what differs, and refuses what can't be compared."""

import copy
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with hand-made arrays in the place of runs: those of a folder that is named for what differs."""
    import bit_equality

    def run(name: str, checkout: Path, folder: Path) -> dict[str, dict[str, Any]]:
        jobs = {"replicate_0/round_00": hand_made(), "replicate_0/round_01": hand_made()}
        if checkout.name == "flipped":
            flip_bit(jobs["replicate_0/round_01"]["weights.npz/dense/kernel"])
        return jobs

    monkeypatch.setattr(bit_equality, "run_configuration", run)
    return bit_equality


def hand_made() -> dict[str, Any]:
    kernel = np.array([[0.5, -0.0], [1.0, np.nan]], "float32")
    return {"weights.npz/dense/kernel": kernel, "masks.npz/dense/kernel": kernel > 0, "row/steps": np.asarray(10)}


def flip_bit(array: Any) -> None:
    """Change the last bit of the second value: 0.0 of the other sign becomes the smallest number, say."""
    array.view("uint32").ravel()[1] ^= 1


def checkout(folder: Path) -> Path:
    (folder / "tf_lottery").mkdir(parents=True)
    return folder


def test_digest_sees_bits_keys_types_and_shapes() -> None:
    from bit_arrays import digest_arrays

    arrays = hand_made()
    kernel = arrays["weights.npz/dense/kernel"]
    flipped, signed = copy.deepcopy(arrays), copy.deepcopy(arrays)
    flip_bit(flipped["weights.npz/dense/kernel"])
    signed["weights.npz/dense/kernel"][0, 1] = 0.0
    others = [
        flipped,
        signed,
        {**arrays, "weights.npz/dense/kernel": kernel.reshape(4)},
        {**arrays, "weights.npz/dense/kernel": kernel.view("int32")},
        {**arrays, "weights.npz/dense/kernel": kernel.T},
        {**arrays, "row/steps": np.asarray([10])},
        {**arrays, "more": np.zeros(0)},
        {key.replace("dense", "other"): array for key, array in arrays.items()},
    ]
    digests = [digest_arrays(each) for each in (arrays, *others)]
    assert len(set(digests)) == len(digests)
    # Neither the order of the keys nor the layout in memory counts.
    reordered = {key: np.asfortranarray(arrays[key]) for key in reversed(arrays)}
    reordered["row/steps"] = arrays["row/steps"]
    assert digest_arrays(reordered) == digests[0]


def test_differences_are_named() -> None:
    from bit_arrays import differences

    before = {"replicate_0/round_00": hand_made(), "replicate_0/round_01": hand_made(), "tickets": {}}
    assert list(differences(before, copy.deepcopy(before))) == []
    after = copy.deepcopy(before)
    del after["tickets"]
    flip_bit(after["replicate_0/round_00"]["weights.npz/dense/kernel"])
    after["replicate_0/round_01"]["weights.npz/dense/kernel"] = np.ones(4, "float32")
    after["replicate_0/round_01"] |= {"row/steps": np.asarray(11), "history/000/val_loss": np.asarray(0.5)}
    assert list(differences(before, after)) == [
        "replicate_0/round_00: weights.npz/dense/kernel: 1 of 4 values of float32 differ",
        "replicate_0/round_01: weights.npz/dense/kernel: float32 (2, 2) before, float32 (4,) after",
        "replicate_0/round_01: history/000/val_loss: only after",
        "replicate_0/round_01: row/steps: 10 before, 11 after",
        "tickets: only before",
    ]


def test_a_run_directory_is_read_without_times(tmp_path: Path) -> None:
    from bit_arrays import read_run

    folders = {"": "ticket", "variants/random_reinit": "random_reinit"}
    lines = ["replicate,round,variant,val_loss,seconds"]
    for number, (inside, variant) in enumerate(folders.items()):
        folder = tmp_path / "replicate_0/round_01" / inside
        folder.mkdir(parents=True)
        np.savez(folder / "masks.npz", **{"dense/kernel": np.array([True, False])})
        record = {"step": 5, "val_loss": 0.25, "val_accuracy": None, "seconds": 1.0 + number}
        (folder / "metrics.json").write_text(json.dumps({"row": record, "history": [record], "seconds": {"train": 1}}))
        (folder / "manifest.json").write_text("{}")
        lines.append(f"0,1,{variant},0.25,{1.0 + number}")
    (tmp_path / "results.csv").write_text("\n".join(lines) + "\n")
    jobs = read_run(tmp_path)
    assert list(jobs) == ["replicate_0/round_01", "replicate_0/round_01/variants/random_reinit"]
    values = ("step", "val_loss", "val_accuracy")
    assert set(jobs["replicate_0/round_01"]) == {
        "masks.npz/dense/kernel",
        *(f"{prefix}/{name}" for prefix in ("row", "history/000") for name in values),
        *(f"results.csv/{name}" for name in ("replicate", "round", "variant", "val_loss")),
    }
    (tmp_path / "results.csv").write_text("\n".join([*lines, "0,2,ticket,0.25,1.0"]) + "\n")
    with pytest.raises(ValueError, match="round_02"):
        read_run(tmp_path)


def test_exit_code_against_a_checkout(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = ["--only", "mlp", "--only", "conv"]
    assert script.main([*only, "--against", str(checkout(tmp_path / "same"))]) == 0
    assert capsys.readouterr().out.count('"equal": true') == 2
    assert script.main([*only, "--against", str(checkout(tmp_path / "flipped"))]) == 1
    output = capsys.readouterr().out
    assert output.count('"equal": false') == 2
    assert "replicate_0/round_01: weights.npz/dense/kernel: 1 of 4 values of float32 differ" in output


def test_exit_code_with_stored_digests(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "digests.json"
    assert script.main(["--only", "mlp", "--write", str(file)]) == 0
    compare = ["--only", "mlp", "--digests", str(file)]
    assert script.main(compare) == 0
    # Another processor proves equality, but no difference.
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | {"processor": "another one"}))
    assert script.main(compare) == 0
    document["configurations"]["mlp"]["jobs"]["replicate_0/round_01"] = "0" * 64
    file.write_text(json.dumps(document))
    capsys.readouterr()
    assert script.main(compare) == 1
    assert "  replicate_0/round_01: 000000000000 stored," in capsys.readouterr().out
    file.write_text(json.dumps(document | {"processor": "another one"}))
    assert script.main(compare) == 2
    # Other versions: nothing is run.
    monkeypatch.setattr(script, "run_configuration", None)
    document["environment"]["numpy"] = "0.1"
    file.write_text(json.dumps(document))
    assert script.main(compare) == 2
    assert "numpy 0.1, and this is" in capsys.readouterr().err


def test_stored_digests_cover_every_configuration(script: ModuleType) -> None:
    document = json.loads((BENCHMARKS / "bit_equality.json").read_text())
    assert document["schema"] == script.SCHEMA
    assert list(document["configurations"]) == list(script.CONFIGURATIONS)
    assert document["environment"].keys() == script.describe_environment().keys()
    for record in document["configurations"].values():
        assert record["digest"] == script.digest_jobs(record["jobs"])


def test_a_package_from_elsewhere_is_refused(tmp_path: Path) -> None:
    import bit_child

    import tf_lottery

    bit_child.check_origin(Path(tf_lottery.__file__).parents[1], ["tf_lottery"])
    with pytest.raises(SystemExit, match="not from"):
        bit_child.check_origin(tmp_path, ["tf_lottery"])


def test_both_signatures_of_find_ticket_are_called() -> None:
    from bit_child import data_arguments

    arrays = {"train": ("x", "y"), "validation": ("vx", "vy"), "test": ("tx", "ty")}
    assert data_arguments({"model": None, "train": None}, arrays) == ((), arrays)
    named = {"validation_data": ("vx", "vy"), "test_data": ("tx", "ty")}
    assert data_arguments({"model": None, "x": None}, arrays) == (("x", "y"), named)
    assert data_arguments({"x": None, "verbose": None}, arrays) == (("x", "y"), {**named, "verbose": 0})

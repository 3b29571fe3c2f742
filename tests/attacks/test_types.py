"""Values of types that no file of this library has, and numbers beyond measure, are errors of ours."""

import json

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from sent_files import MASKS, METRICS, MODEL, ROW, WEIGHTS, archive, ticket_arrays, write_run, write_training
from tf_lottery_cli.app import app
from tf_lottery_cli.failures import describe

import tf_lottery as tfl
from tf_lottery.errors import DamagedError, LotteryError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import RunReader
from tf_lottery.experiment.run_state import read_state
from tf_lottery.experiment.run_verification import verify_run
from tf_lottery.layers import model_from_architecture

ROUND = "replicate_0/round_00"
SCHEMA = {"schema": "tf-lottery.ticket/1"}
KERNEL = "dense/kernel"


def command(*arguments):
    """The exit code and what the command line says, as in a process of its own."""
    result = CliRunner().invoke(app, list(map(str, arguments)), prog_name="tf-lottery")
    if isinstance(result.exception, Exception):
        failure = describe(result.exception, arguments[0])
        return failure.code, " ".join(failure.lines)
    return result.exit_code, result.output


ARRAYS = {
    "complex weights": {f"rewind/{KERNEL}": np.zeros((64, 10), complex)},
    "dates": {f"rewind/{KERNEL}": np.zeros((64, 10), "datetime64[s]")},
    "times": {f"trained/{KERNEL}": np.zeros((64, 10), "timedelta64[s]")},
    "records": {f"rewind/{KERNEL}": np.zeros((64, 10), [("a", "f4"), ("b", "i4")])},
    "objects": {f"rewind/{KERNEL}": np.full((64, 10), None, object)},
    "texts": {f"rewind/{KERNEL}": np.full((64, 10), "a")},
    "bytes": {f"rewind/{KERNEL}": np.full((64, 10), b"a")},
    "nothing": {f"rewind/{KERNEL}": np.zeros((64, 10), "V4")},
    "objects of no weight": {"rewind/other": np.full(3, None, object)},
    "masks of numbers": {f"masks/{KERNEL}": np.ones((64, 10), "uint8")},
    "masks of objects": {f"masks/{KERNEL}": np.full((64, 10), True, object)},
    "a mask of another shape": {f"masks/{KERNEL}": np.ones((10, 64), bool)},
    "a mask without a layer": {"masks/other/kernel": np.ones((2, 2), bool)},
    "no masks": {f"masks/{KERNEL}": None},
    "no trained weights of a mask": {f"trained/{KERNEL}": None},
    "a foreign array": {"junk": np.zeros(3)},
    "no recipe": {"recipe": None},
    "a recipe of objects": {"recipe": np.full(3, None, object)},
    "a recipe of texts": {"recipe": np.array("text")},
    "a recipe of floats": {"recipe": np.zeros(3)},
}
RECIPES = {
    "no JSON": b"{",
    "no UTF-8": b"\xff\xfe\xff",
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "another schema": b'{"schema": "other"}',
    "half a surrogate pair": json.dumps({**SCHEMA, "row": {"variant": "\ud800"}}).encode(),
    "half a pair as a key": json.dumps({**SCHEMA, "\udfff": 1}).encode(),
    "a configuration that is a list": json.dumps({**SCHEMA, "config": []}).encode(),
    "a configuration with a key twice": json.dumps(
        {**SCHEMA, "config": {"normalization": "unit", "normalisation": "unit"}}
    ).encode(),
    "a row that is a text": json.dumps({**SCHEMA, "row": "row"}).encode(),
    "a row of lists": json.dumps({**SCHEMA, "row": {"val_accuracy": [1]}}).encode(),
    "an architecture that is a table": json.dumps({**SCHEMA, "architecture": {}}).encode(),
    "a round that is a text": json.dumps({**SCHEMA, "round": "one"}).encode(),
    "a round that is true": json.dumps({**SCHEMA, "round": True}).encode(),
    "an endless number": b'{"schema": "tf-lottery.ticket/1", "round": ' + b"9" * 5000 + b"}",
}


def damaged_ticket(path, content):
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        tfl.load_ticket(path)
    for arguments in (("verify", path), ("export", path, "--to", path.parent / "to")):
        code, text = command(*arguments)
        assert code == 5
        assert "This is a bug" not in text


@pytest.mark.parametrize("name", ARRAYS)
def test_tickets_of_other_arrays(tmp_path, name):
    damaged_ticket(tmp_path / "sent.npz", archive(ticket_arrays(**ARRAYS[name])))


@pytest.mark.parametrize("name", RECIPES)
def test_tickets_of_other_recipes(tmp_path, name):
    damaged_ticket(tmp_path / "sent.npz", archive(ticket_arrays(RECIPES[name])))


def test_a_ticket_that_is_whole(tmp_path):
    (tmp_path / "sent.npz").write_bytes(
        archive(ticket_arrays({**SCHEMA, "architecture": json.dumps(MODEL), "row": ROW}))
    )
    ticket = tfl.load_ticket(tmp_path / "sent.npz")
    assert ticket.val_accuracy == 0.2
    assert ticket.model().count_params() == 650
    assert command("verify", tmp_path / "sent.npz")[0] == 0


def changed(**row):
    return METRICS | {"row": ROW | row}


DOCUMENTS = {
    "a list": [],
    "null": None,
    "no row": {key: value for key, value in METRICS.items() if key != "row"},
    "a row that is a list": METRICS | {"row": []},
    "a row without columns": METRICS | {"row": {"replicate": 0, "round": 0, "variant": "ticket"}},
    "a density that is a text": changed(density="all"),
    "a loss that is a list": changed(val_loss=[1.0]),
    "a time that is a text": changed(seconds="long"),
    "a round that is a text": changed(round="0"),
    "a variant that is a number": changed(variant=1),
    "a count beyond measure": changed(weights_kept=10**400),
    "a loss beyond measure": changed(val_loss=10**400),
    "a metric of one's own that is a table": changed(val_f1={}),
    "no evaluations": METRICS | {"history": None},
    "evaluations that are numbers": METRICS | {"history": [1, 2]},
    "evaluations of lists": METRICS | {"history": [{"step": [1]}]},
    "layers that are a list": METRICS | {"layers": [1]},
    "counts that are texts": METRICS | {"layers": {KERNEL: {"kept": "all", "total": 640}}},
    "pins that are a list": METRICS | {"pinned": []},
    "half a surrogate pair": changed(variant="\ud800"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_metrics_of_other_types(tmp_path, name):
    run = write_run(tmp_path / "sent")
    write_training(run / ROUND, metrics=DOCUMENTS[name])
    with pytest.raises(DamagedError):
        RunReader(run).rows()
    assert read_state(run).state == "damaged"
    assert verify_run(RunReader(run)).problems
    for arguments in (
        ("status", run),
        ("ls", "--out", tmp_path),
        ("report", run),
        ("compare", run, run),
        ("verify", run),
    ):
        code, text = command(*arguments)
        assert "This is a bug" not in text, arguments
        assert code in (0 if arguments[0] == "ls" else 5, 2), arguments


ARRAYS_OF_RUNS = {
    "complex weights": {"weights": WEIGHTS | {KERNEL: np.zeros((64, 10), complex)}},
    "objects": {"weights": WEIGHTS | {KERNEL: np.full((64, 10), None, object)}},
    "texts": {"weights": WEIGHTS | {KERNEL: np.full((64, 10), "a")}},
    "masks of numbers": {"masks": {KERNEL: np.ones((64, 10))}},
    "a mask without a layer": {"masks": MASKS | {"other/kernel": np.ones((2, 2), bool)}},
    "no arrays": {"masks": {}, "weights": {}},
}


@pytest.mark.parametrize("name", ARRAYS_OF_RUNS)
def test_arrays_of_a_training_of_other_types(tmp_path, name):
    run = write_run(tmp_path / "sent")
    write_training(run / ROUND, **ARRAYS_OF_RUNS[name])
    assert [text for text in verify_run(RunReader(run)).problems if "rewind" not in text and "model.json" not in text]
    code, text = command("verify", run)
    assert code == 5
    assert "This is a bug" not in text


CONFIGURATIONS = {
    "threads": 100_000_000,
    "jobs": 100_000_000,
    "replicates": 10**9,
    "rounds": 10**9,
    "steps": "many",
    "rate": [0.2],
    "variants": {"a": 1},
    "densities": [[1]],
    "classes": ["one"],
    "seed": -1,
    "seed ": 1,
    "model": 3,
    "rewind": [],
    "criterion": None,
    "layer_rates": 3,
    "min_density": {"a": [1]},
    "normalization": {},
    "preset": "../outside",
    "data_dir": "\ud800",
    "batch_size": 1e400,
    "epochs": True,
    "granularity": [],
    "include": [1],
}


@pytest.mark.parametrize("key", CONFIGURATIONS)
def test_configurations_of_other_types(tmp_path, key):
    run = write_run(tmp_path / "sent", **{key: CONFIGURATIONS[key]})
    with pytest.raises(DamagedError):
        RunReader(run).config()
    assert read_state(run).state == "damaged"
    for arguments in (("status", run), ("report", run), ("run", "--config", run / "config.json", "--dry-run")):
        code, text = command(*arguments)
        assert "This is a bug" not in text
        assert code in (2, 5)


@pytest.mark.parametrize("option", ["threads", "jobs"])
def test_no_process_is_asked_for_that_many(option):
    with pytest.raises(UsageError, match=f"`{option}` must be at most 1024"):
        Config(**{option: 100_000_000})
    code, text = command("run", f"--{option}", 100_000_000, "--dry-run")
    assert code == 2
    assert f"--{option}" in text


def test_messages_move_no_cursor():
    failure = describe(DamagedError("A file says \x1b[2J\x07\x9b31m\u202e.", "Do \x1b]0;not\x07."), "verify")
    assert all(line.isprintable() for line in failure.lines)
    assert r"\x1b[2J" in failure.lines[0]


@pytest.mark.parametrize("text", ["-" * 100_000 + "1", "(" * 50_000, "a(" * 5_000, "f(" + "[" * 90 + "]" * 90 + ")"])
def test_messages_may_quote_anything(text):
    error = DamagedError(f"A file says `{text}`.", f"Read `x={text}`.")
    assert str(error)
    assert describe(error, "verify").code == 5


@pytest.mark.parametrize(
    "change",
    [
        {"units": "ten"},
        {"units": -1},
        {"units": None},
        {"units": [10]},
        {"units": 1e400},
        {"name": 3},
        {"name": "a/b\x00"},
        {"dtype": 3},
        {"dtype": {"class_name": "DTypePolicy"}},
        {"activation": 7},
        {"activation": {"a": {}}},
        {"kernel_initializer": {"class_name": "Zeros", "config": 3}},
    ],
    ids=str,
)
def test_architectures_of_other_types(change):
    document = json.loads(json.dumps(MODEL))
    document["config"]["layers"][-1]["config"] |= change
    try:
        model = model_from_architecture(json.dumps(document))
    except LotteryError:
        return
    assert isinstance(model, keras.Model)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "1", '"text"', "{}", '{"class_name": "Model"}', '{"variables": {}}']
)
def test_texts_that_are_no_architecture(text):
    with pytest.raises(LotteryError):
        model_from_architecture(text)

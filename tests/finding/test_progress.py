"""What `verbose` shows: bars in a terminal, a line for each training elsewhere."""

import contextlib
import io
import re
import sys

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UsageError
from tf_lottery.finding import progress_display as display

L = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(80, 6)).astype("float32"), RNG.integers(0, 3, 80)


def make():
    return keras.Sequential([keras.Input((6,)), L.Dense(10, activation="relu"), L.Dense(3)])


def find(**options):
    defaults = {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "metrics": ["accuracy"]}
    defaults |= {"rounds": 1, "rate": 0.5, "steps": 8, "batch_size": 16, "eval_every": 4, "jit_compile": False}
    return tfl.find_ticket(make, X, Y, **{**defaults, **options})


class Terminal(io.StringIO):
    """A stdout that can write over a line."""

    def isatty(self):
        return True


def on_terminal(**options):
    """The result, and what a terminal got to show."""
    stream = Terminal()
    with contextlib.redirect_stdout(stream):
        result = find(**options)
    return result, stream.getvalue()


def visible(text):
    """What is left on the screen: no styles, and only the last version of each line."""
    plain = re.sub(r"\x1b\[\d+m", "", text).replace("\b", "")
    return [line.rpartition("\r")[2].rstrip() for line in plain.split("\n")[:-1]]


def test_off_a_terminal_each_training_has_a_line(capsys):
    result = find(variants=("ticket", "random_reinit"))
    lines = capsys.readouterr().out.splitlines()
    titles = ["Round 0/1, ticket", "Round 1/1, ticket", "Round 1/1, random_reinit"]
    for line, title, row in zip(lines, titles, result.rows, strict=True):
        values = f"density: {row['density']:.4f} - loss: {row['train_loss']:.4f}"
        assert re.fullmatch(rf"{title}: {values} - val_accuracy: {row['val_accuracy']:.4f} - \d+s", line), line
    find(verbose=1, rounds=0)
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize("verbose", ["auto", 1])
def test_in_a_terminal_each_training_has_a_bar(verbose):
    result, shown = on_terminal(verbose=verbose)
    lines = visible(shown)
    assert lines[0::2] == ["Round 0/1, ticket", "Round 1/1, ticket"]
    for line, row in zip(lines[1::2], result.rows, strict=True):
        assert re.match(r"8/8 ━+ \d+s \d+(us|ms|s)/step - density: ", line), line
        assert f"density: {row['density']:.4f}" in line
        assert f"loss: {row['train_loss']:.4f} - val_accuracy: {row['val_accuracy']:.4f}" in line
    assert "\r" in shown


def test_a_bar_counts_the_steps_of_its_own_training():
    lines = visible(on_terminal(replicates=2, rewind="step:3")[1])
    assert lines[0::2] == [
        f"Round {number}/1, replicate {replicate}, ticket" for number in (0, 1) for replicate in (0, 1)
    ]
    assert [line.split()[0] for line in lines[1::2]] == ["8/8", "8/8", "5/5", "5/5"]


def test_a_line_for_each_training_on_request():
    assert re.fullmatch(r"Round 0/0, ticket: density: 1.0000 - .*\n", on_terminal(verbose=2, rounds=0)[1])


def test_a_notebook_shows_bars(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setitem(sys.modules, "ipykernel", None)
    assert isinstance(display.progress_display("auto"), display.ProgressBars)


def test_silence(capsys):
    find(verbose=0, rounds=0)
    assert capsys.readouterr() == ("", "")


def test_without_an_accuracy_the_validation_loss_is_shown(capsys):
    find(metrics=None, rounds=0)
    assert re.search(r"density: 1.0000 - loss: \d.\d+ - val_loss: \d.\d+ - \d+s$", capsys.readouterr().out.rstrip())


def test_what_is_done_already_is_said(capsys, tmp_path):
    find(run_dir=tmp_path / "run", rounds=0)
    capsys.readouterr()
    find(run_dir=tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"1 of 2 trainings are already done in {tmp_path / 'run'}."
    assert lines[1].startswith("Round 1/1, ticket: ")


def test_without_interactive_logging_of_keras_it_goes_to_the_log(capsys, caplog):
    keras.config.disable_interactive_logging()
    try:
        with caplog.at_level("INFO", logger=display.__name__):
            display.show("Round 0/1, ticket\n")
    finally:
        keras.config.enable_interactive_logging()
    assert [record.getMessage() for record in caplog.records] == ["Round 0/1, ticket"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("verbose", [3, "yes", None])
def test_another_verbosity_is_refused(verbose):
    with pytest.raises(UsageError, match="`verbose` must be 'auto', 0, 1 or 2"):
        find(verbose=verbose)

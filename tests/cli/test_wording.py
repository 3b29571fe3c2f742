"""Messages of the library in the command line: the same data, shown as flags and commands."""

from importlib import import_module

import click
import pytest
from tf_lottery_cli import output, wording
from tf_lottery_cli.app import app
from tf_lottery_cli.wording import in_flags

from tf_lottery.data import load
from tf_lottery.errors import LotteryError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import RunDirectory


@pytest.mark.parametrize(
    ("text", "command", "expected"),
    [
        ("Start over with `fresh=True`.", "run", "Start over with --fresh."),
        ("Start over with `fresh=True`.", "status", "Start over with --fresh."),
        ("Start over with `fresh=True`.", "", "Start over with --fresh."),
        ("`rate` must be below 1.", "run", "--rate must be below 1."),
        ("Use `device='cpu'`.", "run", "Use --device cpu."),
        ("Pass `densities=(1, 0.5)`.", "run", "Pass --densities 1,0.5."),
        ("Use `flip=False` or `flip=True`.", "run", "Use --no-flip or --flip."),
        ("Choose another `run_dir`.", "run", "Choose another --out."),
        ("Give training data as `calibration`.", "export", "Give training data as --dataset."),
        ("Give `samples=...`.", "export", "Give --samples."),
        ("Give `labels=...`.", "export", "Give --dataset."),
        ("Choose another `data_dir`.", "data prepare", "Choose another --data-dir."),
        ("Name more `rounds`.", "analyze", "Name more --rounds."),
        ("Read it with `keras.models.load_model`.", "run", "Read it with `keras.models.load_model`."),
        ("`confidence` must be in (0, 1).", "report", "`confidence` must be in (0, 1)."),
        ("Call `tf_lottery.data.prepare('a b', download=True)`.", "run", "Call `tf-lottery data prepare 'a b'`."),
        ("See `tf_lottery.data.prepare('x', data_dir='y z')`", "", "See `tf-lottery data prepare x --data-dir 'y z'`"),
        ("Write it by `tfl.export(model, format='tflite')`.", "", "Write it by `tf-lottery export --formats tflite`."),
        ("Take `tfl.gradients(model, x, y, loss=...)`.", "run", "Take `tfl.gradients(model, x, y, loss=...)`."),
    ],
)
def test_arguments_are_flags_and_calls_are_commands(text, command, expected):
    assert in_flags(text, command) == expected


def test_functions_with_commands_and_their_commands_exist():
    for name, line in wording.COMMANDS_BY_FUNCTION.items():
        module, _, function = name.replace("tfl.", "tf_lottery.").rpartition(".")
        assert callable(getattr(import_module(module), function)), name
        command = app
        for word in line.split():
            command = command.get_command(click.Context(command), word)
        assert command is not None, line
    for name in wording.SPECIAL_COMMANDS:
        module, _, function = name.rpartition(".")
        assert callable(getattr(import_module(module), function)), name


def test_renamed_arguments_are_options():
    context = click.Context(app)
    for name in app.list_commands(context):
        command = app.get_command(context, name)
        options = {option.name for option in command.params}
        assert set(getattr(command, "arguments", {}).values()) <= options, name


def damaged_config(tmp_path):
    (tmp_path / "runs/x").mkdir(parents=True)
    (tmp_path / "runs/x/config.json").write_text('{"schema": "tf-lottery.run/1", "rounds": -1}')
    return tmp_path / "runs" / "x"


@pytest.mark.parametrize(
    ("fail", "arguments", "python", "flags"),
    [
        (
            lambda path: RunDirectory(path).config(),
            ["report", "x"],
            "tart over with `fresh=True`",
            "tart over with --fresh",
        ),
        (
            lambda path: load("fashion_mnist", data_dir="elsewhere"),
            ["data", "check", "fashion_mnist", "--data-dir", "elsewhere"],
            "`tf_lottery.data.prepare('fashion_mnist', data_dir='elsewhere', download=True)`",
            "`tf-lottery data prepare fashion_mnist --data-dir elsewhere`",
        ),
        (
            lambda path: Config(steps=10, epochs=1.0),
            ["run", "--steps", "10", "--epochs", "1"],
            "`steps`",
            "--steps",
        ),
        (
            lambda path: Config(mask_distance=2.0, pruning="early_bird"),
            ["run", "--config", "c.toml"],
            "`mask_distance`",
            "--mask-distance",
        ),
        (
            lambda path: Config(search_steps=5, pruning="one_shot"),
            ["run", "--search-steps", "5", "--pruning", "one_shot"],
            "`search_steps`",
            "--search-steps",
        ),
    ],
)
def test_an_error_names_arguments_in_python_and_flags_here(
    fail, arguments, python, flags, tmp_path, monkeypatch, invoke
):
    monkeypatch.chdir(tmp_path)
    path = damaged_config(tmp_path)
    (tmp_path / "c.toml").write_text("mask_distance = 2.0\npruning = 'early_bird'\n")
    with pytest.raises(LotteryError) as caught:
        fail(path)
    assert python in str(caught.value)
    stderr = invoke(*arguments).stderr
    assert flags in stderr
    assert python not in stderr


def test_what_is_printed_names_the_flags_of_the_command_at_work(capsys):
    with click.Context(app, info_name="tf-lottery") as above, click.Context(click.Command("x"), above, "export"):
        output.remark("`labels`")
        output.print_line("`labels`")
        output.print_table(("a",), [("`labels`",)])
        output.print_json({"a": ["`labels`", 1.5, None]})
    printed = capsys.readouterr()
    assert printed.err == "--dataset\n"
    assert printed.out == '--dataset\na\n--dataset\n{\n  "a": [\n    "--dataset",\n    1.5,\n    null\n  ]\n}\n'

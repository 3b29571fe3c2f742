"""Small parts: completion, tables, noise, presets, data, and the diagnosis."""

import json
import logging
import os
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete
from tf_lottery_cli import output
from tf_lottery_cli.app import app
from tf_lottery_cli.process import NOISE


def test_tables_off_a_terminal_have_each_row_on_a_line(capsys):
    output.print_table(("[Name]", "Count"), [("a" * 200, "1"), ("[b]", "23")], right=(False, True))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{'[Name]':<200}  Count", f"{'a' * 200}  {'1':>5}", f"{'[b]':<200}  {'23':>5}"]


@pytest.mark.parametrize(
    ("line", "noise"),
    [
        (b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n", True),
        (b"I0000 00:00:1795181366.152734    1399 port.cc:153] oneDNN custom operations are on.\n", True),
        (b"2026-11-20 13:29:25.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] This\n", True),
        (b"E0000 00:00:1795181366.152734    1399 cuda.cc:1] failed\n", False),
        (b"In my own model\n", False),
    ],
)
def test_only_chatter_is_noise(line, noise):
    assert bool(NOISE.match(line)) is noise


def complete(arguments, incomplete):
    items = ShellComplete(app, {}, "tf-lottery", "_TF_LOTTERY_COMPLETE").get_completions(arguments, incomplete)
    return [item.value for item in items]


def test_completion_knows_commands_presets_runs_and_data(copied):
    assert complete([], "ver") == ["verify"]
    assert complete(["run"], "digits") == ["digits-mlp"]
    assert complete(["run", "--dataset"], "mnis") == ["mnist"]
    assert complete(["run", "--model"], "conv") == ["conv2", "conv4", "conv6"]
    assert complete(["status"], "digits") == [copied.name]
    assert complete(["data", "check"], "digi") == ["digits"]
    assert "--rounds" in complete(["run"], "--ro")


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_scripts(shell_name, invoke):
    result = invoke("completion", shell_name)
    assert result.exit_code == 0
    assert "_TF_LOTTERY_COMPLETE" in result.stdout


def test_the_completion_of_a_real_bash(tmp_path):
    variables = {"COMP_WORDS": "tf-lottery sta", "COMP_CWORD": "1", "_TF_LOTTERY_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-m", "tf_lottery_cli"], env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "plain,status"


def test_presets_as_json(invoke):
    document = json.loads(invoke("presets", "--json").stdout)
    assert document["schema"] == "tf-lottery.presets/1"
    names = [preset["name"] for preset in document["presets"]]
    assert names[0] == "digits-mlp"
    assert {"mnist-lenet-300-100", "mnist-fc1-35", "mnist-lenet5-35", "cifar10-conv6"} <= set(names)
    assert all(preset["source"] and preset["cost"] and preset["expect"] for preset in document["presets"])


def test_data_check_reads_every_example(invoke):
    document = json.loads(invoke("data", "check", "digits", "--json").stdout)
    assert sum(split["examples"] for split in document["splits"].values()) == 1797
    assert document["value_range"] == [0, 16]
    result = invoke("data", "check", "nosuch/../x")
    assert result.exit_code == 2


def test_data_list_as_json(invoke, data_dir):
    document = json.loads(invoke("data", "list", "--data-dir", data_dir, "--json").stdout)
    status = {row["name"]: row["status"] for row in document["datasets"]}
    assert status["digits"] == "embedded"
    assert status["cifar10_subset"] == "prepared"


def test_the_dry_run_writes_nothing_and_counts_exactly(shell, tmp_path):
    done = shell("run", "--rounds", "3", "--replicates", "2", "--dry-run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "tf-lottery.dry-run/1"
    assert document["weights_kept"] == [11900, 8988, 6795, 5144]
    assert (document["jobs"], document["steps"], document["rewind_step"]) == (14, 1500, 0)
    assert document["seconds"] > document["chain_seconds"] > 0
    assert document["chain_length"] == 4  # the rounds of a replicate
    assert document["disk_bytes"] > 14 * 12060 * 4
    assert 0.5e9 < document["memory_bytes"] < 4e9
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_doctor_fails_where_runs_cannot_be_written(shell, tmp_path):
    (tmp_path / "file").write_text("")
    done = shell("doctor", "--out", "file/runs", "--json", cwd=tmp_path)
    assert done.returncode == 1
    checks = {check["name"]: check["status"] for check in json.loads(done.stdout)["checks"]}
    assert checks["Runs folder"] == "fail"
    assert checks["XLA"] == checks["LiteRT"] == checks["Keras backend"] == "ok"
    assert "Runs folder" in done.stderr


def test_a_warning_is_printed_once_where_a_library_has_given_the_root_logger_a_handler(capsys):
    root, printed = logging.getLogger(), []
    handler = logging.Handler()
    handler.emit = printed.append
    root.addHandler(handler)
    try:
        with click.Context(click.Command("export")) as context:
            output.set_up_logging(context)
            logging.getLogger("tf_lottery.exporting").warning("refused")
        assert (capsys.readouterr().err, printed) == ("warning: refused\n", [])
        logging.getLogger("tf_lottery.exporting").warning("of the library, after the command")
        assert len(printed) == 1
    finally:
        root.removeHandler(handler)

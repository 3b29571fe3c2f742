"""Names and texts from the disk are printed without control sequences, and none is a formula of a spreadsheet."""

import json
import re
import shutil
from pathlib import Path

import pytest
import tf_lottery_cli

# A terminal's title, its colors, what hides the line before, the order of letters, a line of its own, a broken name.
HOSTILE = "x\x1b]0;title\x07\x1b[31m\r\u202egnp\u2066\x9b1m\x7f\nerror: no\udcff"
# What no line may hold; the text of a command is split into lines at "\n" alone.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture
def hostile(copied):
    """A finished run whose directory has a hostile name, in the folder `runs`."""
    target = copied.with_name(f"digits{HOSTILE}")
    copied.rename(target)
    shutil.copytree(target, target.with_name("other"))
    return target


def assert_harmless(result, *, codes=(0,)):
    assert result.exit_code in codes, result.stderr
    assert CONTROL.findall(result.stdout + result.stderr) == []
    assert not any(line.startswith("error: no") for line in (result.stdout + result.stderr).splitlines())


@pytest.mark.parametrize(
    "command",
    [
        ["ls"],
        ["status"],
        ["verify", "digits"],
        ["report", "digits"],
        ["compare", "other", "digits"],
        ["analyze", "stability", "digits", "--dry-run"],
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("json_option", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.usefixtures("hostile")
def test_a_run_with_a_hostile_name_is_shown_harmlessly(command, json_option, invoke):
    result = invoke(*command, *json_option)
    assert_harmless(result)
    if json_option:
        document = json.loads(result.stdout)
        text = json.dumps(document)
        assert "title" in text
        assert "\\u001b" in text  # scripts get the name itself
    elif command[0] not in ("analyze",):
        assert "\\x1b" in result.stdout + result.stderr


def test_hostile_names_in_errors_are_shown_harmlessly(hostile, invoke):
    assert_harmless(invoke("status", HOSTILE), codes=(2,))
    assert_harmless(invoke("run", "--model", HOSTILE.replace(":", "")), codes=(2,))
    assert_harmless(invoke("run", f"--{HOSTILE}"), codes=(2,))
    assert_harmless(invoke(HOSTILE), codes=(2,))
    assert CONTROL.findall(invoke("status", HOSTILE, "--debug").stderr) == []  # a traceback has lines of its own
    assert_harmless(invoke("export", Path(f"{HOSTILE}.keras")), codes=(2,))
    for name in ("config.json", "replicate_0/round_01/metrics.json"):
        (hostile / name).write_text("{")
        assert_harmless(invoke("verify", "digits"), codes=(5,))
        assert_harmless(invoke("status", "digits"), codes=(5,))
        assert_harmless(invoke("ls"))


def test_hostile_values_of_a_configuration_are_shown_harmlessly(copied, invoke):
    path = copied / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "criterion": HOSTILE}))
    assert_harmless(invoke("status", copied), codes=(5,))
    assert_harmless(invoke("verify", copied), codes=(5,))
    assert_harmless(invoke("run", "--config", path), codes=(5,))


def test_the_shell_is_given_no_hostile_name(hostile):
    from click.shell_completion import ShellComplete

    shell = ShellComplete(__import__(f"{tf_lottery_cli.__name__}.app", fromlist=["app"]).app, {}, "tf-lottery", "_X")
    assert hostile.exists()
    assert [item.value for item in shell.get_completions(["status"], "digits") if item.type == "plain"] == []

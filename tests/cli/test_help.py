"""Help pages, their examples, versions, and that asking for help loads nothing heavy."""

import re
import shlex
import shutil
import subprocess
import sys

import click
import pytest
from tf_lottery_cli import app as application
from tf_lottery_cli import data
from tf_lottery_cli.options import SECTIONS

SLOW = ("run", "sweep", "reproduce", "export", "bench", "data")
SWEEP = "steps = 20\nrounds = 1\n[grid]\nseed = [0, 1]\n"
HEAVY = ("tensorflow", "keras", "matplotlib", "sklearn", "tensorflow_datasets")


def commands() -> dict[str, click.Command]:
    context = click.Context(application.app)
    by_name = {name: application.app.get_command(context, name) for name in application.COMMANDS}
    group = by_name.pop("data")
    return by_name | {f"data {name}": command for name, command in group.commands.items()}


def examples() -> list[str]:
    lines = dict.fromkeys([*application.EXAMPLES, *data.EXAMPLES])
    for command in commands().values():
        lines |= dict.fromkeys(command.examples)
    lines.pop("tf-lottery run")  # about a minute: `make demo` runs it
    return list(lines)


def examples_and_processes() -> list[object]:
    """Each example, and whether it runs in this process: the first of each command starts the program, as a user does.

    An example that trains starts it too. Further ones of the commands that take seconds are in the slow set, and all of
    `sweep`, which does what `run` does, and the self-test of a device.
    """
    started = set()
    parameters = []
    for line in examples():
        command = line.split()[1]
        in_process = command in started and command not in ("run", "sweep", "reproduce")
        slow = command == "sweep" or "--gpu" in line or (command in started and command in SLOW)
        marks = [pytest.mark.slow] if slow else []
        started.add(command)
        parameters.append(pytest.param(line, in_process, id=line, marks=marks))
    return parameters


@pytest.mark.parametrize("name", ["", *commands(), "data"])
def test_every_help_page_ends_with_examples(name, invoke):
    result = invoke(*name.split(), "--help")
    assert result.exit_code == 0
    body = result.output.split("Examples:\n")
    assert len(body) == 2
    assert body[1].lstrip().startswith("tf-lottery ")


def test_the_options_of_run_are_listed_by_topic(invoke):
    page = invoke("run", "--help").output
    headings = re.findall(r"^(\S.*):$", page, re.MULTILINE)
    assert headings == [*SECTIONS.values(), "Options", "Presets", "Examples"]
    listed = {heading: page.partition(f"\n{heading}:\n")[2].partition("\n\n")[0] for heading in headings}
    for heading, option in (("Data", "--flip"), ("Pruning", "--rate"), ("Replicates and controls", "--variants")):
        assert f"  {option} " in listed[heading]
    assert "--dry-run" in listed["Options"]
    assert "_" not in "".join(re.findall(r"--[\w-]+", page))


@pytest.fixture(scope="module")
def example_folder(workplace, tmp_path_factory):
    """A folder with a copy of the finished run, to which the examples may add."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(workplace / "runs", folder / "runs")
    return folder


@pytest.fixture(scope="module")
def exported_folder(workplace, shell, tmp_path_factory):
    """A folder with a copy of the finished run and its exported files."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copytree(workplace / "runs", folder / "runs")
    done = shell("export", "digits-mlp", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(("line", "in_process"), examples_and_processes())
def test_examples_of_the_help_pages_run(
    line, in_process, example_folder, shell, invoke, environment, tmp_path, request, monkeypatch
):
    arguments = shlex.split(line)
    assert arguments[0] == "tf-lottery"
    arguments, folder = arguments[1:], example_folder
    if arguments[0] == "run" and "--dry-run" not in arguments:
        arguments += ["--out", "examples"]  # the finished run stays as it is
        arguments += ["--jobs", "1"]
    if arguments[0] == "sweep":
        folder = tmp_path
        (folder / "sweep.toml").write_text(SWEEP)
        arguments += ["--jobs", "1"]
    if arguments[0] == "compare":  # two runs of these names, beside the finished one that stays as it is
        (source,) = (example_folder / "runs").glob("digits-mlp-*")
        for name in ("digits-mlp-1a2b", "digits-mlp-3c4d"):
            shutil.copytree(source, tmp_path / "runs" / name)
        folder = tmp_path
    if "--gpu" in arguments:
        arguments += ["--device", "cpu"]  # the same checks, on any machine
    if "saved_models" in arguments:
        folder = request.getfixturevalue("exported_folder")
    if in_process:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("TF_LOTTERY_DATA", environment["TF_LOTTERY_DATA"])
        done = invoke(*arguments)
        code = done.exit_code
    else:
        done = shell(*arguments, cwd=folder)
        code = done.returncode
    assert code == 0, done.stderr
    assert done.stdout
    assert "Traceback" not in done.stderr
    assert "oneDNN" not in done.stderr


def test_the_list_of_commands_is_the_commands(invoke):
    for name, command in commands().items():
        assert command.help, name
        assert name.split()[-1] == command.name or name == command.name or command.callback.__name__ == "command"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["presets"],
        ["methods"],
        ["reproduce", "--list"],
        ["ls"],
        ["status"],
        ["data", "list"],
    ],
)
def test_light_commands_load_nothing_heavy(arguments, workplace):
    code = (
        "import sys, tf_lottery_cli\n"
        f"sys.argv = ['tf-lottery', *{arguments!r}]\n"
        "try:\n    tf_lottery_cli.main()\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=workplace, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("LOADED []\n")


def test_help_loads_click_and_no_other_package(tmp_path):
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import tf_lottery_cli\n"
        "sys.argv = ['tf-lottery', '--help']\n"
        "try:\n    tf_lottery_cli.main()\nexcept SystemExit as end:\n    assert end.code in (0, None), end.code\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names\n"
        "print('LOADED', sorted(loaded))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED ['click', 'tf_lottery_cli']"


@pytest.mark.parametrize("group", ["", "data"])
def test_a_bare_group_prints_its_help(group, invoke):
    result = invoke(*group.split())
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == invoke(*group.split(), "--help").stdout
    assert result.stdout.count("\n") > 15


def test_version(invoke):
    import tf_lottery

    assert invoke("--version").output == f"tf-lottery {tf_lottery.__version__}\n"


def test_unknown_command_and_option_get_the_nearest(invoke):
    result = invoke("verfy")
    assert result.exit_code == 2
    assert "verify" in result.stderr
    result = invoke("run", "--round", "3")
    assert result.exit_code == 2
    assert "--rounds" in result.stderr
    assert result.stderr.count("\n") == 2
    assert result.stdout == ""

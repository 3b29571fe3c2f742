"""What a terminal shows: whole words and numbers at any width, live scores, and completion of lists."""

import io
import json
import re
import shutil
import sys

import pytest
from click.shell_completion import ShellComplete
from rich.console import Console
from rich.progress import Progress
from tf_lottery_cli import output, progress
from tf_lottery_cli.app import app
from tf_lottery_cli.table_layout import lay_out, wrap_words

from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.run_progress import Speed
from tf_lottery.utils.text import related_names, suggestion

ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def on_terminal(monkeypatch, capsys):
    """Runs a command as on a terminal of some width; returns what it prints on stdout, without colors."""
    from click.testing import CliRunner

    def run(width, *arguments):
        seen = []

        def console_for(stream):
            return Console(file=stream, force_terminal=True, width=width, highlight=False)

        def echo(text="", **options):
            if options.get("file") is None:
                seen.append(str(text))

        with monkeypatch.context() as patch:
            patch.setattr(output, "console_for", console_for)
            patch.setattr(output.click, "echo", echo)
            patch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True)
            CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        return "\n".join(seen)

    return run


def words(document):
    """All words of the strings in a JSON document."""
    if isinstance(document, dict):
        return set().union(*map(words, document.values()))
    if isinstance(document, list):
        return set().union(*map(words, document))
    return set(document.split()) if isinstance(document, str) else set()


@pytest.mark.parametrize("width", [80, 40])
@pytest.mark.parametrize("command", ["presets", "methods", "ls", "status", "data list"])
@pytest.mark.usefixtures("copied")
def test_no_word_of_a_table_is_folded(command, width, on_terminal, invoke):
    """Off a terminal every cell is on one line: each of its words is a word on the terminal too."""
    plain = invoke(*command.split()).stdout
    shown = ANSI.sub("", on_terminal(width, *command.split()))
    assert set(shown.split()) >= set(plain.split())
    assert shown != plain  # it was laid out for a terminal


@pytest.mark.parametrize("width", [80, 40])
def test_lines_of_a_table_fit_where_its_words_do(width, on_terminal, invoke):
    names = [preset["name"] for preset in json.loads(invoke("presets", "--json").stdout)["presets"]]
    lines = ANSI.sub("", on_terminal(width, "presets")).splitlines()
    assert max(map(len, lines)) <= width
    assert all(any(name in line.split() for line in lines) for name in names)


def test_a_long_path_numbers_the_rows_and_stays_whole():
    path = "saved_models/demo/" + 60 * "x" + ".tflite"
    columns = [["File", path], ["Bytes", "68,838"], ["Latency (us)", "302.2"]]
    parts = lay_out(columns, [False, True, True], 40)
    assert [part.places for part in parts] == [(-1, 0), (-1, 1, 2)]
    assert wrap_words(path, 10) == path


def test_commands_in_prose_are_not_broken():
    assert wrap_words("accuracy 97.5 %, 4 s", 14).splitlines() == ["accuracy", "97.5 %, 4 s"]
    text = "Call `tf-lottery data prepare mnist` once more."
    assert wrap_words(text, 12).splitlines() == ["Call", "`tf-lottery data prepare mnist`", "once more."]
    resume = "Run the same command again to resume: tf-lottery run --seed 3 --out 'a b'"
    assert wrap_words(resume, 20).splitlines()[-1] == "tf-lottery run --seed 3 --out 'a b'"


def test_states_have_colors_on_a_terminal_and_words(on_terminal, copied):
    broken = copied.parent / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    (copied / "replicate_0/round_02/manifest.json").unlink()
    shown = on_terminal(100, "ls")
    assert "\x1b[31mdamaged" in shown
    assert "\x1b[33munfinished" in shown


def test_a_terminal_shows_finished_trainings_and_live_scores(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(
        progress, "console_for", lambda stream: Console(file=stream, force_terminal=True, width=80, highlight=False)
    )
    update = Progress.update
    # Draw each change at once, instead of four times a second.
    monkeypatch.setattr(
        Progress, "update", lambda self, *args, **fields: (update(self, *args, **fields), self.refresh())
    )
    job = Job(0, 0)
    row = {"density": 1.0, "val_accuracy": 0.951, "test_accuracy": 0.94, "seconds": 2.0}
    with progress.show_progress(quiet=False) as events:
        events.on_start(RunDirectory("runs/x"), [job, Job(0, 1)], [job, Job(0, 1)])
        events.on_scores(job, {"step": 50, "train_loss": 0.25, "val_loss": 0.2, "val_accuracy": 0.951})
        events.on_progress(job, 50, 1000)
        events.on_done(job, row)
    lines = [" ".join(line.split()) for line in ANSI.sub("", terminal.getvalue()).replace("\r", "\n").splitlines()]
    assert "runs/x: 2 trainings" in lines
    shown = " ".join(lines)
    assert "1/2 replicate 0, round 0, ticket: 100 % of the weights, validation accuracy 95.1 %" in shown
    assert "loss 0.25" in shown


def test_steps_per_second_begin_at_the_first_report():
    times = iter([10.0, 12.0])
    speed = Speed(now=lambda: next(times))
    assert (speed.per_second(500), speed.per_second(1500)) == (None, 500.0)


def complete(arguments, incomplete):
    items = ShellComplete(app, {}, "tf-lottery", "_TF_LOTTERY_COMPLETE").get_completions(arguments, incomplete)
    return [item.value for item in items]


def test_completion_knows_the_values_of_lists_and_of_rewind():
    assert complete(["run", "--rewind"], "") == [
        *("init", "step:", "epoch:", "lr", "lr:step:", "lr:epoch:"),
        *("finetune", "finetune:step:", "finetune:epoch:"),
    ]
    assert complete(["run", "--rewind"], "nothing") == []
    assert complete(["run", "--variants"], "ticket,random_r") == ["ticket,random_reinit"]
    assert "ticket,ticket" not in complete(["run", "--variants"], "ticket,")
    assert complete(["export", "--encoding"], "dense,slim") == ["dense,slim", "dense,slim-sparse"]


def test_a_name_that_is_continued_is_suggested_first():
    known = ["digits-mlp", "mnist-lenet5-35", "mnist-lenet-300-100"]
    assert related_names("mnist-lenet", known) == ["mnist-lenet-300-100", "mnist-lenet5-35"]
    assert suggestion("digits_mlp", known).startswith("Did you mean 'digits-mlp'? ")
    assert related_names("nothing like it", known) == []


def test_a_beginning_of_several_runs_names_the_one_taken(copied, invoke):
    other = copied.parent / "digits-mlp-other"
    shutil.copytree(copied, other)
    (other / "replicate_0/round_02/manifest.json").unlink()
    newest = invoke("status", "digits-mlp", "--json")
    assert json.loads(newest.stdout)["state"] == "unfinished"
    assert f"took digits-mlp-other, the newest; not {copied.name}" in newest.stderr
    report = invoke("report", "digits-mlp", "--json")
    assert json.loads(report.stdout)["run_dir"] == f"runs/{copied.name}"
    assert f"took {copied.name}, the newest complete one; not digits-mlp-other" in report.stderr
    assert "took" not in invoke("status", copied.name).stderr


def test_report_and_compare_hold_the_answers_of_run(copied, workplace, invoke):
    run = json.loads((workplace / "run.json").read_text())
    report = json.loads(invoke("report", copied.name, "--json").stdout)
    assert {key: report[key] for key in ("verdict", "selected", "answers")} == {
        key: run[key] for key in ("verdict", "selected", "answers")
    }
    assert report["complete"] is True
    shutil.copytree(copied, copied.parent / "again")
    compared = json.loads(invoke("compare", copied.name, "again", "--json").stdout)
    for each in compared["runs"]:
        assert (each["verdict"], each["selected"], each["answers"]) == (run["verdict"], run["selected"], run["answers"])


def test_colors_of_keras_are_left_out_of_messages():
    from tf_lottery_cli.failures import describe

    from tf_lottery.errors import UnfitError

    assert describe(UnfitError("\x1b[1mNo such shape.\x1b[0m", "Mend it.")).lines == (
        "error: No such shape.",
        "Mend it.",
    )

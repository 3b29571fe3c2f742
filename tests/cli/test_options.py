"""Options of the commands: earlier spellings work, and are not listed."""

import click
import pytest
from tf_lottery_cli import export, run

from tf_lottery.errors import UsageError


@pytest.mark.parametrize("command", [run.command, export.command], ids=["run", "export"])
def test_the_earlier_spelling_of_an_option_is_hidden(command):
    arguments = ["--normalisation", "standard", *(["model.keras"] if command is export.command else [])]
    context = command.make_context("it", arguments)
    assert context.params["normalization"] == "standard"
    page = command.get_help(context)
    assert "--normalization" in page
    assert "--normalisation" not in page


@pytest.mark.parametrize("name", ["2:4", "3:8", "head", "row", "unstructured"])
def test_granularities_are_names_or_patterns(name):
    assert run.command.make_context("it", ["--granularity", name]).params["granularity"] == name


def test_granularities_that_are_none():
    with pytest.raises(UsageError, match="0 < N < M"):
        run.command.make_context("it", ["--granularity", "4:2"])
    with pytest.raises(click.BadParameter, match="is not one of 'unstructured'"):
        run.command.make_context("it", ["--granularity", "2:x"])


def test_distributions_are_listed():
    assert run.command.make_context("it", ["--distribution", "lamp"]).params["distribution"] == "lamp"
    page = run.command.get_help(run.command.make_context("it", []))
    assert "[uniform|erk|lamp]" in page
    assert "2:4|channel|head|row]" in page.replace("\n", "").replace(" ", "")

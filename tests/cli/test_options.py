"""Options of the commands: earlier spellings work, and are not listed."""

import pytest
from tf_lottery_cli import export, run


@pytest.mark.parametrize("command", [run.command, export.command], ids=["run", "export"])
def test_the_earlier_spelling_of_an_option_is_hidden(command):
    arguments = ["--normalisation", "standard", *(["model.keras"] if command is export.command else [])]
    context = command.make_context("it", arguments)
    assert context.params["normalization"] == "standard"
    page = command.get_help(context)
    assert "--normalization" in page
    assert "--normalisation" not in page

"""Reasons in one line, suggestions, and times in words."""

import pytest

from tf_lottery.utils.text import duration, inert_cell, one_line, printable, suggestion


def test_the_line_with_the_reason():
    assert one_line("first\nSecond") == "first"
    assert one_line("Some trace\n<unknown>:0: error: loc(f(x)): 'tf.Foo' op is bad\nmore") == "'tf.Foo' op is bad"
    assert one_line(ValueError()) == "ValueError"
    assert one_line("x" * 400) == "x" * 297 + "..."
    assert one_line('  File "a.py", line 1\n    x = 1\n') == "str"
    assert one_line("Error when deserializing class 'A' using config={}.\n\nException encountered: no x") == ("no x")


def test_a_wrapped_sentence_is_one_line():
    message = (
        "Object A was created by passing\nnon-serializable values,\nand must override `get_config()`. Do so.\n\nAs in:"
    )
    assert one_line(message) == (
        "Object A was created by passing non-serializable values, and must override `get_config()`. Do so."
    )
    assert one_line("A reason.\nmore") == "A reason."
    assert one_line("A reason\nReceived: x") == "A reason"


@pytest.mark.parametrize(
    "message",
    [
        "Exception encountered when calling A.call().\n\n\x1b[1mboom\x1b[0m\n\nArguments received by A.call():\n  x=1",
        "Exception encountered when calling A.call().\n\nException encountered when calling B.call().\n\nboom",
        "Exception encountered when calling A.call().\n\nCould not automatically infer it. Error encountered:\n\nboom",
        'in user code:\n\n    File "a.py", line 1, in f  *\n        g(x)\n\n    ValueError: Exception encountered when '
        "calling A.call().\n    \n    \x1b[1mboom\x1b[0m\n",
        'Graph execution error:\n\nDetected at node a/b defined at (most recent call last):\n  File "a.py", line 1\n'
        '\n  File "b.py", line 2, in g\n\nboom\n\t [[{{node a/b}}]]',
        "{{function_node __wrapped__Gather}} boom",
    ],
)
def test_headings_are_no_reason(message):
    assert one_line(message) == one_line(KeyError(message)) == "boom"


def test_a_suggestion_names_the_nearest_and_all():
    assert suggestion("sise", ("size", "latency")) == "Did you mean 'size'? Valid: size, latency."
    assert suggestion("x", ("size", "latency")) == "Valid: size, latency."


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.96, "10 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3600, "1 h 0 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, \u00e4 \u4e2d \U0001f600 'x' \\", "plain, \u00e4 \u4e2d \U0001f600 'x' \\"),
        ("\x1b[31m\r\n\t\x00", r"\x1b[31m\r\n\t\x00"),
        ("\x7f\x9b\x85", r"\x7f\x9b\x85"),
        ("\u202e\u2066\u200f\u061c\u2028", r"\u202e\u2066\u200f\u061c\u2028"),
        ("\udcff", r"\udcff"),
    ],
)
def test_what_is_printed_holds_no_control_characters(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("value", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_text_that_a_spreadsheet_takes_for_a_formula_is_quoted(value):
    assert inert_cell(value) == f"'{value}"


@pytest.mark.parametrize("value", [-1, -0.5, None, True, "-1", "+2.5e-3", "-inf", "a=b", "", "'=1", "ticket"])
def test_numbers_and_other_text_stay_as_they_are(value):
    assert inert_cell(value) is value

"""Tables on a narrow terminal: numbers are never broken, and each part says what its rows are about."""

import io
import re
import sys

import pytest
from tf_lottery_cli.output import print_table


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def shown(monkeypatch):
    def show(width, headers, rows, right):
        terminal = Terminal()
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr(sys, "stdout", terminal)
        print_table(headers, rows, right=right)
        lines = re.sub(r"\x1b\[\d+m", "", terminal.getvalue()).splitlines()
        # A word that fits no line is left whole, for the terminal to wrap, so that it can be copied.
        assert all(len(line) <= width or len(line.split()[-1]) > width for line in lines)
        return "\n".join(line for line in lines if line.strip("─ "))

    return show


HEADERS = ("", "Format", "Precision", "Encoding", "Bytes", "Gzipped", "Latency (us)", "Error", "Agreement")
ROW = ("*", "saved_model", "float32", "slim-sparse", "106,768", "88,367", "7.5", "1.7e-07", "100.00 %")
RIGHT = (*[False] * 4, *[True] * 5)


def test_numbers_are_whole_in_parts_that_repeat_what_a_row_is(shown):
    """At 80 columns 106,768 was broken into two lines, and all headings into three or more."""
    text = shown(80, HEADERS, [ROW], RIGHT)
    for cell in (*HEADERS, *ROW):
        assert cell in text
    rows = [line for line in text.splitlines() if line.startswith("*")]
    assert len(rows) == 2
    assert all("saved_model   float32     slim-sparse" in row for row in rows)


def test_a_wide_terminal_has_one_part(shown):
    text = shown(140, HEADERS, [ROW], RIGHT)
    assert len(text.splitlines()) == 2


def test_long_text_is_folded_beside_whole_numbers(shown):
    text = shown(60, ("Run", "Bytes", "Remark"), [("a", "1,234,567", "word " * 30)], (False, True, False))
    assert "1,234,567" in text
    assert text.count("Bytes") == 1
    path = shown(
        60, ("File", "Bytes", "Gzipped", "Latency (us)"), [("x" * 90, *["1,234,567"] * 3)], (False, *[True] * 3)
    )
    assert path.count("1,234,567") == 3
    assert path.count("x" * 90) == 1

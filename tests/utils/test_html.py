"""Tables for notebooks."""

import pytest

from tf_lottery.utils import html


def test_a_table_has_a_header_a_caption_and_a_row_per_row():
    assert html.table(["path", "density"], [["dense/kernel", 0.2], ["head/kernel", 1.0]], caption="two weights") == (
        "<table><caption>two weights</caption><thead><tr><th>path</th><th>density</th></tr></thead><tbody>"
        "<tr><td>dense/kernel</td><td>0.2</td></tr><tr><td>head/kernel</td><td>1.0</td></tr></tbody></table>"
    )
    assert html.table(["path"], []) == "<table><thead><tr><th>path</th></tr></thead><tbody></tbody></table>"


def test_all_text_is_escaped():
    markup = html.table(["<h>"], [['<script>"&"</script>']], caption="a < b")
    assert "<script>" not in markup
    assert "<h>" not in markup
    assert "&lt;script&gt;&quot;&amp;&quot;&lt;/script&gt;" in markup
    assert "&lt;h&gt;" in markup
    assert "a &lt; b" in markup


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"needs 2 cells, one for each of `headers`. Received a row of 1: \['dense'\]"):
        html.table(["path", "density"], [["dense"]])

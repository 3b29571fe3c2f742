"""How a discovery is shown in a terminal and in a notebook."""

import keras

import tf_lottery as tfl


def test_a_discovery_is_one_line_in_a_terminal():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2, use_bias=False)])
    expected = "<Discovery: 2 maskable weight arrays with 18 weights, 1 arrays skipped>"
    assert repr(tfl.discover(model)) == str(tfl.discover(model)) == expected
    assert (
        repr(tfl.discover(model, exclude="*"))
        == "<Discovery: 0 maskable weight arrays with 0 weights, 3 arrays skipped>"
    )


def test_a_discovery_is_a_table_in_a_notebook():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="<b>")])
    markup = tfl.discover(model)._repr_html_()
    assert "<caption>2 maskable weight arrays with 18 weights, 2 arrays skipped</caption>" in markup
    assert "<tr><td>a/kernel</td><td>4x3</td><td>dense</td><td></td></tr>" in markup
    assert "<tr><td>&lt;b&gt;/kernel</td><td>3x2</td><td>output</td><td></td></tr>" in markup
    reason = "not a kernel of a layer kind that is masked by default"
    assert f"<tr><td>a/bias</td><td></td><td></td><td>{reason}</td></tr>" in markup
    assert "<b>" not in markup

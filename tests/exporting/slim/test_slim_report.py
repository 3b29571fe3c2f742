"""How a slimming report is shown, and that every rule that the table of layer kinds names is there."""

from tf_lottery.exporting.slim import LayerSlimming, SlimReport
from tf_lottery.exporting.slim.layer_rules import CHANNEL_RULES, OPERATION_RULES
from tf_lottery.exporting.slim.weight_axes import WEIGHT_AXES
from tf_lottery.layers.kinds import KINDS

HIDDEN = LayerSlimming("hidden", 300, 150, 0, 784, 784, 640, folded=2)
HEAD = LayerSlimming("<head>", 10, 10, 0, 300, 150, 150, merged=1)


def test_a_report_is_one_line_in_a_terminal():
    assert repr(SlimReport((HIDDEN, HEAD), 266_610, 119_260)) == (
        "<SlimReport: 266,610 -> 119,260 parameters, 150 units removed>"
    )
    report = SlimReport((HIDDEN,), 20, 10, {"attention": "attention layers may mix channels"})
    assert str(report) == "<SlimReport: 20 -> 10 parameters, 150 units removed, 1 layers left alone>"


def test_a_report_is_a_table_in_a_notebook():
    reasons = {"<head>": "its activation mixes channels", "norm": "norm layers may mix channels & are not followed"}
    markup = SlimReport((HIDDEN, HEAD), 266_610, 119_260, reasons)._repr_html_()
    caption = "SlimReport: 266,610 -&gt; 119,260 parameters, 150 units removed, 2 layers left alone"
    assert f"<caption>{caption}</caption>" in markup
    cells = ["hidden", "300 -&gt; 150", "640 of 784", "2", "0", ""]
    assert f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" in markup
    cells = ["&lt;head&gt;", "10 -&gt; 10", "150 of 300", "0", "1", "its activation mixes channels"]
    assert f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" in markup
    assert "<td>norm</td>" in markup
    assert "mix channels &amp; are not followed" in markup
    assert markup.count("<tr>") == 1 + 3


def test_slimming_has_every_rule_that_a_layer_kind_names():
    rules = {kind.channel_rule for kind in KINDS.values()} | set(OPERATION_RULES.values())
    assert rules - {"", "kernel"} == set(CHANNEL_RULES)
    followed = {kind.weight_axes for kind in KINDS.values() if kind.channel_rule}
    assert followed - {""} == set(WEIGHT_AXES)

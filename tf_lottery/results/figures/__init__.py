"""Figures: pure functions of plain rows that return matplotlib figures."""

from tf_lottery.utils.optional import require

require("matplotlib", "Figures")

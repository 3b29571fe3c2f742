"""The table of docs/zoo.md: what it says of a model is what a test saw.

A test fails where the page says something else, and writes the page with `TF_LOTTERY_WRITE_DOCS=1`.
"""

import os
from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "zoo.md"
COLUMNS = ("Model", "Weights", "Masked arrays", "Masked weights", "Steps bit-equal", "Zeros exact", "Files bit-equal")
COLUMNS += ("Ticket", "SavedModel", "TFLite")
HEAD = f"| {' | '.join(COLUMNS)} |"


def check_cells(model: str, cells: Mapping[str, str]) -> None:
    """Compare some cells of a model's row with those of the page, or write them there.

    Args:
        model: the model's name on the page.
        cells: texts by column.
    """
    page = PAGE.read_text()
    before, head, body = page.partition(HEAD)
    assert head, f"docs/zoo.md must hold the line {HEAD!r}"
    rule, *lines = body.strip("\n").split("\n")
    rows = {row["Model"]: row for row in map(_parse, lines)}
    name = f"`{model}`"
    if os.environ.get("TF_LOTTERY_WRITE_DOCS"):
        rows[name] = dict.fromkeys(COLUMNS, "") | rows.get(name, {}) | {"Model": name} | cells
        lines = sorted((f"| {' | '.join(row.values())} |" for row in rows.values()), key=str.lower)
        PAGE.write_text("\n".join([before + head, rule, *lines, ""]))
    else:
        assert {column: rows[name][column] for column in cells} == cells


def _parse(line: str) -> dict[str, str]:
    texts = [text.strip() for text in line.strip("|").split("|")]
    return dict(zip(COLUMNS, texts, strict=True))

"""`results.csv` and `metrics.jsonl`: what they hold, derived from the metrics of the committed trainings."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery.utils.files import json_text
from tf_lottery.utils.text import inert_cell

RESULT_FILES = ("results.csv", "metrics.jsonl")
# The columns that every row has; a user's own metrics follow.
COLUMNS = (
    *("replicate", "round", "variant", "density", "sparsity", "weights_kept", "weights_total", "steps"),
    *("train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy"),
    *("early_stop_step", "early_stop_val_loss", "early_stop_test_accuracy", "seconds", "steps_per_second"),
)


def result_files(rows: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """The content of `results.csv` and of `metrics.jsonl`, by name; equal input gives equal bytes.

    Args:
        rows: one per training.
        curves: one record per evaluation.
    """
    columns = list(dict.fromkeys([*COLUMNS, *(key for row in rows for key in row)]))
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n", restval="")
    writer.writerow({column: inert_cell(column) for column in columns})
    writer.writerows({key: inert_cell(value) for key, value in row.items()} for row in rows)
    lines = "".join(f"{json_text(record)}\n" for record in curves)
    return dict(zip(RESULT_FILES, (table.getvalue().encode(), lines.encode()), strict=True))

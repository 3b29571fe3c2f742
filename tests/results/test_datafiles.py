"""CSV and Parquet: every value comes back, and what is missing stays missing."""

import csv
import io
import math

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_lottery.errors import UsageError
from tf_lottery.results.tables.data_files import csv_bytes, parquet_bytes

ROWS = [
    {"round": 0, "variant": "ticket", "accuracy": np.float32(0.5), "kept": np.int64(7), "good": True},
    {"round": 1, "variant": 'a, "b"\nc', "accuracy": float("nan"), "extra": [1, 2]},
    {"round": 2, "variant": "é", "accuracy": None, "kept": 3, "good": np.bool_(False)},
]


def read_csv(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


def read_parquet(content):
    return pyarrow.parquet.read_table(pyarrow.BufferReader(content))


def test_csv_holds_every_value_and_empty_cells_for_missing_ones():
    rows = read_csv(csv_bytes(ROWS))
    assert list(rows[0]) == ["round", "variant", "accuracy", "kept", "good", "extra"]  # in order of appearance
    assert [row["accuracy"] for row in rows] == ["0.5", "", ""]
    assert [row["kept"] for row in rows] == ["7", "", "3"]
    assert [row["good"] for row in rows] == ["True", "", "False"]
    assert [row["variant"] for row in rows] == ["ticket", 'a, "b"\nc', "é"]
    assert rows[1]["extra"] == "[1, 2]"


def test_parquet_holds_every_value_with_types_and_nulls():
    table = read_parquet(parquet_bytes(ROWS))
    assert table.to_pylist() == [
        {"round": 0, "variant": "ticket", "accuracy": 0.5, "kept": 7, "good": True, "extra": None},
        {"round": 1, "variant": 'a, "b"\nc', "accuracy": None, "kept": None, "good": None, "extra": "[1, 2]"},
        {"round": 2, "variant": "é", "accuracy": None, "kept": 3, "good": False, "extra": None},
    ]
    assert [str(kind) for kind in table.schema.types] == ["int64", "string", "double", "int64", "bool", "string"]


def test_mixed_columns_take_the_widest_type():
    rows = [{"a": 1, "b": 1, "c": True, "d": None, "e": 2**70}, {"a": 0.5, "b": "x", "c": 2, "d": None, "e": 1}]
    table = read_parquet(parquet_bytes(rows))
    assert [str(kind) for kind in table.schema.types] == ["double", "string", "string", "null", "double"]
    assert table.to_pylist()[0] == {"a": 1.0, "b": "1", "c": "True", "d": None, "e": 2.0**70}


def test_no_rows_and_infinities():
    assert csv_bytes([]) == b""
    assert read_parquet(parquet_bytes([])).num_rows == 0
    rows = [{"loss": math.inf}, {"loss": -math.inf}]
    assert csv_bytes(rows) == b"loss\ninf\n-inf\n"
    assert read_parquet(parquet_bytes(rows)).to_pylist() == rows


def test_a_row_that_is_no_dictionary_is_said():
    with pytest.raises(UsageError, match="Row 1 is list"):
        csv_bytes([{"a": 1}, [2]])
    with pytest.raises(UsageError, match="Row 0"):
        parquet_bytes([{1: 1}])


values = st.one_of(st.none(), st.integers(-(2**63) + 1, 2**63 - 1))
floats = st.one_of(st.none(), st.floats(allow_nan=False))


@given(st.lists(st.fixed_dictionaries({"n": values}, optional={"x": floats, "t": st.text(min_size=1)}), max_size=5))
def test_parquet_brings_back_exactly_what_was_written(rows):
    content = parquet_bytes(rows)
    assert content == parquet_bytes(rows)
    read_back = read_parquet(content).to_pylist()
    assert len(read_back) == len(rows)
    for row, back in zip(rows, read_back, strict=True):
        assert {key: back[key] for key in row} == row
        assert not any(back[key] is not None for key in back if key not in row)


@given(st.lists(st.fixed_dictionaries({"x": st.floats(allow_nan=False), "n": st.integers()}), min_size=1, max_size=5))
def test_csv_numbers_come_back_exactly(rows):
    assert [{"x": float(row["x"]), "n": int(row["n"])} for row in read_csv(csv_bytes(rows))] == rows


def test_no_text_of_a_table_is_a_formula():
    rows = [{"=name": "=cmd()", "number": -1.5, "other": "-1.5"}]
    assert csv_bytes(rows).decode().splitlines() == ["'=name,number,other", "'=cmd(),-1.5,-1.5"]


def test_a_name_that_is_no_utf_8_is_written_with_escapes():
    assert csv_bytes([{"path": "a\udcff"}]).decode().splitlines() == ["path", r"a\udcff"]
    assert parquet_bytes([{"path": "a\udcff"}])[:4] == b"PAR1"

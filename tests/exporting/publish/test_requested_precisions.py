"""Which precisions a request stands for."""

import pytest

from tf_lottery.errors import UsageError
from tf_lottery.exporting.precision_names import BY_NAME, IN_ALL, PRECISIONS
from tf_lottery.exporting.publish.export_request import check_request


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("all", IN_ALL),
        (["all"], IN_ALL),
        (["mixed", "all"], (*IN_ALL, "mixed")),
        ("int16x8", ("int16x8",)),
        (["int4", "float32"], ("float32", "int4")),
    ],
)
def test_all_leaves_out_what_is_not_named_beside(tmp_path, precision, expected):
    assert (
        check_request(tmp_path, format="tflite", precision=precision, encoding="all", name="x").precisions == expected
    )


def test_every_precision_is_in_one_of_both():
    assert set(IN_ALL) | set(BY_NAME) == set(PRECISIONS)
    assert not set(IN_ALL) & set(BY_NAME)


@pytest.mark.parametrize("options", [{"target": "micro"}, {"io": "int8"}])
@pytest.mark.parametrize("precision", ["int16x8", "int4", "mixed"])
def test_whole_numbers_in_and_out_are_of_int8_alone(tmp_path, options, precision):
    with pytest.raises(UsageError, match="int8"):
        check_request(tmp_path, format="tflite", precision=precision, encoding="all", name="x", **options)

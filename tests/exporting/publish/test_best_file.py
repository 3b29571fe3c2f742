"""Which file is the best: by size, by latency, by both, and only within the accuracy budget."""

import pytest

from tf_lottery.errors import UsageError
from tf_lottery.exporting.publish.best_file import check_goal, choose_best
from tf_lottery.exporting.publish.export_findings import describe_gains


def record(bytes, latency, *, format="tflite", loss=0.0):
    return {"format": format, "bytes": bytes, "latency_us_median": latency, "validation_loss": loss}


def test_each_goal_takes_its_own():
    records = [record(100, 1.0), record(10, 8.0), record(30, 2.0)]
    assert [choose_best(records, goal=goal) for goal in ("size", "latency", "balanced")] == [1, 0, 2]  # 100, 80, 60


def test_a_download_is_the_least_after_gzip_within_the_budget():
    records = [
        known("float32", "dense", 1000, 60, 20.0),
        known("int8", "dense", 250, 80, 2.0),
        known("dynamic", "slim", 100, 50, 1.0, loss=0.02),
        known("float16", "dense", 500, 60, 20.0),
    ]
    assert choose_best(records, goal="download", max_drop=0.005) == 3  # of two equal downloads the smaller file
    assert choose_best(records, goal="download", max_drop=0.02) == 2
    assert choose_best(records, goal="size", max_drop=0.005) == 1


def test_tflite_before_saved_model_before_keras():
    keras, saved = record(1, None, format="keras"), record(5, None, format="saved_model")
    assert choose_best([keras, saved, record(9, 3.0), record(7, 3.0)]) == 3
    assert choose_best([keras, saved]) == 1
    assert choose_best([keras]) == 0


def test_the_budget_is_of_the_validation_loss():
    records = [record(100, 9.0), record(10, 1.0, loss=0.98 - 0.975)]
    assert choose_best(records, max_drop=0.005) == 1
    assert choose_best(records, max_drop=0.0049) == 0


def test_with_nothing_in_the_budget_the_most_accurate_is_taken():
    assert choose_best([record(10, 1.0, loss=0.2), record(100, 9.0, loss=0.1)], max_drop=0.01) == 1


def test_test_accuracy_chooses_nothing():
    records = [record(10, 1.0) | {"accuracy": 0.1}, record(100, 9.0, loss=0.1) | {"accuracy": 1}]
    assert choose_best(records, max_drop=0.005) == 0


@pytest.mark.parametrize("drop", [-0.1, 1.5, float("nan"), "x", None, True])
def test_goals_and_budgets_that_do_not_fit(drop):
    with pytest.raises(UsageError, match="Did you mean 'latency'"):
        check_goal("latencey", 0.1)
    with pytest.raises(UsageError, match="max_drop"):
        check_goal("size", drop)


def known(precision, encoding, bytes, gzip_bytes, latency, *, format="tflite", loss=0.0):
    sizes = {"bytes": bytes, "gzip_bytes": gzip_bytes, "latency_us_median": latency, "validation_loss": loss}
    return {"format": format, "precision": precision, "encoding": encoding, "sha256": str(sizes), **sizes}


def test_findings_say_when_something_simpler_wins():
    dense, int8 = known("float32", "dense", 1000, 200, 20.0), known("int8", "dense", 250, 150, 2.0)
    sparse = known("float32", "sparse", 300, 240, 10.0)
    text = " ".join(describe_gains([dense, int8, sparse], sparse))
    assert "0.30 of the bytes of the dense float32 file and 0.50 of its latency." in text
    assert "Plain gzip makes the dense float32 file 200 bytes, no more than this one compressed (240)" in text
    assert "The dense int8 file is smaller and faster than this one." in text
    worse = known("int8", "dense", 250, 150, 2.0, loss=0.02)
    text = " ".join(describe_gains([dense, worse, sparse], sparse, max_drop=0.01))
    assert "is smaller and faster than this one, but outside the accuracy budget." in text
    smaller = known("int8", "sparse", 100, 90, 1.0)
    text = " ".join(describe_gains([dense, int8, smaller], smaller))
    assert "gzip" not in text
    assert "is smaller" not in text
    assert "0.40 of the bytes of the dense int8 file and 0.50 of its latency." in text
    assert describe_gains([dense], dense) == []


def test_the_smallest_download_is_sought_among_all_files():
    """Only the dense float32 file was looked at: an int8 file that is the smallest when gzipped was not named."""
    best = known("float16", "slim-sparse", 100, 90, 1.0)
    records = [
        *(best, known("float32", "dense", 1000, 200, 20.0), known("int8", "slim", 140, 70, 1.0)),
        known("dynamic", "sparse", 120, 60, 1.0, loss=0.02),
        known("float32", "dense", 50, 40, None, format="saved_model"),
    ]
    text = describe_gains(records, best, max_drop=0.005)[-1]
    assert text == (
        "As a download the int8 slim file is the smallest within the accuracy budget: 70 bytes gzipped, this one 90."
    )
    assert "dynamic sparse file is the smallest" in describe_gains(records, best, max_drop=0.02)[-1]
    assert not any("download" in line for line in describe_gains(records, records[2], max_drop=0.005))
    sparse = known("float32", "sparse", 30, 45, None, format="saved_model")
    assert "the float32 dense file is the smallest" in describe_gains([*records, sparse], sparse)[-1]

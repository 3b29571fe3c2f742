"""Sentences on measured files."""

from tf_lottery.exporting.measure.bench_findings import findings, short_names


def record(path, size, latency, *, ruler=None, gzipped=None, kind="tflite"):
    return {
        "path": f"folder/{path}",
        "format": kind,
        "bytes": size,
        "gzip_bytes": gzipped or size,
        "latency_us_median": latency,
        "ruler": ruler,
        "size_ratio": size / 1000,
        "latency_ratio": latency / 20.0,
    }


DENSE = record("dense", 1000, 20.0, ruler="float32", gzipped=150)
INT8 = record("int8", 260, 4.0, ruler="int8")


def test_findings_say_when_int8_or_gzip_win():
    sentences = findings(
        [DENSE, INT8, record("big", 300, 19.5), record("small", 80, 3.0), record("saved", 200, 90.0, kind="s")]
    )
    assert sentences == [
        "The dense int8 file (260 bytes, 4.0 us) is smaller than big.",
        "The dense int8 file (260 bytes, 4.0 us) is faster than big, saved.",
        "gzip alone makes the dense float32 file 150 bytes: smaller than big, saved as it lies on disk. "
        "Where a file is only downloaded, compress what you ship.",
        "Smaller than the dense float32 file, but not faster: big.",
        "Smallest: small, 80 bytes.",
        "Fastest: small, 3.0 us.",
    ]


def test_names_in_findings_are_the_shortest_that_are_unique():
    assert short_names(["x/a/net", "x/b/net", "y/b/net", "x/b/other"]) == {
        **{"x/a/net": "a/net", "x/b/net": "x/b/net", "y/b/net": "y/b/net", "x/b/other": "other"}
    }
    records = [record("one/net", 80, 3.0), record("two/net", 90, 2.0)]
    assert findings(records) == ["Smallest: one/net, 80 bytes.", "Fastest: two/net, 2.0 us."]


def test_findings_say_when_int8_does_not_win():
    assert findings([DENSE, INT8, record("small", 80, 3.0)])[0].endswith(
        "neither smaller nor faster than any of the others."
    )
    assert findings([record("one", 80, 3.0)]) == []
    # Within the noise of two runs nothing is called faster.
    assert not [text for text in findings([INT8, record("as fast", 100, 4.1)]) if "faster than as" in text]

"""Exports of a file of tests share their child processes, which take seconds to load TensorFlow."""

from collections.abc import Iterator

import pytest

from tf_lottery.utils.child_process import warm_programs


@pytest.fixture(scope="module", autouse=True)
def warm() -> Iterator[None]:
    """Keep converters and interpreters between tests."""
    with warm_programs():
        yield

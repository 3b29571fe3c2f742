"""Models of the zoo are large: each is forgotten after its test."""

import gc
from collections.abc import Iterator

import keras
import pytest


@pytest.fixture(autouse=True)
def _forget_models() -> Iterator[None]:
    yield
    keras.backend.clear_session()
    gc.collect()

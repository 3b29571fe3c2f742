"""The instruction sets that the kernels are tested with."""

import pytest

from tf_lottery.layers.sparse import native


@pytest.fixture(autouse=True)
def setting_of_the_environment_left_out(monkeypatch):
    monkeypatch.delenv(native.SETTING, raising=False)


@pytest.fixture(params=native.INSTRUCTION_SETS)
def instruction_set(request, monkeypatch):
    monkeypatch.setenv(native.SETTING, request.param)
    native._load.cache_clear()
    found = native.kernels()
    if not found:
        assert "this processor does not have" in found.reason or "C++ compiler" in found.reason
        pytest.skip(found.reason)
    yield found.instruction_set
    native._load.cache_clear()


@pytest.fixture
def one_thread_after():
    yield
    native.use_threads(1)

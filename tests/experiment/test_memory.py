"""A run that can't fit in memory is refused before it trains, and says what to do."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import ResourceError
from tf_lottery.experiment import memory, presets
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.workers.starting_point import StartingPoints


def with_free(monkeypatch, size):
    monkeypatch.setattr(memory, "available_memory", lambda *, swap: size)


def test_the_least_counts_data_and_weights_of_each_process():
    mnist = presets.get("mnist-lenet-300-100").config()
    # 70,000 images of 28 x 28 in float32, twice, and 266,200 weights six times.
    assert memory.least_bytes(mnist) == 400e6 + 2 * 4 * 70_000 * 784 + 6 * 4 * 266_200
    assert memory.least_bytes(Config(model="package.module:make")) == 400e6 + 2 * 4 * 1_797 * 64


@pytest.mark.parametrize(("free", "fitting"), [(None, 4), (1e12, 4), (2.1e9, 4), (1.65e9, 3), (0.85e9, 1)])
def test_as_many_processes_as_fit(monkeypatch, free, fitting):
    with_free(monkeypatch, free)
    assert memory.fitting_processes(Config(), 4) == fitting


def test_a_number_of_processes_that_is_asked_for_is_not_changed(monkeypatch):
    with_free(monkeypatch, 1.7e9)
    with pytest.raises(
        ResourceError, match=r"in 4 processes takes 2.0 GB of memory at least, of which 1.7 GB are"
    ) as e:
        memory.fitting_processes(Config(jobs=4), 4)
    assert "`jobs=3`" in e.value.remedy


def test_find_ticket_checks_the_states_of_its_model(monkeypatch, tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1000), keras.layers.Dense(2)])
    x, y = np.zeros((40, 4), "float32"), np.arange(40) % 2
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # 7,002 parameters, each with two slots of Adam, are 84 kB; two more copies of them do not fit into 160 kB.
    with_free(monkeypatch, 160e3)
    with pytest.raises(ResourceError, match="states of model and optimizer"):
        tfl.find_ticket(model, x, y, loss=loss, steps=2, rounds=1, verbose=0, run_dir=tmp_path / "run")
    assert not list(tmp_path.rglob("manifest.json"))


def test_the_rewind_states_of_two_replicates_are_kept():
    """One for each replicate was kept, so memory grew with their number."""
    reads = []
    store = SimpleNamespace(rewind_state=lambda number: reads.append(number) or {}, rewind_digest=str)
    points = StartingPoints(Config(replicates=3), SimpleNamespace(), store)
    assert [points.rewind_state(number)[1] for number in (0, 1, 0, 2, 0, 1)] == list("010201")
    assert reads == [0, 1, 2, 1]

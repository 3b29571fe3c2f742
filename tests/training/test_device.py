"""Which of a machine's GPUs a process sees. There is none here: what TensorFlow is told is recorded."""

import pytest
import tensorflow as tf

from tf_lottery.errors import ResourceError
from tf_lottery.training.device import configure

CARDS = ["first", "second"]


@pytest.fixture
def told(monkeypatch):
    """What TensorFlow is told about two GPUs."""
    told = {"visible": None, "growing": []}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: CARDS)
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda cards, kind: told.update(visible=cards))
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda card, on: told["growing"].append((card, on))
    )
    return told


@pytest.mark.parametrize(("place", "card"), [(0, "first"), (1, "second"), (2, "first"), (5, "second")])
def test_processes_side_by_side_take_the_cards_in_turn(told, place, card):
    configure(threads=None, place=place)
    assert told == {"visible": [card], "growing": [(card, True)]}


def test_a_process_alone_sees_all_cards_and_memory_grows_on_each(told):
    configure(threads=None)
    assert told == {"visible": None, "growing": [("first", True), ("second", True)]}


def test_on_the_processor_no_card_is_seen(told):
    configure(threads=None, device="cpu", place=1)
    assert told == {"visible": [], "growing": []}


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(ResourceError, match="sees no GPU"):
        configure(threads=None, device="gpu", place=0)

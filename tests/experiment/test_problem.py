"""Problems made from configurations, and what makes one model another."""

import keras
import numpy as np
import pytest

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.options import OPTIMIZERS
from tf_lottery.experiment.presets import PRESETS
from tf_lottery.experiment.problem import (
    configuration_hash,
    from_config,
    make_learning_rate,
    make_optimizer,
    model_hash,
    replicate_seed,
    without_automatic_names,
)
from tf_lottery.layers import get_weights

L = keras.layers


def branched(join=L.Add):
    inputs = keras.Input((6,))
    a, b = L.Dense(4)(inputs), L.Bidirectional(L.LSTM(2))(L.Reshape((3, 2))(inputs))
    return keras.Model(inputs, L.Dense(2)(join()([a, b])))


def test_a_models_hash_does_not_count_the_builds_of_a_process():
    assert configuration_hash(branched()) == configuration_hash(branched())
    assert configuration_hash(branched()) != configuration_hash(branched(L.Multiply))


def test_automatic_names_lose_their_numbers_and_given_names_stay():
    document = {
        "class_name": "Adam",
        "config": {"name": "adam_3", "inner": [{"class_name": "LSTM", "config": {"name": "lstm"}}]},
    }
    assert without_automatic_names(document)["config"]["name"] == "adam"
    assert without_automatic_names({"class_name": "Dense", "config": {"name": "head_2"}})["config"]["name"] == "head_2"
    assert document["config"]["name"] == "adam_3"


def test_a_named_architecture_adds_nothing_to_the_hash(tmp_path):
    assert model_hash(Config(model="mlp")) == ""
    path = tmp_path / "model.keras"
    branched().save(path)
    assert len(model_hash(Config(model=str(path)))) == 64
    assert model_hash(Config(model=str(tmp_path / "none.keras"))) == ""


@pytest.mark.parametrize("pixels", [8, 1000])
def test_crops_hold_a_part_of_the_image(pixels):
    assert from_config(Config(dataset="digits", model="mlp", pad_crop=7)).augment is not None
    with pytest.raises(UnfitError, match="nothing but padding"):
        from_config(Config(dataset="digits", model="mlp", pad_crop=pixels))


def test_digits_by_configuration():
    problem = from_config(Config(dataset="digits", model="mlp"))
    assert problem.replayable
    assert problem.fingerprint
    assert problem.test is not None
    assert problem.steps_per_epoch(60) == problem.train.size // 60
    assert problem.loss.from_logits
    first, again, other = (get_weights(problem.make_model(replicate)) for replicate in (0, 0, 1))
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert not np.array_equal(first["hidden_1/kernel"], other["hidden_1/kernel"])


def test_the_precision_of_a_configuration_is_that_of_its_layers_only():
    problem = from_config(Config(dataset="digits", model="mlp", precision="mixed_bfloat16"))
    assert problem.make_model(0).layers[1].compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"


def test_augmentation_needs_images_of_three_axes():
    assert from_config(Config(dataset="digits", model="mlp", flip=True)).augment is not None


def test_a_model_that_does_not_fit_the_data_is_refused(tmp_path):
    keras.Sequential([keras.Input((8, 8, 1)), L.Flatten(), L.Dense(9)]).save(tmp_path / "nine.keras")
    with pytest.raises(UnfitError, match=r"Class numbers must be in \[0, 9\)"):
        from_config(Config(dataset="digits", model=str(tmp_path / "nine.keras")))
    keras.Sequential([keras.Input((28, 28, 1)), L.Flatten(), L.Dense(10)]).save(tmp_path / "large.keras")
    with pytest.raises(UnfitError, match=r"examples of shape \(28, 28, 1\)"):
        from_config(Config(dataset="digits", model=str(tmp_path / "large.keras")))


def test_a_softmax_at_the_end_is_seen(tmp_path):
    keras.Sequential([keras.Input((8, 8, 1)), L.Flatten(), L.Dense(10, activation="softmax")]).save(
        tmp_path / "m.keras"
    )
    assert not from_config(Config(dataset="digits", model=str(tmp_path / "m.keras"))).loss.from_logits


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_can_be_made(name):
    optimizer = make_optimizer(Config(optimizer=name, weight_decay=0.25), 0.5)
    assert float(optimizer.learning_rate) == 0.5
    assert optimizer.weight_decay == 0.25


def test_seeds_of_replicates_and_purposes_differ():
    config = Config(seed=1)
    seeds = {
        replicate_seed(config, replicate, purpose) for replicate in (0, 1) for purpose in ("order", "augmentation")
    }
    assert len(seeds) == 4
    assert replicate_seed(Config(seed=2), 0, "order") not in seeds


def test_the_presets_of_residual_nets_drop_and_end_as_their_papers_say():
    rates = {}
    for name, preset in PRESETS.items():
        config = preset.config()
        rate = make_learning_rate(config, config.steps)
        if config.lr_schedule == "step":
            rates[name] = [float(rate(step)) for step in (0, config.lr_milestones[0], config.steps)]
    assert rates == {
        "cifar10-resnet20": pytest.approx([0.1, 0.01, 0.001], rel=1e-6),
        "cifar10-vgg16": pytest.approx([0.1, 0.01, 0.001], rel=1e-6),
        "cifar10-subset-resnet20": pytest.approx([0.03, 0.003, 0.0003], rel=1e-6),
    }

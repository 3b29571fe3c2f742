"""What is trained: the model, the data, the loss and the optimizer, as live objects made from a configuration."""

import functools
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from tf_lottery import data as datasets
from tf_lottery.data import Arrays, Dataset
from tf_lottery.errors import UnfitError
from tf_lottery.experiment.checking import classification_loss
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.configured_optimizer import make_learning_rate, make_optimizer
from tf_lottery.experiment.training_and_rewind_steps import training_steps
from tf_lottery.layers import Selector, model_from_architecture, wrap
from tf_lottery.layers import architecture as architecture_of
from tf_lottery.layers.acceptance import check_has_no_training_loop, check_model, own_methods
from tf_lottery.layers.copying import METHODS
from tf_lottery.layers.precision_copy import copy_in_precision, other_floats
from tf_lottery.layers.sublayers import is_nested_model
from tf_lottery.models.building import build
from tf_lottery.training.device import configure, precision
from tf_lottery.training.engine import Engine
from tf_lottery.training.identity import describe
from tf_lottery.training.own_code import own_code_digest
from tf_lottery.training.replicas import Replicas, scope_of
from tf_lottery.training.replicated_engine import ReplicatedEngine
from tf_lottery.utils import seeds
from tf_lottery.utils.files import file_digest

Data: TypeAlias = Any  # Arrays, or a tf.data.Dataset, which has no types


@dataclass(frozen=True)
class Problem:
    """Everything that a training needs, beside the numbers of the configuration.

    Attributes:
        make_model: makes the plain model of a replicate, with the initial weights of that replicate.
        makes_new_models: whether each call of `make_model` makes another model; else it is the caller's own.
        make_optimizer: makes a new optimizer.
        loss: as in `model.compile`.
        metrics: as in `model.compile`.
        loss_weights: as in `model.compile`.
        train: training data, in memory or as a `tf.data.Dataset` of batches.
        validation: validation data in the same forms.
        test: test data in the same forms, or None.
        fingerprint: SHA-256 of the data's content, or "" where it is not known (a stream).
        augment: augmentation of a training batch's inputs, or None.
        include: which weights to mask, as for `wrap`.
        exclude: which weights not to mask, as for `wrap`.
        weighted_metrics: as in `model.compile`.
        steps_in_epoch: steps of an epoch where the caller states or counts them; None takes the data's own number.
        replicas: what trains the model together under a strategy, or None.
    """

    make_model: Callable[[int], keras.Model]
    make_optimizer: Callable[[], keras.optimizers.Optimizer]
    loss: Any
    metrics: Any
    train: Data
    validation: Data
    test: Data | None = None
    loss_weights: Any = None
    weighted_metrics: Any = None
    fingerprint: str = ""
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None
    include: Selector | None = None
    exclude: Selector | None = None
    steps_in_epoch: int | None = None
    makes_new_models: bool = True
    replicas: Replicas | None = None

    @property
    def replayable(self) -> bool:
        """Whether the batch of a step is known from the seed alone, so that a training can resume in its middle."""
        return isinstance(self.train, Arrays)

    def own_code(self, plain: keras.Model) -> str:
        """Return the digest of the code of the caller's own that is trained; "" if there is none.

        Args:
            plain: the plain model, as from `make_model(0)`.
        """
        measures = [self.loss, self.metrics, self.loss_weights, self.weighted_metrics]
        return own_code_digest([plain, *measures, self.make_optimizer(), self.augment])

    def wrapped(self, plain: keras.Model) -> keras.Model:
        """Return a wrapped model of the first replicate; a subclassed one that is newly made needs no copy.

        Args:
            plain: the plain model, as from `make_model(0)`; it is not changed.
        """
        in_place = self.makes_new_models and not is_nested_model(plain)
        with scope_of(self.replicas):
            model = self.make_model(0) if in_place else plain
            return wrap(model, include=self.include, exclude=self.exclude, in_place=in_place)

    def engine(
        self, model: keras.Model, *, xla: str, track_changes: bool = False, sparse: str = "off", examples: int = 0
    ) -> Engine:
        """Make an engine that trains a wrapped model on this problem.

        Args:
            model: a wrapped model.
            xla: "auto", "on" or "off"; a strategy does without.
            track_changes: whether to sum up |change| of each maskable weight over the steps.
            sparse: whether layers compute by the sparse kernels: "auto", "on" or "off"; a strategy does without.
            examples: how many examples a training looks at, which "auto" depends on.
        """
        with scope_of(self.replicas):
            optimizer = self.make_optimizer()
        settings = {
            "optimizer": optimizer,
            "loss": self.loss,
            "metrics": self.metrics,
            "loss_weights": self.loss_weights,
            "weighted_metrics": self.weighted_metrics,
            "augment": self.augment,
            "track_changes": track_changes,
        }
        if self.replicas:
            return ReplicatedEngine(model, self.replicas, **settings)
        return Engine(model, **settings, xla=xla, sparse=sparse, examples=examples)

    def steps_per_epoch(self, batch_size: int) -> int | None:
        """Return the number of steps of an epoch, or None for a stream of unknown length."""
        if self.steps_in_epoch is not None:
            return self.steps_in_epoch
        if isinstance(self.train, Arrays):
            return self.train.size // batch_size
        cardinality = int(self.train.cardinality())
        return cardinality if cardinality > 0 else None


def from_config(config: Config, *, architecture: str | None = None, weights_bytes: int | None = None) -> Problem:
    """The problem of a configuration: its data set loaded, its model checked against it.

    Args:
        config: the experiment.
        architecture: make the model of this, as `layers.architecture` gives it, instead of that of the configuration.
        weights_bytes: the bytes of the weights that belong to it, where they are known.
    """
    dataset = load_dataset(config)
    make_model = functools.partial(_make_model, config, dataset, architecture=architecture, weights_bytes=weights_bytes)
    model = make_model(0)
    loss = classification_loss(model, dataset)
    learning_rate = make_learning_rate(config, training_steps(config, dataset.train.size // config.batch_size))
    augment = None
    if config.pad_crop or config.flip:
        from tf_lottery.data.augmentation import augment as augmented

        if len(dataset.input_shape) != 3:
            raise UnfitError(
                f"Augmentation needs images (height, width, channels). Received: {dataset.input_shape}.",
                "Switch it off.",
            )
        if config.pad_crop >= (side := min(dataset.input_shape[:2])):
            raise UnfitError(
                f"`pad_crop` of {config.pad_crop} pixels leaves crops of nothing but padding: images are "
                f"{dataset.input_shape[0]}x{dataset.input_shape[1]}.",
                f"Pass fewer than {side} pixels, usually 4.",
            )
        augment = functools.partial(_augment, augmented, config.pad_crop, config.flip)
    return Problem(
        make_model=make_model,
        make_optimizer=functools.partial(make_optimizer, config, learning_rate),
        loss=loss,
        metrics=["accuracy"],
        train=dataset.train,
        validation=dataset.validation,
        test=dataset.test,
        fingerprint=dataset.fingerprint,
        augment=augment,
        include=config.include or None,
        exclude=config.exclude or None,
    )


def load_dataset(config: Config) -> Dataset:
    """The data set of a configuration, split by its seed and normalized as it says."""
    return datasets.load(
        config.dataset,
        data_dir=config.data_dir,
        validation=config.validation,
        normalization=config.normalization,
        seed=config.seed,
        classes=config.classes,
    )


def replicate_seed(config: Config, replicate: int, purpose: str, *parts: int | str) -> int:
    """Return the seed of a purpose in a replicate.

    Args:
        config: the experiment.
        replicate: its number.
        purpose: what is drawn.
        *parts: what else the draw depends on, e.g. the round.
    """
    return seeds.derive(config.seed, "replicate", replicate, purpose, *parts)


def _make_model(
    config: Config,
    dataset: Dataset,
    replicate: int,
    *,
    architecture: str | None = None,
    weights_bytes: int | None = None,
) -> keras.Model:
    with precision(config.precision), seeds.seeded(replicate_seed(config, replicate, "initial weights")):
        if architecture is None:
            model = build(config.model, input_shape=dataset.input_shape, classes=dataset.classes)
        else:
            model = model_from_architecture(architecture, weights_bytes=weights_bytes)
            check_model(model, source=config.model, error=UnfitError, subclassed=True)
            if config.precision == "float32" and other_floats(model):  # it says in what the run computed
                model = copy_in_precision(model, config.precision)
    check_has_no_training_loop(model, source=config.model, error=UnfitError)
    return model


def _augment(function: Callable[..., tf.Tensor], pad: int, flip: bool, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return function(images, seed=seed, pad=pad, flip=flip)


def model_hash(config: Config) -> str:
    """What a user's model adds to the hash of a configuration: its own configuration, or its file; "" for a named one.

    A function's model is described by its configuration, a file by its content.
    """
    if config.model.endswith(".keras"):
        path = Path(config.model).expanduser()
        return file_digest(path) if path.is_file() else ""
    if ":" not in config.model:
        return ""
    # Making a model starts TensorFlow, whose threads can't be set any more then.
    configure(threads=config.threads, device=config.device)
    return configuration_hash(_make_model(config, load_dataset(config), 0))


def configuration_hash(model: keras.Model) -> str:
    """SHA-256 of a model's architecture: its layers, their configurations and connections; methods of its own class."""
    own = {name: describe(getattr(type(model), name)) for name in own_methods(model, METHODS)}
    text = architecture_of(model) + (json.dumps(own, sort_keys=True, default=str) if own else "")
    return hashlib.sha256(text.encode()).hexdigest()


def without_automatic_names(document: Any) -> Any:
    """A copy of a serialized object, without the numbers in the names that Keras counts up in a process (`adam_1`)."""
    if isinstance(document, list | tuple):
        return [without_automatic_names(item) for item in document]
    if not isinstance(document, Mapping):
        return document
    copy = {key: without_automatic_names(value) for key, value in document.items()}
    kind, config = copy.get("class_name"), copy.get("config")
    if isinstance(kind, str) and isinstance(config, dict) and isinstance(config.get("name"), str):
        base = re.sub(r"_\d+$", "", config["name"])
        if base.replace("_", "").endswith(kind.lower()):  # `forward_lstm_2` inside a Bidirectional, too
            config["name"] = base
    return copy

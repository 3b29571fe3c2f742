"""Evaluating many sets of weights of one model: compiled once, float32, on test data and a fixed part of the rest."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.data import Arrays
from tf_lottery.data.tree import map_leaves
from tf_lottery.errors import UnfitError
from tf_lottery.experiment.problem import Problem
from tf_lottery.experiment.workers.result_row import accuracy
from tf_lottery.layers import set_weights, wrap
from tf_lottery.studies import batch_norm
from tf_lottery.training.batches import Batch, on_device
from tf_lottery.utils import seeds

TRAIN, TEST = "train", "test"


class Evaluator:
    """A model and its data, to evaluate any weights on.

    The model's masks are all ones: the weights bring their zeros along, so those between two networks of different
    masks can be evaluated, too.

    Args:
        problem: model, data, loss and metrics.
        examples: how many training examples are looked at: a fixed subset, drawn by `seed`.
        seed: of that subset.
        xla: "auto", "on" or "off".

    Attributes:
        model: the wrapped model.
        normalised: whether it has batch normalisation.
        parts: the data by part: "train" (the subset) and "test"; without test data there is no such part.
    """

    def __init__(self, problem: Problem, *, examples: int, seed: int, xla: str = "auto") -> None:
        self.problem = problem
        self.model = wrap(problem.make_model(0), include=problem.include, exclude=problem.exclude)
        self.parts: dict[str, Arrays] = {TRAIN: sample(problem.train, examples, seed=seed)}
        if problem.test is not None:
            self.parts[TEST] = sample(problem.test, None)
        self._batches = {part: on_device(arrays) for part, arrays in self.parts.items()}
        self._engine = problem.engine(self.model, xla=xla)
        first = next(iter(self.parts.values()))
        self._engine.prepare(on_device(first.take(np.arange(min(first.size, 2)))))
        self.normalised = bool(batch_norm.layers(self.model))

    def evaluate(
        self, weights: Mapping[str, np.ndarray], *, parts: tuple[str, ...] = (TRAIN, TEST), reestimate: bool = False
    ) -> dict[str, float | None]:
        """Loss, error (1 - accuracy) and accuracy of weights on each part.

        Args:
            weights: all variables of the model by path.
            parts: the parts to evaluate; those that are not there are left out.
            reestimate: take the batch-norm statistics anew from the training subset, instead of those in `weights`.

        Returns:
            `<part>_loss`, `<part>_error`, `<part>_accuracy` for each part; None for what a problem has not.
        """
        set_weights(self.model, weights)
        if reestimate and self.normalised:
            batch_norm.reestimate(self.model, self.parts[TRAIN].x)
        found: dict[str, float | None] = {}
        for part in parts:
            if part in self._batches:
                found |= self._measured(part, self._batches[part])
        return found

    def evaluate_on(self, weights: Mapping[str, np.ndarray], arrays: Arrays, *, part: str) -> dict[str, float | None]:
        """Loss, error and accuracy of weights on other data, e.g. disturbed inputs; named as by `evaluate`."""
        set_weights(self.model, weights)
        return self._measured(part, on_device(arrays))

    def _measured(self, part: str, batch: Batch) -> dict[str, float | None]:
        results = self._engine.evaluate(batch)
        right = accuracy(results)
        error = None if right is None else 1.0 - right
        return {f"{part}_loss": results["loss"], f"{part}_error": error, f"{part}_accuracy": right}

    def test(self, *, most: int | None = None) -> Arrays:
        """The test examples, or the first `most` of them.

        Raises:
            UnfitError: the run has no test data.
        """
        if TEST not in self.parts:
            raise UnfitError("This study reports on test data, and the run has none.", "Give the run test data.")
        arrays = self.parts[TEST]
        return arrays if most is None or arrays.size <= most else arrays.take(np.arange(most))

    def input_range(self) -> tuple[np.ndarray, np.ndarray]:
        """The range of the training inputs, per channel; of a stream, that of the subset."""
        train = self.problem.train
        return input_range((train if isinstance(train, Arrays) else self.parts[TRAIN]).x)


def sample(data: Any, count: int | None, *, seed: int = 0) -> Arrays:
    """At most `count` examples (None: all) of data in memory or of a stream, always the same ones.

    Of data in memory they are drawn at random by `seed`; of a stream they are the first ones.

    Example:
        >>> sample(Arrays(np.arange(8.0)[:, None], np.arange(8)), 3).size
        3
    """
    if isinstance(data, tf.data.Dataset):
        elements: list[Any] = []
        size = 0
        for element in data.as_numpy_iterator():
            elements.append(element)
            size += len(keras.tree.flatten(element)[0])
            if count is not None and size >= count:
                break
        joined = keras.tree.map_structure(lambda *arrays: np.concatenate(arrays)[:count], *elements)
        return Arrays(*joined)
    if count is None or count >= data.size:
        return data
    return data.take(np.sort(seeds.generator(seed, "studied examples").permutation(data.size)[:count]))


def input_range(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest value of each channel (last axis) of inputs: the range that real inputs come from.

    Args:
        x: one array of shape (examples, ..., channels); of a single axis beyond the examples, features share one range.

    Raises:
        UnfitError: several inputs, or inputs that are no real numbers.

    Example:
        >>> low, high = input_range(np.array([[[0.0, 5.0]], [[1.0, 7.0]]]))
        >>> low.tolist(), high.tolist()
        ([0.0, 5.0], [1.0, 7.0])
    """
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise UnfitError(
            f"Disturbed inputs must be one array of real numbers. The model takes: {kind}.", "Choose another study."
        )
    axes = tuple(range(x.ndim - 1)) if x.ndim > 2 else None
    return np.asarray(x.min(axis=axes)), np.asarray(x.max(axis=axes))


def with_inputs(arrays: Arrays, x: np.ndarray) -> Arrays:
    """The same examples with other inputs."""
    return Arrays(map_leaves(lambda old: x.astype(old.dtype), arrays.x), arrays.y, arrays.sample_weight)

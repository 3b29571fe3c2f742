"""`Evaluator`: loss and accuracy of many sets of weights of one model, compiled once, in float32."""

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
from tf_lottery.layers import set_weights
from tf_lottery.studies.calculations.batch_norm_statistics import batch_norm_layers, reestimate_statistics
from tf_lottery.training.batches import Batch, on_device
from tf_lottery.utils import seeds

TRAIN, TEST = "train", "test"


class Evaluator:
    """Evaluates weights of one model on test data and on a fixed subset of the training data.

    The model's masks are all ones: pruned weights are zeros in the weights themselves, so weights between two networks
    of different masks can be evaluated too.

    Args:
        problem: model, data, loss and metrics.
        examples: the most training examples to evaluate on: a fixed subset, drawn at random.
        seed: the seed of that subset.
        xla: "auto", "on" or "off".

    Attributes:
        model: the wrapped model.
        has_batch_norm: whether the model has batch-norm layers.
        parts: the data by part: "train" (the subset) and "test"; without test data there is no such part.
    """

    def __init__(self, problem: Problem, *, examples: int, seed: int, xla: str = "auto") -> None:
        """Build and compile the model, and move the data to the device."""
        self.problem = problem
        self.model = problem.wrapped(problem.make_model(0))
        self.parts: dict[str, Arrays] = {TRAIN: take_examples(problem.train, examples, seed=seed)}
        if problem.test is not None:
            self.parts[TEST] = take_examples(problem.test, None)
        self._batches = {part: on_device(arrays) for part, arrays in self.parts.items()}
        self._engine = problem.engine(self.model, xla=xla)
        first = next(iter(self.parts.values()))
        self._engine.prepare(on_device(first.take(np.arange(min(first.size, 2)))))
        self.has_batch_norm = bool(batch_norm_layers(self.model))

    def evaluate(
        self, weights: Mapping[str, np.ndarray], *, parts: tuple[str, ...] = (TRAIN, TEST), reestimate: bool = False
    ) -> dict[str, float | None]:
        """Return loss, error (1 - accuracy) and accuracy of weights on each part.

        Args:
            weights: all variables of the model by path.
            parts: the parts to evaluate on; parts without data are left out.
            reestimate: whether to estimate the batch-norm statistics from the training subset, instead of taking
                those in `weights`.

        Returns:
            `<part>_loss`, `<part>_error` and `<part>_accuracy` for each part; errors and accuracies are fractions, and
            None where the problem has no accuracy.
        """
        set_weights(self.model, weights)
        if reestimate and self.has_batch_norm:
            reestimate_statistics(self.model, self.parts[TRAIN].x)
        results: dict[str, float | None] = {}
        for part in parts:
            if part in self._batches:
                results |= self._evaluate_batch(part, self._batches[part])
        return results

    def evaluate_on(self, weights: Mapping[str, np.ndarray], arrays: Arrays, *, part: str) -> dict[str, float | None]:
        """Return loss, error and accuracy of weights on other data, e.g. corrupted inputs.

        Args:
            weights: all variables of the model by path.
            arrays: the examples.
            part: the part after which the results are named, as by `evaluate`.
        """
        set_weights(self.model, weights)
        return self._evaluate_batch(part, on_device(arrays))

    def _evaluate_batch(self, part: str, batch: Batch) -> dict[str, float | None]:
        results = self._engine.evaluate(batch)
        correct = accuracy(results)
        error = None if correct is None else 1.0 - correct
        return {f"{part}_loss": results["loss"], f"{part}_error": error, f"{part}_accuracy": correct}

    def test_examples(self, *, most: int | None = None) -> Arrays:
        """Return the test examples.

        Args:
            most: the most examples to return, the first ones; None: all.

        Raises:
            UnfitError: the run has no test data.
        """
        if TEST not in self.parts:
            raise UnfitError("This study reports on test data, and the run has none.", "Give the run test data.")
        arrays = self.parts[TEST]
        return arrays if most is None or arrays.size <= most else arrays.take(np.arange(most))

    def input_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the range of each channel of the training inputs; of a stream, the range in the subset."""
        train = self.problem.train
        return input_range((train if isinstance(train, Arrays) else self.parts[TRAIN]).x)


def take_examples(data: Arrays | tf.data.Dataset, count: int | None, *, seed: int = 0) -> Arrays:
    """Return a fixed subset of data: of data in memory drawn at random, of a stream the first examples.

    Args:
        data: data in memory, or a batched `tf.data.Dataset`.
        count: the most examples to take; None: all.
        seed: the seed of the draw.

    Example:
        >>> take_examples(Arrays(np.arange(8.0)[:, None], np.arange(8)), 3).size
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
    """Return the least and the greatest value of each channel (last axis) of inputs.

    Args:
        x: one array of shape (examples, ..., channels); features of shape (examples, features) share one range.

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


def replace_inputs(arrays: Arrays, x: np.ndarray) -> Arrays:
    """Return the same examples with other inputs.

    Args:
        arrays: the examples.
        x: the inputs, of the shape of those of `arrays`; cast to their dtype.
    """
    return Arrays(map_leaves(lambda old: x.astype(old.dtype), arrays.x), arrays.y, arrays.sample_weight)

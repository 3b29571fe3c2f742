"""The replicas of one training under a strategy of TensorFlow: how they share a step, and how they agree.

Every replica holds the whole model. Each takes its own slice of the batch of a step, Keras adds up the gradients of all
of them (and divides the losses by their number), and all make the same update.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import UsageError
from tf_lottery.training.batches import Batch, map_tensors


class Replicas:
    """The replicas of a strategy. In several processes, all of them make the same calls in the same order.

    Args:
        strategy: a `MirroredStrategy` or a `MultiWorkerMirroredStrategy`.

    Attributes:
        strategy: the strategy.
        count: the number of replicas, of all processes together.
        process: the number of this process, from 0.
        processes: how many there are.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self.strategy = strategy
        self.count = int(strategy.num_replicas_in_sync)
        self._local = len(strategy.extended.worker_devices)
        self.processes = self.count // self._local
        self.process = self._replica_numbers()[0] // self._local
        self._gather_numbers = _function(self._gather_rows)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what the replicas trained."""
        return self.process == 0

    def scope(self) -> Any:
        """Return the context in which variables are made for all replicas."""
        return self.strategy.scope()

    def check_batch(self, batch_size: int) -> None:
        """Check that a batch divides among the replicas.

        Raises:
            UsageError: it does not.
        """
        if batch_size % self.count:
            lower = batch_size // self.count * self.count
            raise UsageError(
                f"`batch_size` is divided among the replicas, of which there are {self.count}. Received: {batch_size}.",
                f"Pass a multiple of {self.count}, e.g. {lower or self.count}.",
            )

    def run(self, function: Callable[[Any], None], parts: Mapping[int, Any]) -> None:
        """Call a function in each replica of this process, inside a compiled function.

        Args:
            function: is given the replica's part.
            parts: the parts of this process, by the number of the replica; one that has none is not called for.
        """

        def of_replica() -> None:
            if (number := _replica_number()) in parts:
                function(parts[number])

        self.strategy.run(of_replica)

    def slices(self, batch: Batch) -> dict[int, Batch]:
        """Return the slices of a batch that the replicas of this process take, by the number of the replica.

        Args:
            batch: the batch of a step, whose size is a multiple of the number of replicas.
        """
        return {number: map_tensors(functools.partial(self._slice, number), batch) for number in self.numbers}

    def _slice(self, number: int, tensor: tf.Tensor) -> tf.Tensor:
        return tf.split(tensor, self.count)[number]

    @property
    def numbers(self) -> range:
        """The numbers of the replicas of this process."""
        return range(self.process * self._local, (self.process + 1) * self._local)

    def gather(self, variables: Iterable[keras.Variable]) -> list[np.ndarray]:
        """Return the values that each replica has of variables, shape (replicas, ...).

        Args:
            variables: variables that the replicas do not share, such as running metrics.
        """
        variables = list(variables)
        return self._gathered(lambda: [tf.convert_to_tensor(variable.value) for variable in variables])

    def scatter(self, variables: Iterable[keras.Variable], values: Iterable[np.ndarray]) -> None:
        """Give each replica its own values of variables again.

        Args:
            variables: as for `gather`.
            values: what it returned.
        """
        pairs = [(variable, tf.constant(value)) for variable, value in zip(variables, values, strict=True)]

        def of_replica() -> None:
            for variable, value in pairs:
                variable.assign(value[_replica_number()])

        if pairs:
            _function(lambda: self.strategy.run(of_replica))()

    def each(self, numbers: Iterable[int]) -> np.ndarray:
        """Return the integers of each process, shape (processes, length).

        Args:
            numbers: those of this process; as many in each.
        """
        rows = self._gather_numbers(tf.constant(list(numbers), tf.int64))
        table: np.ndarray = self.strategy.experimental_local_results(rows)[0].numpy()
        return table[:: self._local]

    def chosen(self, value: int) -> int:
        """Return what the chief chose, where each process would choose by a clock of its own.

        Args:
            value: the choice of this process.
        """
        return value if self.processes == 1 else int(self.each([value])[0, 0])

    def _gather_rows(self, row: tf.Tensor) -> Any:
        def of_replica() -> tf.Tensor:
            return tf.distribute.get_replica_context().all_gather(row[tf.newaxis], axis=0)

        return self.strategy.run(of_replica)

    def _gathered(self, values: Callable[[], list[tf.Tensor]]) -> list[np.ndarray]:
        def of_replica() -> Any:
            return tf.distribute.get_replica_context().all_gather([value[tf.newaxis] for value in values()], axis=0)

        gathered = _function(lambda: self.strategy.run(of_replica))()
        return [self.strategy.experimental_local_results(value)[0].numpy() for value in gathered]

    def _replica_numbers(self) -> list[int]:
        numbers: list[int] = []
        _function(lambda: self.strategy.run(lambda: numbers.append(_replica_number()))).get_concrete_function()
        return sorted(numbers)


def _function(function: Callable[..., Any]) -> Any:
    return tf.function(function, autograph=False)


def _replica_number() -> int:
    """Return the number of the replica that is traced; TensorFlow knows it then."""
    return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))


def scope_of(replicas: Replicas | None) -> Any:
    """Return the context in which variables are made for all replicas; one that does nothing where there are none."""
    return contextlib.nullcontext() if replicas is None else replicas.scope()


def agreed(replicas: Replicas | None, choice: bool) -> bool:
    """Return a choice that depends on a clock: the chief's, where several processes train.

    Args:
        replicas: the replicas, or None.
        choice: the choice of this process.
    """
    return choice if replicas is None else bool(replicas.chosen(int(choice)))

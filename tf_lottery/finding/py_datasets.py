"""`keras.utils.PyDataset` as `tf.data.Dataset`, read by Keras's own adapter, workers and processes included."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

from tf_lottery.errors import UnfitError
from tf_lottery.utils import seeds


def training_stream(dataset: keras.utils.PyDataset, *, seed: int) -> tf.data.Dataset:
    """Return the batches of a data set for training, epoch after epoch without end, in another order in each epoch.

    As in `fit`, whole batches are shuffled, and `on_epoch_begin` and `on_epoch_end` are called around each epoch. The
    order is a function of the seed and the epoch. A data set without a length is read in its own order.

    Args:
        dataset: yields batches (x, y) or (x, y, sample_weight).
        seed: the seed of the order of the batches.

    Raises:
        UnfitError: there is no batch, or it cannot be read.
    """

    def batches() -> Iterator[Any]:
        view = _View(dataset)
        adapter = PyDatasetAdapter(view)
        try:
            for epoch in itertools.count():
                view.shuffle(seeds.derive(seed, "batch order", epoch))
                adapter.on_epoch_begin()
                yield from adapter.get_numpy_iterator()
                adapter.on_epoch_end()
        finally:
            _stop_workers(adapter)

    return _stream(batches, dataset, tf.data.INFINITE_CARDINALITY)


def evaluation_stream(dataset: keras.utils.PyDataset) -> tf.data.Dataset:
    """Return the batches of a data set of known length for an evaluation, once and in their order.

    Raises:
        UnfitError: there is no batch, or it cannot be read.
    """

    def batches() -> Iterator[Any]:
        adapter = PyDatasetAdapter(_View(dataset))
        try:
            adapter.on_epoch_begin()
            yield from adapter.get_numpy_iterator()
            adapter.on_epoch_end()
        finally:
            _stop_workers(adapter)

    return _stream(batches, dataset, dataset.num_batches)


def _stream(batches: Callable[[], Iterator[Any]], dataset: keras.utils.PyDataset, count: int) -> tf.data.Dataset:
    stream = tf.data.Dataset.from_generator(batches, output_signature=_signature(dataset))
    return stream.apply(tf.data.experimental.assert_cardinality(count)).prefetch(tf.data.AUTOTUNE)


class _View(keras.utils.PyDataset):
    """A data set of the caller's, its batches in an order that can be changed, their lists turned into tuples."""

    def __init__(self, dataset: keras.utils.PyDataset) -> None:
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self.dataset = dataset
        self.order: list[int] | None = None

    def shuffle(self, seed: int) -> None:
        """Order the batches as a seed says."""
        count = self.dataset.num_batches
        self.order = None if count is None else seeds.generator(seed).permutation(count).tolist()

    @property
    def num_batches(self) -> int | None:
        count: int | None = self.dataset.num_batches
        return count

    def __getitem__(self, index: int) -> Any:
        # tf.data would make one tensor of a list of arrays.
        return keras.tree.lists_to_tuples(self.dataset[index if self.order is None else self.order[index]])

    def on_epoch_begin(self) -> None:
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.dataset.on_epoch_end()


def _signature(dataset: keras.utils.PyDataset) -> Any:
    """The shapes and types of a batch, from the first ones."""
    try:
        return PyDatasetAdapter(_View(dataset)).get_tf_dataset().element_spec
    except (ValueError, TypeError, NotImplementedError) as error:
        raise UnfitError(
            f"The keras.utils.PyDataset {type(dataset).__name__} can't be read: {' '.join(str(error).split())[:300]}",
            "Let it yield batches (x, y) or (x, y, sample_weight) of arrays.",
        ) from error


def _stop_workers(adapter: PyDatasetAdapter) -> None:
    """Stop the workers of an epoch that is left before its end."""
    if adapter.enqueuer:
        adapter.enqueuer.stop()

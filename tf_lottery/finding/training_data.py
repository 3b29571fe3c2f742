"""Training, validation and test data as `fit` takes them, made into what an experiment trains on."""

import hashlib
import inspect
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from tf_lottery.data import Arrays, from_arrays
from tf_lottery.data.split import split
from tf_lottery.data.user import single_precision
from tf_lottery.errors import UsageError
from tf_lottery.finding import py_datasets
from tf_lottery.finding.class_weights import with_class_weight

log = logging.getLogger(__name__)
# After so many seconds of counting batches, say what would make it unnecessary.
PATIENCE = 10.0
KINDS = "arrays, a tf.data.Dataset or a keras.utils.PyDataset"


@dataclass(frozen=True)
class TrainingData:
    """What is trained, validated and tested on.

    Attributes:
        train: `Arrays`, or a `tf.data.Dataset` of batches.
        validation: the same.
        test: the same, or None.
        fingerprint: SHA-256 of the contents of all arrays, or "" if there are none.
        batches: the number of batches of a `keras.utils.PyDataset` that is trained on; otherwise None.
    """

    train: Arrays | tf.data.Dataset
    validation: Arrays | tf.data.Dataset
    test: Arrays | tf.data.Dataset | None
    fingerprint: str
    batches: int | None = None

    def parts(self) -> tuple[Any, Any, Any]:
        """Return training, validation and test data."""
        return self.train, self.validation, self.test


def training_data(
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    validation_data: Any = None,
    test_data: Any = None,
    validation_split: float = 0.1,
    seed: int = 0,
    needs_targets: bool = True,
) -> TrainingData:
    """Return the data of a call as `fit` and `evaluate` take it.

    Args:
        x: inputs, as arrays of shape (examples, ...) or nests of them; or a data set of batches.
        y: targets, likewise; None beside a data set.
        sample_weight: a weight for each example, shape (examples,); None beside a data set.
        class_weight: a weight for each class number; it applies to the training data only.
        validation_data: (x, y) or (x, y, sample_weight), or a data set; None sets a part of the training arrays aside.
        test_data: the same, or None.
        validation_split: the part of the training arrays that is set aside: a fraction, or a count of examples.
        seed: decides which examples those are, and the order of the batches of a `keras.utils.PyDataset`.
        needs_targets: whether `y` must be given beside arrays: not for a model whose own steps need none.

    Raises:
        UsageError: an argument is missing, of a kind that can't be read again for each training, or out of range.
        UnfitError: the arrays do not fit together, or hold NaN.
    """
    train, batches = _training_part(x, y, sample_weight, seed=seed, needs_targets=needs_targets)
    validation = _evaluation_part(validation_data, "validation_data", needs_targets=needs_targets)
    test = _evaluation_part(test_data, "test_data", needs_targets=needs_targets)
    if validation is None and not isinstance(train, Arrays):
        raise UsageError(
            f"`validation_data` must be given: only arrays can be split. Received: `x` of {type(x).__name__}.",
            "Pass a validation data set.",
        )
    if all(isinstance(part, Arrays) for part in (train, validation, test) if part is not None):
        dataset = from_arrays(train, validation, test, validation_split=validation_split, seed=seed)
        data = TrainingData(dataset.train, dataset.validation, dataset.test, dataset.fingerprint)
    else:
        if validation is None:
            train, validation = split(train, validation=validation_split, seed=seed, argument="validation_split")
        data = TrainingData(train, validation, test, _fingerprint(train, validation, test), batches)
    if class_weight is not None:
        data = replace(data, train=with_class_weight(data.train, class_weight))
    return data


def steps_per_epoch(data: TrainingData, *, stated: int | None = None, needed: bool = True) -> int | None:
    """Return the number of steps of an epoch where the training data itself does not have it at hand.

    A `tf.data.Dataset` of unknown length is read once to count its batches.

    Args:
        data: the data.
        stated: the number that the caller stated, or None.
        needed: whether anything is given in epochs.

    Returns:
        The number; None where it follows from arrays, or is not needed.

    Raises:
        UsageError: `stated` is not a positive integer, or the data repeats without end.
    """
    if stated is not None:
        if not isinstance(stated, int) or isinstance(stated, bool) or stated < 1:
            raise UsageError(f"`steps_per_epoch` must be a positive integer. Received: {stated!r}.", "Pass e.g. 100.")
        return stated
    if data.batches is not None:
        return data.batches
    if not needed or isinstance(data.train, Arrays):
        return None
    cardinality = int(data.train.cardinality())
    if cardinality == tf.data.INFINITE_CARDINALITY:
        raise UsageError(
            "`x` repeats without end, so it has no epochs.", "Pass `steps`, or `steps_per_epoch` beside `epochs`."
        )
    return count_batches(data.train) if cardinality == tf.data.UNKNOWN_CARDINALITY else cardinality


def count_batches(dataset: tf.data.Dataset) -> int:
    """Return the number of batches of a data set, by reading it once."""
    begin, warned, count = time.monotonic(), False, 0
    for _ in dataset:
        count += 1
        if not warned and time.monotonic() - begin > PATIENCE:
            warned = True
            log.warning(
                "counting the batches of x: %d so far; pass steps_per_epoch to begin at once, and if it has no end",
                count,
            )
    return count


def _training_part(
    x: Any, y: Any, sample_weight: Any, *, seed: int, needs_targets: bool
) -> tuple[Arrays | tf.data.Dataset, int | None]:
    """The training data, and the number of batches of a PyDataset."""
    if x is None:
        raise UsageError("`x` must be given: the training data.", "Call `tfl.find_ticket(model, x, y, rounds=...)`.")
    _check_can_be_read_again(x, "x")
    if isinstance(x, tf.data.Dataset | keras.utils.PyDataset):
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise UsageError(
                    f"`{name}` must be left out where `x` is a data set: each of its batches holds it.",
                    "Let the data set yield (x, y) or (x, y, sample_weight).",
                )
        if isinstance(x, tf.data.Dataset):
            return x, None
        stream = py_datasets.training_stream(x, seed=seed)
        return stream, x.num_batches
    if y is None and needs_targets:
        raise UsageError(
            f"`y` must be given beside arrays. Received: `x` of {type(x).__name__}.",
            f"Pass `x` and `y` as arrays, or one data set as `x`: {KINDS}.",
        )
    return single_precision(Arrays(x, y, sample_weight)), None


def _evaluation_part(value: Any, name: str, *, needs_targets: bool) -> Arrays | tf.data.Dataset | None:
    if value is None:
        return None
    _check_can_be_read_again(value, name)
    if isinstance(value, keras.utils.PyDataset):
        if value.num_batches is None:
            raise _without_end(name)
        return py_datasets.evaluation_stream(value)
    if isinstance(value, tf.data.Dataset):
        if value.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise _without_end(name)
        return value
    if not needs_targets and (not isinstance(value, tuple | list) or len(value) == 1):
        return single_precision(Arrays(value[0] if isinstance(value, tuple | list) else value, None))
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        received = type(value).__name__ + (f" of length {len(value)}" if isinstance(value, tuple | list) else "")
        raise UsageError(
            f"`{name}` must be a tuple (x, y) or (x, y, sample_weight) of arrays, a tf.data.Dataset or a "
            f"keras.utils.PyDataset. Received: {received}.",
            "Several inputs go into x as a tuple or a dictionary.",
        )
    return single_precision(Arrays(*value))


def _without_end(name: str) -> UsageError:
    return UsageError(
        f"`{name}` repeats without end, and an evaluation covers every example of it.",
        "Leave out its repeat, or end it with take(batches).",
    )


def _check_can_be_read_again(value: Any, name: str) -> None:
    """Refuse what can be read once only, or whose batches Keras alone could read."""
    once = isinstance(value, Iterator) or inspect.isgeneratorfunction(value)
    loader = any(kind.__name__ == "DataLoader" for kind in type(value).__mro__)
    if not once and not loader:
        return
    reason = "A generator can be read once, and each training reads the data again." if once else ""
    raise UsageError(
        f"`{name}` must be {KINDS}. Received: {type(value).__name__}. {reason}".rstrip(),
        "Wrap it: tf.data.Dataset.from_generator(function, output_signature=...), or a keras.utils.PyDataset.",
    )


def _fingerprint(*parts: Any) -> str:
    """SHA-256 of the contents of those parts that are arrays, with their places; "" if none is."""
    lines = [f"{place} {part.fingerprint()}" for place, part in enumerate(parts) if isinstance(part, Arrays)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""

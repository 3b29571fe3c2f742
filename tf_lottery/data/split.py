"""Training and validation parts, as a pure function of the seed."""

import numpy as np

from tf_lottery.data.arrays import Arrays
from tf_lottery.errors import UsageError
from tf_lottery.utils import seeds


def split(arrays: Arrays, *, validation: int | float, seed: int, argument: str = "validation") -> tuple[Arrays, Arrays]:
    """Set a fixed random part of the examples aside.

    Args:
        arrays: all examples.
        validation: a number of examples (an integer), or a fraction in (0, 1).
        seed: the same seed gives the same parts.
        argument: the name under which the caller takes `validation`, for messages.

    Returns:
        The training and the validation part, each in the order of `arrays`.

    Raises:
        UsageError: `validation` leaves one of the parts empty.

    Example:
        >>> train, validation = split(Arrays(np.arange(10.0), np.arange(10)), validation=0.3, seed=0)
        >>> train.size, validation.size
        (7, 3)
    """
    count = validation_count(arrays.size, validation, argument=argument)
    order = seeds.generator(seed, "split").permutation(arrays.size)
    return arrays.take(np.sort(order[count:])), arrays.take(np.sort(order[:count]))


def validation_count(size: int, validation: int | float, *, argument: str = "validation") -> int:
    """Return how many of `size` examples are set aside for validation.

    Args:
        size: the number of examples.
        validation: a count, or a fraction, rounded to the nearest count.
        argument: the name under which the caller takes `validation`, for messages.

    Raises:
        UsageError: it is out of range.
    """
    remedy = "Give a number of examples, e.g. 5000, or a fraction, e.g. 0.1."
    if isinstance(validation, bool) or not isinstance(validation, (int, float, np.integer, np.floating)):
        raise UsageError(f"`{argument}` must be a number. Received: {validation!r}.", remedy)
    if isinstance(validation, (float, np.floating)):
        if not 0 < validation < 1:
            raise UsageError(f"A fraction for `{argument}` must be in (0, 1). Received: {validation}.", remedy)
        validation = round(validation * size)
    if not 0 < validation < size:
        raise UsageError(
            f"`{argument}` must leave examples on both sides: 1 to {size - 1} of {size}. Received: {validation}.",
            remedy,
        )
    return int(validation)

"""Outputs that hardly vary over the samples: of a collapsed or untrained model, agreement proves little. NumPy only."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_lottery.exporting.output_kinds import UNKNOWN, OutputKind
from tf_lottery.results.tables.formats import percent

# Below that share of its size, the change of an output over the samples is called little.
LITTLE_CHANGE = 0.01
# Above that share, one prediction is as good as the only one.
ONE_PREDICTION = 0.99


def describe_constant_outputs(outputs: Mapping[str, npt.NDArray[Any]], kinds: Mapping[str, OutputKind]) -> list[str]:
    """Return a sentence for each output that is nearly the same for all samples.

    Args:
        outputs: the Keras model's, arrays `(samples, ...)` by name.
        kinds: what they hold, by name; an output that is not in it is taken for numbers.

    Example:
        >>> describe_constant_outputs({"y": np.array([[1.0, 5.0], [1.0, 5.001]])}, {})[0].split(":")[1]
        " the output 'y' changes by only 0.01 % of its size over the samples"
    """
    sentences = []
    for name, values in outputs.items():
        if len(values) < 2:
            continue
        kind, change = kinds.get(name, UNKNOWN), relative_change(values)
        share = commonest_share(kind.predictions(values)) if kind.has_classes else 0.0
        if change < LITTLE_CHANGE:
            seen = f"changes by only {percent(change, digits=2)} of its size over the samples"
        elif share >= ONE_PREDICTION:
            seen = f"predicts the same class for {percent(share, digits=2)} of the samples"
        else:
            continue
        sentences.append(f"warning: the output {name!r} {seen}: agreement with it proves little.")
    return sentences


def relative_change(values: npt.NDArray[Any]) -> float:
    """Return the root mean square of the changes over the samples, relative to that of the values; 0 if all are 0.

    Example:
        >>> relative_change(np.array([[3.0, 7.0], [3.0, 9.0]])) < 0.12
        True
    """
    values = np.asarray(values, np.float64)
    size = float(np.sqrt(np.mean(np.square(values))))
    return float(np.sqrt(np.mean(np.square(values - values.mean(0))))) / size if size else 0.0


def commonest_share(predictions: npt.NDArray[Any]) -> float:
    """Return the share of the commonest of some predictions.

    Example:
        >>> commonest_share(np.array([2, 2, 0, 2]))
        0.75
    """
    return float(np.unique(predictions, return_counts=True)[1].max() / predictions.size)

"""How far rounding to float32 moves a model's outputs, and what that allows a float32 file.

A deep network can amplify the rounding of its first layers, most of all behind normalizations of small variance: of
ResNet50 on small images, Keras's own float32 outputs are 2e-4 of the largest one from those that it computes in
float64. A file that adds the same products in another order is as far from both, and as right as Keras is.
"""

from collections.abc import Mapping

import keras
import numpy as np
import numpy.typing as npt

from tf_lottery.exporting.checks.agreement import FLOAT32_TOLERANCE, Outputs, compare_outputs
from tf_lottery.exporting.plain_model import in_precision
from tf_lottery.exporting.signature import Signature, keras_outputs
from tf_lottery.utils.silence import quiet

ROUNDING_FACTOR = 4.0
"""What a file may differ by, in errors of Keras's own: it has another rounding error of about that size."""
LARGEST_ERROR = 1e-3
"""Keras's own error, of the largest output, above which nothing can be shown: a wrong file differs by 1e-2 and more."""


def rounding_tolerances(
    model: keras.Model, samples: list[npt.NDArray[np.generic]], outputs: Outputs, signature: Signature
) -> Mapping[str, float]:
    """Return what float32 files may differ by, by output, relative to the largest one; {} where no more than usual.

    Args:
        model: a plain float32 model.
        samples: one array `(samples, ...)` per input, in the order of the signature.
        outputs: what the model answers them in float32, by output name.
        signature: the model's.
    """
    doubled = [array.astype(np.float64) if array.dtype == np.float32 else array for array in samples]
    try:
        with quiet():
            exact = keras_outputs(in_precision(model, "float64"), doubled, signature)
        errors = {name: compare_outputs({name: exact[name]}, {name: outputs[name]}).max_rel_error for name in exact}
    except Exception:  # of the user's own layers, which may take float32 only
        return {}
    if any(array.dtype != np.float64 for array in exact.values()):
        return {}
    if not max(errors.values()) <= LARGEST_ERROR:  # written so that NaN fails
        return {}
    tolerances = {name: max(FLOAT32_TOLERANCE, ROUNDING_FACTOR * error) for name, error in errors.items()}
    return tolerances if max(tolerances.values()) > FLOAT32_TOLERANCE else {}

"""Runs of a TFLite interpreter, a sample at a time."""

import numpy as np


def run_one_by_one(interpreter, values):
    """The outputs of an interpreter of one input and one output for samples of its input, one after the other."""
    interpreter.allocate_tensors()
    (given,), (taken,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for value in values:
        interpreter.set_tensor(given["index"], value[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(taken["index"]))
    return np.concatenate(outputs)

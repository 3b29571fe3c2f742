"""The int8 converter within the process of the tests: each process of its own takes seconds to import TensorFlow."""

from pathlib import Path

import pytest

from tf_lottery.exporting.tflite import run_converter, tflite_writer
from tf_lottery.utils.files import load_arrays


@pytest.fixture(scope="module")
def converter_in_process():
    """Only for models on which the converter does not crash."""

    def run(_, arguments, **__):
        source, precision, samples, out, batch = arguments
        calibration = load_arrays(Path(samples))
        content = run_converter.convert(str(source), precision=precision, calibration=calibration, batch=int(batch))
        Path(out).write_bytes(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflite_writer, "run_program", run)
        yield

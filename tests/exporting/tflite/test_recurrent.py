"""Recurrent layers: every precision that works, int8 refused where the converter crashes, interrupts included."""

import os
import signal
import sys

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery.exporting import export
from tf_lottery.exporting.tflite import dense_conversion
from tf_lottery.utils.child_process import ProgramError

SHAPE = (12, 16)
SAMPLES = np.random.default_rng(0).normal(size=(128, *SHAPE)).astype("float32")


def recurrent(layer, **options):
    """A network with a recurrent layer, of whose weights four in five are zero."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input(SHAPE), layer(32, **options), layers.Dense(10)])
    random = np.random.default_rng(0)
    model.set_weights(
        [weight * (random.random(weight.shape) >= 0.8) if weight.ndim > 1 else weight for weight in model.get_weights()]
    )
    return model


def test_a_crash_of_the_int8_converter_is_a_refusal(tmp_path):
    report = export(
        recurrent(layers.LSTM), tmp_path, encoding=["dense", "sparse"], samples=SAMPLES, calibration=SAMPLES[:32]
    )
    assert {record["precision"] for record in report.files} == {"float32", "float16", "dynamic"}
    reasons = [record["reason"] for record in report.refused if record["precision"] == "int8"]
    assert reasons == ["the int8 converter crashed with SIGSEGV"] * 2


@pytest.mark.parametrize("layer", [layers.GRU, layers.SimpleRNN])
def test_no_recurrent_layer_takes_the_process_down(tmp_path, layer):
    with pytest.raises(ProgramError, match=r"the int8 converter crashed with SIG\w+$"):
        dense_conversion.convert_dense(recurrent(layer), tmp_path, precision="int8", calibration={"input": SAMPLES[:8]})


def test_a_refusal_of_the_converter_says_why(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Activation(keras.ops.erfinv), layers.Dense(3)])
    calibration = {"input": np.full((4, 4), 0.5, "float32")}
    with pytest.raises(ProgramError, match=r"the int8 converter failed: .*Erfinv") as caught:
        dense_conversion.convert_dense(model, tmp_path, precision="int8", calibration=calibration)
    assert "\n" not in str(caught.value)


_HANGS = """
import os, sys, time
from pathlib import Path
from tf_lottery.exporting.tflite import run_converter
def hang(source, **options):
    Path(os.environ["MARK"]).write_text(str(os.getpid()))
    time.sleep(3600)  # until it is ended
run_converter.convert = hang
sys.exit(run_converter.main(sys.argv[1:]))
"""
_PARENT = f"""
import sys
import numpy as np
from pathlib import Path
from tf_lottery.exporting.tflite import dense_conversion
dense_conversion._CONVERTER = {_HANGS!r}
folder = Path(sys.argv[1])
(folder / "tflite_source").mkdir()
dense_conversion.convert_dense(None, folder, precision="int8", calibration={{"x": np.zeros((1, 1))}})
"""


@pytest.mark.slow
@pytest.mark.usefixtures("answers_ctrl_c")
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM, signal.SIGKILL]
)
def test_the_converter_ends_with_the_process_that_started_it(tmp_path, number, start_process, wait_until, patience):
    mark = tmp_path / "mark"
    process = start_process([sys.executable, "-c", _PARENT, str(tmp_path)], env={**os.environ, "MARK": str(mark)})
    converter = int(wait_until(lambda: mark.exists() and mark.read_text(), process))
    process.send_signal(number)
    assert process.wait(patience) != 0
    wait_until(lambda: not alive(converter))


def alive(process):
    """Whether it runs; one that ended and that nobody has waited for does not."""
    try:
        with open(f"/proc/{process}/stat") as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False

"""Where training runs: XLA or not, threads, GPU memory, precision."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from tf_lottery.errors import ResourceError, UsageError
from tf_lottery.layers.kinds import kind_of
from tf_lottery.layers.masked import Masked
from tf_lottery.layers.sparse import draws_as_stock, reason_of_convolution


def choose_xla(model: keras.Model, setting: str | bool = "auto") -> bool:
    """Return whether to compile a model with XLA.

    Args:
        model: the model; "auto" decides by the kinds of its layers and by the device.
        setting: "auto", "on" or "off", or a boolean.

    Raises:
        UsageError: Another setting.
    """
    if setting in (True, "on"):
        return True
    if setting in (False, "off"):
        return False
    if setting != "auto":
        raise UsageError(f"`xla` must be auto, on or off. Received: {setting!r}.")
    if tf.config.list_logical_devices("GPU"):
        return all(layer.supports_jit for layer in model._flatten_layers())
    return all(_pays_on_cpu(layer) for layer in model.layers)


def slow_in_steps(model: keras.Model) -> list[str]:
    """Return the names of layers for which XLA can't compile the single steps of a model on a CPU.

    They would be slower than by TensorFlow's own operations, or draw other random numbers. What the sparse kernels
    and `StockDropout` compute is neither.

    Args:
        model: the model, wrapped or not.
    """
    names: list[str] = []
    for layer in model.layers:
        held = layer.layer if isinstance(layer, Masked) else layer
        if isinstance(held, keras.Model):
            names += slow_in_steps(held)
        elif not draws_as_stock(held) and (_draws(held) or not (_pays_on_cpu(held) or _pays_in_steps(held))):
            names.append(layer.name)
    return names


def _draws(layer: keras.layers.Layer) -> bool:
    return any(one._seed_generators for one in layer._flatten_layers())


def _pays_on_cpu(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, Masked):
        return _pays_on_cpu(layer.layer)
    if isinstance(layer, keras.Model):
        return all(_pays_on_cpu(inner) for inner in layer.layers)
    return kind_of(layer).xla_on_cpu


def _pays_in_steps(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.Conv2D) and reason_of_convolution(layer):
        return False
    return kind_of(layer).xla_of_steps


def configure(*, threads: int | None, device: str = "auto", place: int | None = None) -> None:
    """Set threads and devices of this process; to be called before TensorFlow computes anything.

    Args:
        threads: threads of one operation (and of the executor); None leaves TensorFlow's default.
        device: "auto", "cpu" or "gpu". Memory growth is switched on for every GPU used.
        place: the number of this process among those side by side, from 0: it sees one GPU, and they take the GPUs in
            turn. None sees all.

    Raises:
        ResourceError: "gpu" where there is none, or TensorFlow was already at work with other settings.
        UsageError: another device name.
    """
    if device not in ("auto", "cpu", "gpu"):
        raise UsageError(f"`device` must be auto, cpu or gpu. Received: {device!r}.")
    try:
        gpus = tf.config.list_physical_devices("GPU")
        if device == "gpu" and not gpus:
            raise ResourceError(
                "`device` is gpu, but TensorFlow sees no GPU.", "Use `device='cpu'`, or install the gpu extra."
            )
        if device == "cpu" and gpus:
            tf.config.set_visible_devices([], "GPU")
        elif gpus:
            if place is not None:
                gpus = [gpus[place % len(gpus)]]
                tf.config.set_visible_devices(gpus, "GPU")
            for gpu in gpus:
                tf.config.experimental.set_memory_growth(gpu, True)
        if threads is not None:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        if not (tf.config.threading.get_intra_op_parallelism_threads() == threads and device == "auto"):
            raise ResourceError(
                f"The device can't be configured: {error}", "Configure it first in the process."
            ) from error


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Build layers under a dtype policy ("float32", "mixed_float16", "mixed_bfloat16"); the old one is put back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

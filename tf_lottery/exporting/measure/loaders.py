"""Model files, loaded for a benchmark: LiteRT's interpreter, SavedModels and Keras files behind one interface."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy.typing as npt

from tf_lottery.errors import UnfitError
from tf_lottery.exporting.input_shapes import FreeShape

_WITHOUT_CODE = (
    "Export it from the program that defines its classes: a SavedModel or TFLite file needs no code to be loaded."
)
_FIXED = "Export it again with inputs of numbers and one signature."

Invoke: TypeAlias = Callable[[], Any]


class NotMeasurableError(Exception):
    """A whole model that can't be measured.

    Args:
        cause: why, in one line.
        remedy: what to do.
    """

    def __init__(self, cause: str, remedy: str = _FIXED) -> None:
        super().__init__(cause)
        self.remedy = remedy


@dataclass(frozen=True)
class LoadedModel:
    """A model that waits for its inputs.

    Attributes:
        wanted: name, shape and dtype of each input; a batch that takes any size is one sample.
        feed: takes arrays by those names, and returns what calls the model with them.
    """

    wanted: list[tuple[str, FreeShape, Any]]
    feed: Callable[[Mapping[str, npt.NDArray[Any]]], Invoke]


def _load_tflite(file: str, threads: int) -> LoadedModel:
    """Load the main subgraph of a TFLite file into the default LiteRT interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    if not file:
        return _NOTHING
    interpreter = Interpreter(model_path=file, num_threads=threads)
    details = interpreter.get_input_details()
    names = _signature_names(interpreter)

    def feed(inputs: Mapping[str, npt.NDArray[Any]]) -> Invoke:
        arrays = {detail["index"]: inputs[names.get(detail["index"], detail["name"])] for detail in details}
        for detail in details:
            if tuple(detail["shape"]) != (shape := arrays[detail["index"]].shape):
                interpreter.resize_tensor_input(detail["index"], shape)
        interpreter.allocate_tensors()
        for index, array in arrays.items():
            interpreter.set_tensor(index, array)
        return cast(Invoke, interpreter.invoke)

    return LoadedModel(
        [(names.get(one["index"], one["name"]), _of_one(one["shape_signature"]), one["dtype"]) for one in details], feed
    )


def _signature_names(interpreter: Any) -> dict[int, str]:
    """The names of the inputs by their places, as the only signature of a file has them; none without one."""
    if len(interpreter.get_signature_list()) != 1:
        return {}
    runner = interpreter.get_signature_runner()
    return {detail["index"]: name for name, detail in runner.get_input_details().items()}


def _load_saved_model(folder: str, threads: int) -> LoadedModel:
    """Load `serving_default` of a SavedModel, or its only signature."""
    tf = _tensorflow(threads)
    if not folder:
        return _NOTHING
    loaded = tf.saved_model.load(folder)
    signatures = list(loaded.signatures)
    if "serving_default" not in signatures and len(signatures) != 1:
        raise NotMeasurableError(
            f"it has the signatures {', '.join(signatures) or 'none'}: expected serving_default, or only one"
        )
    serve = loaded.signatures["serving_default" if "serving_default" in signatures else signatures[0]]
    specs = serve.structured_input_signature[1]

    def feed(inputs: Mapping[str, npt.NDArray[Any]]) -> Invoke:
        tensors = {name: tf.constant(array) for name, array in inputs.items()}

        def invoke() -> None:
            for tensor in serve(**tensors).values():
                tensor.numpy()  # waits for the result
            del tensor

        invoke.model = loaded  # type: ignore[attr-defined]  # its variables live as long as the loaded object
        return invoke

    return LoadedModel([(name, _of_one(spec.shape), spec.dtype.as_numpy_dtype) for name, spec in specs.items()], feed)


def _load_keras(file: str, threads: int) -> LoadedModel:
    """Load a Keras file, to be called in inference mode inside one `tf.function`.

    XLA compiles that of a model of `sparsify`, as `predict` does where its layers have the kernels.
    """
    tf = _tensorflow(threads)
    import keras

    from tf_lottery.exporting.signature import signature_of
    from tf_lottery.layers import load_model
    from tf_lottery.layers.sparse import is_sparsified
    from tf_lottery.layers.sparse.native import use_threads

    if not file:
        return _NOTHING
    try:
        model = load_model(file, compile=False)
    except UnfitError as error:
        raise NotMeasurableError(error.cause.rstrip("."), _WITHOUT_CODE) from error
    if not getattr(model, "inputs", None):
        raise NotMeasurableError(
            "it is a subclassed or unbuilt model, whose inputs are not known",
            "Make it a functional model: keras.Model(inputs, outputs).",
        )
    nested = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    if sparse := is_sparsified(model):
        use_threads(threads)
    call = tf.function(
        lambda tensors: keras.tree.flatten(model(tensors, training=False)), autograph=False, jit_compile=sparse or None
    )

    def feed(inputs: Mapping[str, npt.NDArray[Any]]) -> Invoke:
        tensors = keras.tree.pack_sequence_as(nested, [tf.constant(array) for array in inputs.values()])
        return lambda: [tensor.numpy() for tensor in call(tensors)]

    names = signature_of(model).inputs
    wanted = [
        (name, _of_one(tensor.shape), str(tensor.dtype)) for name, tensor in zip(names, model.inputs, strict=True)
    ]
    return LoadedModel(wanted, feed)


def _of_one(shape: Any) -> FreeShape:
    """A shape whose batch is one sample where it takes any number."""
    sizes = [None if size is None or size < 0 else int(size) for size in shape]
    return (1, *sizes[1:]) if sizes and sizes[0] is None else tuple(sizes)


def _tensorflow(threads: int) -> Any:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.constant(0.0)  # starts the runtime
    return tf


_NOTHING = LoadedModel([], lambda inputs: lambda: None)

LOADERS: dict[str, Callable[[str, int], LoadedModel]] = {
    "tflite": _load_tflite,
    "saved_model": _load_saved_model,
    "keras": _load_keras,
}
"""Functions of a path, empty to load the runtime alone, and of the number of threads."""

"""Code that loads and calls one exported file: Python, and for TFLite files Kotlin and Swift. No TensorFlow."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tf_lottery.utils.text import printable

_SWIFT_TYPES = {
    "float32": "Float32",
    "float16": "Float16",
    "int8": "Int8",
    "uint8": "UInt8",
    "int32": "Int32",
    "int64": "Int64",
    "bool": "Bool",
}
_KOTLIN_RESIZE = """
fun resize(interpreter: Interpreter, name: String, vararg shape: Int) {
    val tensor = interpreter.getInputTensorFromSignature(name, "serving_default").index()
    val place = (0 until interpreter.inputTensorCount).first { interpreter.getInputTensor(it).index() == tensor }
    interpreter.resizeInput(place, shape)
}
"""
_KOTLIN_READERS = {"float32": ".asFloatBuffer()", "int32": ".asIntBuffer()", "int64": ".asLongBuffer()"}


def usage_snippets(
    format: str,
    file: str,
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]],
    *,
    batch: int = 1,
) -> dict[str, str]:
    """Return code that loads a file and calls it with zeros, by the name of the language as Markdown knows it.

    Args:
        format: of the file, see `file_formats.FORMATS`.
        file: its name.
        inputs: `input` (name), `shape` without the batch, and `dtype` of each input; no dimension is dynamic. `free`
            where a TFLite file leaves dimensions free, so that they are set to that shape before the call.
        outputs: `output` (name), `shape` and `dtype` of each output.
        batch: how many samples the file takes at a time.

    Returns:
        Programs that end with the outputs; but for "tflite", Python alone.
    """
    inputs, outputs = ([{**entry, "shape": [batch, *entry["shape"]]} for entry in edge] for edge in (inputs, outputs))
    python = {
        "tflite": _tflite_python,
        "saved_model": _saved_model_python,
        "keras": _keras_python,
        "onnx": _onnx_python,
    }
    snippets = {"python": python[format](file, inputs)}
    if format == "tflite":
        snippets |= {"kotlin": _kotlin(file, inputs, outputs), "swift": _swift(file, inputs, outputs)}
    return snippets


def _arrays(inputs: Sequence[Mapping[str, Any]]) -> str:
    rows = [f"    {_quoted(entry['input'])}: np.zeros({_shape(entry)}, np.{_numpy(entry)})," for entry in inputs]
    return "\n".join(["inputs = {", *rows, "}"])


def _tflite_python(file: str, inputs: Sequence[Mapping[str, Any]]) -> str:
    return f"""import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(model_path={_quoted(file)})
run = interpreter.get_signature_runner()
{_arrays(inputs)}
outputs = run(**inputs)
"""


def _saved_model_python(file: str, inputs: Sequence[Mapping[str, Any]]) -> str:
    return f"""import numpy as np
import tensorflow as tf

model = tf.saved_model.load({_quoted(file)})
run = model.signatures["serving_default"]
{_arrays(inputs)}
outputs = run(**{{name: tf.constant(array) for name, array in inputs.items()}})
"""


def _keras_python(file: str, inputs: Sequence[Mapping[str, Any]]) -> str:
    # A Keras model takes its inputs in its own order and nesting, not by the names of a signature.
    return f"""import keras
import numpy as np

model = keras.models.load_model({_quoted(file)})
{_arrays(inputs)}
tensors = [keras.ops.convert_to_tensor(array) for array in inputs.values()]
nested = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
outputs = model(keras.tree.pack_sequence_as(nested, tensors), training=False)
"""


def _onnx_python(file: str, inputs: Sequence[Mapping[str, Any]]) -> str:
    return f"""import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({_quoted(file)})
{_arrays(inputs)}
names = [output.name for output in session.get_outputs()]
outputs = dict(zip(names, session.run(names, inputs)))
"""


def _lines_for_free(inputs: Sequence[Mapping[str, Any]], line: Callable[[Mapping[str, Any]], str]) -> str:
    """Lines of code, each with its end, one for each input with free dimensions."""
    return "".join(f"{line(one)}\n" for one in inputs if one.get("free"))


def _variables(outputs: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(_variable(place) for place in range(len(outputs)))


def _kotlin(file: str, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> str:
    given = "\n".join(f"        {_kotlin_text(one['input'])} to buffer({_bytes(one)})," for one in inputs)
    received = "\n".join(f"        {_kotlin_text(one['output'])} to buffer({_bytes(one)})," for one in outputs)
    reads = "\n".join(
        f"    val {_variable(place)} = (outputs.getValue({_kotlin_text(one['output'])}) as ByteBuffer)"
        f"{_KOTLIN_READERS.get(str(one['dtype']), '')}"
        for place, one in enumerate(outputs)
    )
    resized = _lines_for_free(
        inputs, lambda one: f"        resize(it, {_kotlin_text(one['input'])}, {', '.join(map(str, one['shape']))})"
    )
    return f"""import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Interpreter

fun buffer(bytes: Int): ByteBuffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())
{_KOTLIN_RESIZE if resized else ""}
// `folder` holds {_comment(file)}. Fill the inputs in row-major order.
fun call(folder: File): List<Any> {{
    val inputs = mapOf<String, Any>(
{given}
    )
    val outputs = mapOf<String, Any>(
{received}
    )
    Interpreter(File(folder, {_kotlin_text(file)})).use {{
{resized}        it.runSignature(inputs, outputs)
    }}
    outputs.values.forEach {{ (it as ByteBuffer).rewind() }}
{reads}
    return listOf({_variables(outputs)})
}}
"""


def _swift(file: str, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> str:
    copies = "\n".join(
        f"    try runner.copy(Data(count: {_bytes(one)}), toInputNamed: {_quoted(one['input'])})" for one in inputs
    )
    reads = "\n".join(
        f"    let {_variable(place)} = try runner.output(named: {_quoted(one['output'])}).data"
        f".withUnsafeBytes {{ Array($0.bindMemory(to: {_SWIFT_TYPES.get(str(one['dtype']), 'UInt8')}.self)) }}"
        for place, one in enumerate(outputs)
    )
    resized = _lines_for_free(
        inputs,
        lambda one: (
            f"    try runner.resizeInput(named: {_quoted(one['input'])}, toShape: Tensor.Shape({list(one['shape'])}))"
        ),
    )
    return f"""import Foundation
import TensorFlowLite

// `folder` holds {_comment(file)}. Fill the inputs in row-major order.
func call(folder: URL) throws -> [Any] {{
    let path = folder.appendingPathComponent({_quoted(file)}).path
    let interpreter = try Interpreter(modelPath: path)
    let runner = try interpreter.signatureRunner(with: "serving_default")
{resized}    try runner.allocateTensors()
{copies}
    try runner.invoke()
{reads}
    return [{_variables(outputs)}]
}}
"""


def _variable(place: int) -> str:
    return f"output{place}"


def _shape(entry: Mapping[str, Any]) -> str:
    return f"({', '.join(map(str, entry['shape']))},)".replace(",,", ",")


def _numpy(entry: Mapping[str, Any]) -> str:
    return {"bool": "bool_"}.get(str(entry["dtype"]), str(entry["dtype"]))


def _bytes(entry: Mapping[str, Any]) -> int:
    bits = "".join(character for character in str(entry["dtype"]) if character.isdigit()) or "8"
    return int(math.prod(entry["shape"])) * int(bits) // 8


def _quoted(text: str) -> str:
    """The text between double quotes, as Python and Swift read it; no control character ends its line."""
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _kotlin_text(text: str) -> str:
    return _quoted(text).replace("$", "\\$")


def _comment(text: str) -> str:
    return printable(text)

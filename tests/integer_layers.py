"""Each operator of an int8 file alone: its integers beside what real numbers make of the integers it was given."""

import numpy as np
import tensorflow as tf
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from tf_lottery.exporting.tflite import flatbuffers

UNROUNDED = ("RESHAPE", "MAX_POOL_2D", "REDUCE_MAX", "DEQUANTIZE", "PAD")
FUNCTIONS = {"SOFTMAX": tf.nn.softmax, "LOGISTIC": tf.sigmoid, "TANH": np.tanh}
FUNCTIONS |= dict.fromkeys(["QUANTIZE", "RELU", "RELU6"], np.asarray)


def values_by_tensor(content, kernels, samples):
    """The stored integers of every int8 tensor that an operator makes, in the kernels."""
    model = flatbuffers.read(content)
    graph = model.subgraphs[0]
    made = [int(tensor) for operator in graph.operators for tensor in operator.outputs]
    made = [tensor for tensor in made if graph.tensors[tensor].type == schema.TensorType.INT8]
    graph.outputs = np.array([*graph.outputs, *made], np.int32)
    model.signatureDefs = []
    interpreter = litert.Interpreter(model_content=flatbuffers.write(model), experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    collected: dict[int, list] = {tensor: [] for tensor in made}
    for sample in samples:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample[None])
        interpreter.invoke()
        for tensor, parts in collected.items():
            parts.append(interpreter.get_tensor(tensor)[0].astype("float64"))
    return {tensor: np.stack(parts) for tensor, parts in collected.items()}


class Layers:
    """What each operator of a file would make of its integer inputs in real numbers, in steps of its output."""

    def __init__(self, content):
        self.model = flatbuffers.read(content)
        self.graph = self.model.subgraphs[0]

    def scale(self, tensor):
        return np.asarray(self.graph.tensors[tensor].quantization.scale, np.float64)

    def zero(self, tensor):
        return int(self.graph.tensors[tensor].quantization.zeroPoint[0])

    def constant(self, tensor):
        stored = self.graph.tensors[tensor]
        dtype = np.int8 if stored.type == schema.TensorType.INT8 else np.int32
        data = np.asarray(self.model.buffers[stored.buffer].data, np.uint8).tobytes()
        return np.frombuffer(data, dtype).reshape(stored.shape).astype(np.float64)

    def expected(self, operator, values):
        """The name, the stored integers, and the unrounded ones; None for an operator that only moves values."""
        name, output = flatbuffers.operator_name(self.model, operator), int(operator.outputs[0])
        sources = [int(tensor) for tensor in operator.inputs]
        real = [(values[t] - self.zero(t)) * self.scale(t) for t in sources if t in values]
        options = operator.builtinOptions
        if not real or name in UNROUNDED:
            return None
        x = real[0]
        if name.endswith("CONV_2D") or name == "FULLY_CONNECTED":
            kernel, bias = self.constant(sources[1]), self.constant(sources[2]) * self.scale(sources[2])
            padding = "VALID" if getattr(options, "padding", 0) else "SAME"
            if name == "CONV_2D":
                kernel = np.moveaxis(kernel * self.scale(sources[1])[:, None, None, None], 0, -1)
                x = tf.nn.conv2d(x, kernel, [options.strideH, options.strideW], padding).numpy()
            elif name == "DEPTHWISE_CONV_2D":
                kernel = (kernel * self.scale(sources[1]))[0].reshape(*kernel.shape[1:3], x.shape[-1], -1)
                x = tf.nn.depthwise_conv2d(x, kernel, [1, options.strideH, options.strideW, 1], padding).numpy()
            else:
                x = x @ (kernel * self.scale(sources[1])[:, None]).T
            x = x + bias
        elif name == "ADD":
            x = x + real[-1]
        elif name == "MEAN":
            x = x.mean((1, 2))
        elif name == "AVERAGE_POOL_2D":
            sizes = [options.filterHeight, options.filterWidth], [options.strideH, options.strideW]
            x = tf.nn.avg_pool2d(x, *sizes, "VALID" if options.padding else "SAME").numpy()
        elif name == "CONCATENATION":
            x = np.concatenate(real, -1)
        elif name in FUNCTIONS:
            x = np.asarray(FUNCTIONS[name](x))
        else:
            raise NotImplementedError(name)
        activation = getattr(options, "fusedActivationFunction", 0)
        relu = {"RELU": 1, "RELU6": 3}.get(name, activation)
        x = np.clip(x, 0 if relu else -np.inf, 6 if relu == 3 else np.inf)
        return name, values[output], np.clip(np.asarray(x) / self.scale(output) + self.zero(output), -128, 127)


def steps_of_layers(content, dense_twin, samples):
    """How far each operator's output is from what real numbers make of its inputs, in steps, in the plain kernels.

    Args:
        content: a file of one input, perhaps with sparse weights.
        dense_twin: the file with the same operators, whose weights are read.
        samples: of the input.
    """
    layers = Layers(dense_twin)
    assert _operators(Layers(content)) == _operators(layers)
    values = values_by_tensor(content, litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, samples)
    expected = [layers.expected(operator, values) for operator in layers.graph.operators]
    return {place: np.abs(layer[1] - layer[2]).max() for place, layer in enumerate(expected) if layer is not None}


def _operators(layers):
    operators = layers.graph.operators
    return [(flatbuffers.operator_name(layers.model, one), list(map(int, one.outputs))) for one in operators]

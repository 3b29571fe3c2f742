"""Architectures of models as a stranger may write them: the known holes of Keras's deserialization, and huge sizes."""

import base64
import json
import marshal

import keras
from sent_files import MODEL


def _touch(x):
    return __import__("os").system("touch executed") or x


CODE = base64.b64encode(marshal.dumps(_touch.__code__)).decode()


def layer(**changes):
    """An architecture with another last layer."""
    document = json.loads(json.dumps(MODEL))
    document["config"]["layers"][-1] |= changes
    return document


def of_keras(class_name, module="keras.layers", **config):
    """An architecture whose last layer is of a class of Keras."""
    return layer(class_name=class_name, module=module, config={"name": "sent"} | config, build_config=None)


def function(module, name):
    """A dense layer whose activation is a function."""
    config = {"module": module, "class_name": "function", "config": name, "registered_name": name}
    return {"name": "dense", "units": 10, "activation": config}


def lambda_of(module, function_name, **arguments):
    """A Lambda layer that calls a function, as a layer that is called in building a model."""
    config = {"module": module, "class_name": "function", "config": function_name, "registered_name": "function"}
    return of_keras("Lambda", function=config, arguments=arguments)


def with_vocabulary(lookup, file):
    """An architecture whose last layer reads its vocabulary from a file."""
    return of_keras(type(lookup).__name__, **lookup.get_config() | {"name": "sent", "vocabulary": file})


def wrapped(document, class_name, **config):
    """An architecture whose last layer is held by a wrapper of Keras."""
    return of_keras(class_name, layer=document["config"]["layers"][-1], **config)


BYTECODE = {"class_name": "__lambda__", "config": {"code": CODE, "defaults": None, "closure": None}}
EXECUTING = {
    "a module in the current folder": layer(module="evil_model", class_name="make", registered_name="make"),
    "a function in the current folder": layer(config=function("evil_model", "score")),
    "a function of the system": layer(config=function("os", "system")),
    "a built-in function": layer(config=function("builtins", "eval")),
    "a function of Keras that loads files": layer(config=function("keras.utils", "get_file")),
    "switching safe mode off": layer(config=function("keras.config", "enable_unsafe_deserialization")),
    "a lambda": of_keras("Lambda", function=BYTECODE),
    "a lambda in a wrapper": wrapped(of_keras("Lambda", function=BYTECODE), "TimeDistributed"),
    "bytecode as an activation": layer(config={"name": "dense", "units": 10, "activation": BYTECODE}),
    "a Lambda that fetches a file": lambda_of("keras.utils", "get_file", origin="file:///etc/hostname"),
    "a Lambda that switches safe mode off": lambda_of("keras.config", "enable_unsafe_deserialization"),
    "a Lambda that loads without safe mode": lambda_of("keras.models", "load_model", safe_mode=False),
    "a Lambda that sets an attribute": lambda_of(
        "keras.src.backend.common.global_state", "set_global_attribute", name="safe_mode_saving", value=False
    ),
    "a Lambda that loads code": lambda_of("keras.src.utils.python_utils", "func_load"),
    "an attribute of a module of Keras": layer(config=function("keras.src.utils.file_utils", "os.system")),
    "a module that Keras imports": layer(config=function("keras.src.saving.saving_lib.zipfile", "main")),
    "a class of the standard library": layer(
        module="subprocess", class_name="Popen", config={"args": ["touch", "executed"]}, registered_name="Popen"
    ),
    "a partial function": layer(
        config={
            "name": "dense",
            "units": 10,
            "activation": {"module": "functools", "class_name": "partial", "config": {"func": "os.system"}},
        }
    ),
    "a SavedModel": of_keras("TFSMLayer", filepath="saved"),
    "a pickle of Torch": layer(
        class_name="TorchModuleWrapper", module="keras.layers", config={"module": "gASVAAAA", "name": "a"}
    ),
    "a function of JAX": of_keras("JaxLayer", call_fn=function("os", "system")["activation"]),
    "a vocabulary in a file": with_vocabulary(keras.layers.StringLookup(), "/etc/hostname"),
    "a vocabulary of numbers in a file": with_vocabulary(keras.layers.IntegerLookup(), "/proc/self/environ"),
    "a vocabulary of texts in a file": with_vocabulary(keras.layers.TextVectorization(), "/etc/hostname"),
    "a vocabulary on the network": with_vocabulary(keras.layers.StringLookup(), "gs://bucket/hostname"),
    "an initializer by a module": layer(
        config={
            "name": "dense",
            "units": 10,
            "kernel_initializer": {"module": "evil_model", "class_name": "make", "config": {}, "registered_name": None},
        }
    ),
    "a dtype by a module": layer(
        config={"name": "dense", "units": 10, "dtype": {"module": "evil_model", "class_name": "make", "config": {}}}
    ),
}
_images = {"class_name": "Reshape", "module": "keras.layers", "config": {"name": "images", "target_shape": [8, 8, 1]}}


def _on_images(class_name, **config):
    """An architecture whose last layer reads images again."""
    document = of_keras(class_name, **config)
    document["config"]["layers"].insert(-1, _images | {"registered_name": None})
    return document


def _deep(levels):
    document = of_keras("Dense", units=10)
    for _ in range(levels):
        document = wrapped(document, "TimeDistributed")
    return document


HUGE = {
    "a dense layer": of_keras("Dense", units=10**9),
    "a dense layer of 2 GB": of_keras("Dense", units=8 * 10**6),
    "a dense layer beyond 64 bits": of_keras("Dense", units=10**30),
    "filters": _on_images("Conv2D", filters=10**9, kernel_size=3),
    "a kernel": _on_images("Conv2D", filters=8, kernel_size=[10**5, 10**5], padding="same"),
    "a table": of_keras("Embedding", input_dim=10**9, output_dim=1000),
    "a head": of_keras("EinsumDense", equation="ab,bc->ac", output_shape=[10**9]),
    "a sequence": of_keras("RepeatVector", n=10**12),
    "padding": _on_images("ZeroPadding2D", padding=[[10**9, 10**9], [10**9, 10**9]]),
    "a larger image": _on_images("UpSampling2D", size=[10**6, 10**6]),
    "a resized image": _on_images("Resizing", height=10**6, width=10**6),
    "buckets": of_keras("Hashing", num_bins=10**15),
    "tokens": of_keras("CategoryEncoding", num_tokens=10**12),
    "a spectrogram": of_keras("STFTSpectrogram", frame_length=2**24, frame_step=1, fft_length=2**24),
    "a shape": of_keras("Reshape", target_shape=[10**6, 10**6]),
    "many dense layers": {
        **MODEL,
        "config": {
            "name": "sequential",
            "layers": MODEL["config"]["layers"][:2]
            + [
                layer(config={"name": f"dense_{number}", "units": 3000})["config"]["layers"][-1]
                | {"build_config": None}
                for number in range(60)
            ],
        },
    },
    "a stateful layer": {
        **MODEL,
        "config": {
            "name": "sequential",
            "layers": [
                {
                    "module": "keras.layers",
                    "class_name": "InputLayer",
                    "config": {"batch_shape": [10**5, 3, 4], "dtype": "float32", "name": "input_layer"},
                    "registered_name": None,
                },
                {
                    "module": "keras.layers",
                    "class_name": "LSTM",
                    "config": {"name": "lstm", "units": 4000, "stateful": True},
                    "registered_name": None,
                },
            ],
        },
    },
    "wrappers in wrappers": _deep(25),
}

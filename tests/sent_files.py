"""Files as a stranger may send them, written by hand: run directories, archives of arrays, tickets."""

import contextlib
import hashlib
import io
import json
import zipfile

import numpy as np

from tf_lottery.errors import LotteryError
from tf_lottery.experiment.config import Config

MODEL = {
    "module": "keras",
    "class_name": "Sequential",
    "config": {
        "name": "sequential",
        "layers": [
            {
                "module": "keras.layers",
                "class_name": "InputLayer",
                "config": {"batch_shape": [None, 8, 8, 1], "dtype": "float32", "name": "input_layer"},
                "registered_name": None,
            },
            {"module": "keras.layers", "class_name": "Flatten", "config": {"name": "flatten"}, "registered_name": None},
            {
                "module": "keras.layers",
                "class_name": "Dense",
                "config": {"name": "dense", "units": 10},
                "registered_name": None,
                "build_config": {"input_shape": [None, 64]},
            },
        ],
    },
    "registered_name": None,
}
ROW = {
    **{"replicate": 0, "round": 0, "variant": "ticket", "density": 1.0, "sparsity": 0.0, "weights_kept": 640},
    **{"weights_total": 640, "steps": 5, "train_loss": 2.0, "val_loss": 2.0, "val_accuracy": 0.2, "test_loss": 2.0},
    **{"test_accuracy": 0.2, "early_stop_step": 5, "early_stop_val_loss": 2.0, "early_stop_test_accuracy": 0.2},
    **{"seconds": 1.0, "steps_per_second": 5.0},
}
METRICS = {
    "row": ROW,
    "history": [{"step": 5, "train_loss": 2.0, "val_loss": 2.0, "val_accuracy": 0.2}],
    "layers": {"dense/kernel": {"kept": 640, "total": 640}},
    "start_step": 0,
    "rewind_manifest": None,
    "pinned": {},
    "seconds": {"train": 1.0},
}
WEIGHTS = {"dense/kernel": np.full((64, 10), 0.5, "float32"), "dense/bias": np.zeros(10, "float32")}
MASKS = {"dense/kernel": np.ones((64, 10), bool)}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def archive(arrays):
    """An .npz file of arrays; of bytes, a member as it is."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in arrays.items():
            member = io.BytesIO()
            if isinstance(array, bytes):
                member.write(array)
            else:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=True)
            file.writestr(f"{name}.npy", member.getvalue())
    return buffer.getvalue()


def header(shape, dtype="<f4"):
    """The beginning of an .npy file that promises an array."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": dtype, "fortran_order": False, "shape": shape})
    return member.getvalue()


def ticket_arrays(document=None, **changes):
    """The members of a ticket's file, with some changed; None leaves one out."""
    document = {"schema": "tf-lottery.ticket/1", "round": 0, "row": ROW} if document is None else document
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    arrays = {
        "recipe": np.frombuffer(content, np.uint8),
        **{f"masks/{key}": value for key, value in MASKS.items()},
        **{f"rewind/{key}": value for key, value in WEIGHTS.items()},
        **{f"trained/{key}": value for key, value in WEIGHTS.items()},
        **changes,
    }
    return {name: array for name, array in arrays.items() if array is not None}


def write_training(folder, *, metrics=METRICS, masks=MASKS, weights=WEIGHTS, **manifest):
    """A committed training; what is bytes already is written as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"metrics.json": metrics, "masks.npz": masks, "weights.npz": weights}
    for name, value in files.items():
        content = value if isinstance(value, bytes) else None
        if content is None:
            content = json.dumps(value).encode() if name.endswith("json") else archive(value)
        (folder / name).write_bytes(content)
        files[name] = sha256(content)
    write_manifest(folder, files | manifest)


def write_manifest(folder, files):
    document = {"schema": "tf-lottery.manifest/1", "files": dict(sorted(files.items()))}
    (folder / "manifest.json").write_text(f"{json.dumps(document, indent=1)}\n")


def write_run(path, *, architecture=MODEL, **options):
    """A finished run of round 0, without its rewind state; options go into its configuration unchecked."""
    config = Config(rounds=0, steps=5, variants=("ticket",), jobs=1).to_json() | options
    with contextlib.suppress(LotteryError):  # of options that are no valid ones
        config["hash"] = Config.from_json(config).hash()
    document = {"schema": "tf-lottery.run-directory/1", "hash": "0123456789", **config}
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(document))
    model, environment = json.dumps(architecture).encode(), json.dumps({"keras": "3"}).encode()
    (path / "model.json").write_bytes(model)
    (path / "environment.json").write_bytes(environment)
    pinned = {"model.json": sha256(model), "environment.json": sha256(environment)}
    write_training(path / "replicate_0" / "round_00", metrics=METRICS | {"pinned": pinned})
    return path

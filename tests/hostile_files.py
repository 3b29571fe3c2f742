"""Files as a stranger may send them to take memory, time or the secrets of who reads them.

A case is a function of a folder that writes files there and returns the arguments of `hostile_reader`.
"""

import functools
import io
import json
import os
import zipfile

import h5py
import keras
import numpy as np
from hostile_architectures import CODE, EXECUTING, HUGE, layer
from sent_files import METRICS, MODEL, ROW, archive, header, ticket_arrays, write_run, write_training

ROUND = "replicate_0/round_00"
MODULE = "import pathlib\npathlib.Path('executed').touch()\ndef make(*a, **k): ...\nscore = make\n"
SCHEMA = {"schema": "tf-lottery.ticket/1", "row": ROW, "round": 0}
GIGABYTE = 1 << 30


def inflating(size, **arrays):
    """An .npz file with an array of zeros of so many bytes beside others, written piece by piece."""
    buffer = io.BytesIO(archive(arrays))
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as file, file.open("x.npy", "w") as member:
        member.write(header((size // 4,)))
        for _ in range(0, size, 1 << 20):
            member.write(bytes(1 << 20))
    return buffer.getvalue()


def many_values(size):
    """A list of empty lists, of so many bytes."""
    return b"[" + b"[]," * (size // 3) + b"[]]"


def write_ticket(path, recipe=None, **arrays):
    path.write_bytes(archive(ticket_arrays(recipe, **arrays)))
    return path


def write_model(path, document, *, weights=None, more=None):
    """A `.keras` file of an architecture, with other weights and more members if given."""
    whole = path.with_name("whole.keras")
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]).save(whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.namelist():
            content = source.read(member)
            if member == "config.json" and document is not None:
                content = document if isinstance(document, bytes) else json.dumps(document).encode()
            if not (member.startswith("model.weights") and weights is not None):
                target.writestr(member, content)
        for name, content in {**(weights or {}), **(more or {})}.items():
            target.writestr(name, content)
    whole.unlink()
    return path


def hdf5(shape, *, external=None, attribute=None):
    """The weights of a dense layer, of which the kernel states a shape that nothing was stored of."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group("layers/dense/vars")
        options = {"external": [(external, 0, h5py.h5f.UNLIMITED)]} if external else {"chunks": (1024,) * len(shape)}
        group.create_dataset("0", shape, "f4", **options)
        group.create_dataset("1", data=np.zeros(10, "f4"))
        if attribute:
            file.attrs["model_config"] = attribute
    return buffer.getvalue()


def lambda_hdf5(path):
    """A model in the older format, with a Lambda layer."""
    function = {"class_name": "__lambda__", "config": {"code": CODE, "defaults": None, "closure": None}}
    layers = [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, 4], "name": "input"}},
        {"class_name": "Lambda", "config": {"name": "sent", "function": function}},
    ]
    document = {"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(document)
        file.create_group("model_weights")
    return path


# What runs code.


def _as_ticket(folder, document):
    return "python", "ticket.model", write_ticket(folder / "sent.npz", SCHEMA | {"architecture": json.dumps(document)})


def _as_model(folder, document):
    return "python", "load_model", write_model(folder / "sent.keras", document)


def _as_run(folder, document):
    """A study makes the model of a run whose configuration names code."""
    write_run(folder / "sent", architecture=document, model="evil_model:make")
    return "analyze", "weight-noise", folder / "sent"


def _named(folder, arguments, **options):
    write_run(folder / "sent", **options)
    return *arguments, folder / "sent"


CASES = {f"ticket: {name}": functools.partial(_as_ticket, document=case) for name, case in EXECUTING.items()}
CASES |= {f"model file: {name}": functools.partial(_as_model, document=case) for name, case in EXECUTING.items()}
CASES["run: a module in the current folder"] = functools.partial(
    _named, arguments=("report",), criterion="evil_model:score"
)
CASES["study: a module in the current folder"] = functools.partial(_as_run, document=MODEL)
CASES["model file: a Lambda in HDF5"] = lambda folder: ("python", "load_model", lambda_hdf5(folder / "sent.h5"))


def _compiled(folder):
    """A loss that is a function of the system, with which the model would be compiled."""
    loss = {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"}
    return _as_model(folder, {**MODEL, "compile_config": {"optimizer": "adam", "loss": loss, "metrics": [loss]}})


def _outside(folder):
    more = {"../executed": b"", "assets/../../executed": b"", "/tmp/tf_lottery_executed": b""}
    return "python", "load_model", write_model(folder / "sent.keras", None, more=more)


def _external(folder):
    (folder / "secret").write_bytes(bytes(4 * 640))
    weights = {"model.weights.h5": hdf5((64, 10), external=str(folder / "secret"))}
    return "python", "load_model", write_model(folder / "sent.keras", None, weights=weights)


def _linked(folder):
    with h5py.File(folder / "secret", "w") as file:
        file["layers/dense/vars/0"] = np.zeros((64, 10), "f4")
    with h5py.File(folder / "sent.weights.h5", "w") as file:
        file["layers/dense/vars"] = h5py.ExternalLink(str(folder / "secret"), "layers/dense/vars")
    return "python", "load_weights", folder / "sent.weights.h5"


CASES |= {
    "model file: a function of the system as the loss": _compiled,
    "model file: names that lead out": _outside,
    "model file: weights in another file": _external,
    "weights: a link to another file": _linked,
}

# What takes memory or time.

CASES |= {f"ticket: {name}": functools.partial(_as_ticket, document=case) for name, case in HUGE.items()}
CASES |= {f"model file: {name}": functools.partial(_as_model, document=case) for name, case in HUGE.items()}
CASES |= {
    f"study: {name}": functools.partial(_as_run, document=HUGE[name])
    for name in ("a dense layer", "a dense layer of 2 GB", "filters", "a sequence", "many dense layers")
}


def _ticket(folder, **arrays):
    return "python", "load_ticket", write_ticket(folder / "sent.npz", **arrays)


def _samples(folder, **arrays):
    (folder / "sent.npz").write_bytes(archive(arrays))
    return "python", "samples", folder / "sent.npz"


def _text(folder, arguments, name, content):
    (folder / name).write_bytes(content)
    return *arguments, folder / name


def _written(folder, arguments, name, make):
    return _text(folder, arguments, name, make())


def _training_of(folder, make):
    return _training(folder, metrics=make())


def _training(folder, command="verify", **files):
    run = write_run(folder / "sent")
    write_training(run / ROUND, **files)
    return command, run


def _replaced(folder, name, how, command):
    run = write_run(folder / "sent")
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name) if how == "pipe" else (run / name).symlink_to("/dev/zero")
    return *command, run


def _device(folder, name, function, how):
    os.mkfifo(folder / name) if how == "pipe" else (folder / name).symlink_to("/dev/zero")
    return "python", function, folder / name


KERNEL = "rewind/dense/kernel"
CONTENTS = {
    "of a huge shape": {KERNEL: header((1 << 40,))},
    "of a huge text": {KERNEL: header((1,), "<U1073741823")},
    "of objects": {KERNEL: np.full((64, 10), None, object)},
    "of complex numbers": {KERNEL: np.zeros((64, 10), complex)},
    "of records": {KERNEL: np.zeros((64, 10), [("a", "f4")])},
    "with a long header": {KERNEL: b"\x93NUMPY\x02\x00" + (1 << 24).to_bytes(4, "little") + b"(" * (1 << 24)},
    "of many arrays": {f"rewind/{number}": np.zeros(1, "f4") for number in range(20_000)},
}
CASES |= {f"ticket: arrays {name}": functools.partial(_ticket, **arrays) for name, arrays in CONTENTS.items()}
CASES |= {
    f"samples: arrays {name}": functools.partial(_samples, x=next(iter(arrays.values())))
    for name, arrays in CONTENTS.items()
    if name != "of many arrays"
}
CASES["ticket: a recipe of many values"] = lambda folder: (
    *("python", "load_ticket"),
    write_ticket(folder / "sent.npz", b'{"schema": "tf-lottery.ticket/1", "row": ' + many_values(60 << 20) + b"}"),
)
CASES["ticket: half a surrogate pair"] = lambda folder: (
    *("python", "load_ticket"),
    write_ticket(folder / "sent.npz", SCHEMA | {"dataset": "\ud800"}),
)
for _function in ("load_ticket", "samples"):
    CASES[f"{_function}: arrays that inflate"] = functools.partial(
        _written, arguments=("python", _function), name="sent.npz", make=lambda: inflating(GIGABYTE, **ticket_arrays())
    )
DOCUMENTS = {
    "deep lists": lambda: b"[" * 10_000_000,
    "deep objects": lambda: b'{"a":' * 2_000_000,
    "many values": lambda: many_values(90 << 20),
    "an endless number": lambda: b"9" * 10_000_000,
    "half a surrogate pair": lambda: b'{"seed": "\\ud800"}',
}
for _name, _make in DOCUMENTS.items():
    CASES[f"configuration: {_name}"] = functools.partial(
        _written, arguments=("run", "--dry-run", "--config"), name="sent.json", make=_make
    )
    CASES[f"metrics: {_name}"] = functools.partial(_training_of, make=_make)
    CASES[f"architecture: {_name}"] = functools.partial(
        _written, arguments=("python", "architecture"), name="sent.txt", make=_make
    )
    CASES[f"model file: configuration of {_name}"] = functools.partial(
        lambda folder, make: _as_model(folder, make()), make=_make
    )
TOML = {
    "deep lists": lambda: b"a = " + b"[" * 1_000_000,
    "deep keys": lambda: b".".join([b"a"] * 400_000) + b" = 1",
    "many keys": lambda: b"\n".join(b"a%d = 1" % number for number in range(2_000_000)),
    "many deep keys": lambda: b"\n".join(b".".join([b"a%d" % number] * 150) + b" = 1" for number in range(1500)),
    "no end": lambda: b'a = "' + b"x" * (200 << 20),
}
for _name, _make in TOML.items():
    CASES[f"TOML: {_name}"] = functools.partial(
        _written, arguments=("run", "--dry-run", "--config"), name="sent.toml", make=_make
    )
for _how in ("pipe", "device"):
    for _name in ("config.json", "model.json", f"{ROUND}/manifest.json", f"{ROUND}/metrics.json", f"{ROUND}/masks.npz"):
        CASES[f"run: a {_how} as {_name}"] = functools.partial(_replaced, name=_name, how=_how, command=("verify",))
    CASES[f"run: a {_how} as the lock"] = functools.partial(_replaced, name=".lock", how=_how, command=("status",))
    for _name, _function in {
        "sent.npz": "load_ticket",
        "sent.keras": "load_model",
        "sent.h5": "load_model",
        "sent.weights.h5": "load_weights",
    }.items():
        CASES[f"{_function}: a {_how} as {_name}"] = functools.partial(
            _device, name=_name, function=_function, how=_how
        )
WEIGHTS = {
    "of a huge shape": lambda: {"model.weights.h5": hdf5((30_000, 30_000))},
    "that inflate": lambda: {"model.weights.h5": bytes(GIGABYTE // 2)},
    "of NumPy, of a huge shape": lambda: {"model.weights.npz": archive({"dense": header((1 << 40,))})},
    "of NumPy, that inflate": lambda: {"model.weights.npz": inflating(GIGABYTE)},
}
for _name, _make in WEIGHTS.items():
    CASES[f"model file: weights {_name}"] = functools.partial(
        lambda folder, make: ("python", "load_model", write_model(folder / "sent.keras", None, weights=make())),
        make=_make,
    )
CASES["weights: of a huge shape"] = functools.partial(
    _text, arguments=("python", "load_weights"), name="sent.weights.h5", content=hdf5((30_000, 30_000))
)
CASES["metrics: a row of another type"] = functools.partial(
    _training, command="report", metrics=METRICS | {"row": ROW | {"val_loss": [1]}}
)
CASES["compare: an architecture of another form"] = lambda folder: (
    *("compare", write_run(folder / "one", architecture={"config": 3})),
    write_run(folder / "other", architecture={"config": {"layers": 3}}),
)
CASES["study: an architecture of another form"] = functools.partial(
    _named, arguments=("analyze", "survivors"), architecture={"config": {"layers": [3]}}
)
CASES["run: a hundred million threads"] = functools.partial(_named, arguments=("status",), threads=100_000_000)

# What is whole; each case is compared with the one that reads as it does.

BENIGN = {
    "load_ticket": lambda folder: ("python", "load_ticket", write_ticket(folder / "sent.npz", SCHEMA)),
    "ticket.model": functools.partial(_as_ticket, document=MODEL),
    "load_model": functools.partial(_as_model, document=layer()),
    "samples": functools.partial(_samples, x=np.zeros((4, 64), "f4")),
    "architecture": functools.partial(
        _text, arguments=("python", "architecture"), name="sent.txt", content=json.dumps(MODEL).encode()
    ),
    "status": functools.partial(_named, arguments=("status",)),
}

"""Models by name, by the user's function, and from files, whole and broken."""

import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from tf_lottery.errors import DamagedError, NonFiniteError, UnfitError, UsageError
from tf_lottery.layers import wrap
from tf_lottery.models.building import build

SHAPE = {"input_shape": (2,), "classes": 3}


def small() -> keras.Model:
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="output")])


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function that writes a module of the user's into the current directory and names it."""
    monkeypatch.chdir(tmp_path)
    made = []

    def write(body: str) -> str:
        name = f"own_nets_{tmp_path.name.replace('-', '_')}_{len(made)}"
        (tmp_path / f"{name}.py").write_text(body)
        made.append(name)
        return name

    yield write
    for name in made:
        sys.modules.pop(name, None)


def test_catalog_name():
    assert build("mlp", input_shape=(8, 8, 1), classes=10).count_params() == 12_060


def test_unknown_name_suggests_and_lists():
    with pytest.raises(UsageError) as caught:
        build("fc11", **SHAPE)
    assert "'fc1'" in caught.value.remedy
    assert "conv6" in caught.value.remedy


def test_function_gets_the_arguments_it_names(module):
    name = module(
        "import keras\n"
        "def sized(classes, input_shape):\n"
        "    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(classes)])\n"
        "def fixed():\n"
        "    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])\n"
        "def optional(units=5, *, classes=None):\n"
        "    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(units + classes)])\n"
        "def anything(**given):\n"
        "    return keras.Sequential([keras.Input(given['input_shape']), keras.layers.Dense(given['classes'])])\n"
    )
    path = list(sys.path)
    assert build(f"{name}:sized", **SHAPE).output_shape == (None, 3)
    assert build(f"{name}:fixed", **SHAPE).output_shape == (None, 4)
    assert build(f"{name}:optional", **SHAPE).output_shape == (None, 8)
    assert build(f"{name}:anything", **SHAPE).output_shape == (None, 3)
    assert sys.path == path


def test_function_inside_a_package(module, tmp_path):
    package = tmp_path / f"pack_{tmp_path.name.replace('-', '_')}"
    package.mkdir()
    (package / "nets.py").write_text(
        "import keras\ndef net():\n    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])\n"
    )
    assert build(f"{package.name}.nets:net", **SHAPE).built


@pytest.mark.parametrize(
    ("body", "function", "error", "words"),
    [
        ("", "absent", UsageError, "no function"),
        ("def need(width):\n    return None\n", "need", UsageError, "width"),
        ("def nothing():\n    return None\n", "nothing", UnfitError, "NoneType"),
        ("def crash():\n    raise RuntimeError('own trouble')\n", "crash", UnfitError, "own trouble"),
        (
            "import keras\ndef raw():\n    return keras.Sequential([keras.layers.Dense(3)])\n",
            "raw",
            UnfitError,
            "built",
        ),
        ("1 / 0\n", "any", UnfitError, "ZeroDivisionError"),
        ("import not_there_at_all\n", "any", UnfitError, "not_there_at_all"),
        # An exit in the user's code ended the command with exit code 0 and not a word.
        ("import sys\ndef leave():\n    sys.exit()\n", "leave", UnfitError, "SystemExit"),
        ("raise SystemExit(0)\n", "any", UnfitError, "SystemExit"),
        # This was an AttributeError further on.
        (
            "import keras\nclass Own(keras.Model):\n    def call(self, x):\n        return x\n"
            "def own():\n    model = Own()\n    model.built = True\n    return model\n",
            "own",
            UnfitError,
            "is not built",
        ),
    ],
)
def test_bad_functions(module, body, function, error, words):
    with pytest.raises(error) as caught:
        build(f"{module(body)}:{function}", **SHAPE)
    assert words in caught.value.cause
    assert caught.value.remedy


def test_missing_module_is_a_usage_error(module):
    with pytest.raises(UsageError, match="no_such_module_here"):
        build("no_such_module_here:net", **SHAPE)


def test_file_gives_the_same_model(tmp_path):
    model = small()
    model.save(tmp_path / "m.keras")
    loaded = build(tmp_path / "m.keras", **SHAPE)
    x = np.ones((2, 2), "float32")
    assert np.array_equal(model(x).numpy(), loaded(x).numpy())


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        build(str(tmp_path / "absent.keras"), **SHAPE)
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(UsageError, match="folder"):
        build(str(tmp_path / "folder.keras"), **SHAPE)


def test_truncated_files_are_damaged(tmp_path):
    small().save(tmp_path / "whole.keras")
    whole = (tmp_path / "whole.keras").read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.keras").write_bytes(whole[:size])
        with pytest.raises(DamagedError) as caught:
            build(tmp_path / "cut.keras", **SHAPE)
        assert "cut.keras" in caught.value.cause


def test_flipped_bits_never_give_another_model(tmp_path):
    model = small()
    model.save(tmp_path / "whole.keras")
    whole = (tmp_path / "whole.keras").read_bytes()
    for position in np.linspace(0, len(whole) - 1, 40).astype(int):
        (tmp_path / "flipped.keras").write_bytes(
            whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :]
        )
        try:
            loaded = build(tmp_path / "flipped.keras", **SHAPE)
        except DamagedError:
            continue
        # Some bytes of a zip carry nothing, such as dates.
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True))


def test_missing_member_is_damaged(tmp_path):
    small().save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as whole, zipfile.ZipFile(tmp_path / "part.keras", "w") as part:
        part.writestr("config.json", whole.read("config.json"))
    with pytest.raises(DamagedError):
        build(tmp_path / "part.keras", **SHAPE)


def test_nan_weight_is_named(tmp_path):
    model = small()
    kernel, bias = model.get_weights()
    kernel[1, 2] = np.nan
    model.set_weights([kernel, bias])
    model.save(tmp_path / "nan.keras")
    with pytest.raises(
        NonFiniteError, match=r"output/kernel.*nan\.keras must be finite.*1 NaN or infinite of 6 values"
    ):
        build(tmp_path / "nan.keras", **SHAPE)


def test_unsafe_and_unknown_code_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(UnfitError, match="cannot load"):
        build(tmp_path / "lambda.keras", **SHAPE)


def test_a_wrapped_model_loads_in_a_new_process(tmp_path):
    wrap(small()).save(tmp_path / "wrapped.keras")
    code = (
        "import sys\n"
        "from tf_lottery.models.building import build\n"
        "print([type(layer).__name__ for layer in build(sys.argv[1], input_shape=(2,), classes=3).layers])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "wrapped.keras")], capture_output=True, text=True, timeout=900
    )
    assert "Masked" in done.stdout, done.stderr

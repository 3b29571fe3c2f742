"""Errors carry a cause and a remedy, name arguments as data, and are the built-in ones that callers expect."""

import ast
import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import pytest

from tf_lottery import errors
from tf_lottery.errors import NamedArgument, NamedCall, split_message
from tf_lottery.utils.text import suggestion

LIBRARY = Path(errors.__file__).parent
# The one place that explains how another interface shows a message.
EXPLAINS_FLAGS = {LIBRARY / "errors.py"}
# Arguments that a text of the library stands for, where it is made at run time.
PLACEHOLDER = "placeholder"


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.LotteryError, Exception),
        (errors.CheckFailed, Exception),
        (errors.UsageError, ValueError),
        (errors.UnfitError, ValueError),
        (errors.NonFiniteError, ArithmeticError),
        (errors.RunInUseError, RuntimeError),
        (errors.DamagedError, ValueError),
        (errors.ResourceError, OSError),
    ],
)
def test_every_error(error, builtin):
    raised = error("The file 'x' is cut short.", "Copy it again.")
    assert isinstance(raised, errors.LotteryError)
    assert isinstance(raised, builtin)
    assert (raised.cause, raised.remedy) == ("The file 'x' is cut short.", "Copy it again.")
    assert str(raised) == "The file 'x' is cut short. Copy it again."
    assert str(error("A cause.")) == "A cause."
    assert str(error("A cause: no such {'thing': 1}", "Do that.")) == "A cause: no such {'thing': 1}. Do that."
    assert str(error("A cause")) == "A cause"
    assert raised.argument is None
    assert not hasattr(raised, "exit_code")
    raised = error("`rate` must be below 1. Received: 2.", "Pass `rate=0.2`.", argument="output_rate")
    twin = pickle.loads(pickle.dumps(raised))
    for name in ("cause", "remedy", "argument"):
        assert getattr(twin, name) == getattr(raised, name)
    assert (type(twin), str(twin)) == (error, str(raised))


def test_an_error_of_a_worker_process_arrives_whole():
    # Program text, since the process cannot import a test module.
    code = (
        "from tf_lottery import errors\n"
        "raise errors.DamagedError('`path` is cut short.', 'Start over with `fresh=True`.', argument='run_dir')"
    )
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(errors.DamagedError) as caught:
        pool.submit(exec, code).result()
    assert caught.value.argument == "run_dir"
    assert str(caught.value) == "`path` is cut short. Start over with `fresh=True`."


def test_the_argument_at_fault_is_the_first_that_the_cause_names():
    assert errors.UsageError("`rate` and `densities` exclude each other.").argument == "rate"
    assert errors.UsageError("`keras.Input` is lacking.", "Pass `x`.").argument is None


def test_messages_are_split_into_text_arguments_and_calls():
    assert split_message("No code.") == ["No code."]
    assert split_message("`rate`: pass `rates=[0.2, 0.5]`, not `keras.Input` or `1x4`.") == [
        NamedArgument("rate", "rate"),
        ": pass ",
        NamedArgument("rates=[0.2, 0.5]", "rates", [0.2, 0.5]),
        ", not ",
        "`keras.Input`",
        " or ",
        "`1x4`",
        ".",
    ]
    code = "tfl.export(model, 'a b', format='keras', samples=...)"
    assert split_message(f"Call `{code}`") == ["Call ", NamedCall(code, "tfl.export", ("a b",), {"format": "keras"})]
    assert split_message("`samples=...`") == [NamedArgument("samples=...", "samples")]
    assert split_message("no`tick.keras can't be read") == ["no`tick.keras can't be read"]


def texts(path: Path) -> dict[int, str]:
    """The texts of a module by line: literals, and f-strings with a placeholder for each value; no docstrings."""
    tree = ast.parse(path.read_text())
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    inner |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    lines = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else PLACEHOLDER for part in node.values)
            lines[node.lineno] = "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            lines[node.lineno] = node.value
    return lines


def test_the_library_names_no_flag_and_no_command():
    flag = re.compile(r"(?<![\w-])--[a-z]|tf-lottery (?!is\b)[a-z]")
    lines = [
        f"{path.relative_to(LIBRARY)}:{number}: {line.strip()}"
        for path in LIBRARY.rglob("*.py")
        if path not in EXPLAINS_FLAGS
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if flag.search(line)
    ]
    assert lines == []


def test_functions_that_messages_name_exist():
    names = {
        part.function
        for path in LIBRARY.rglob("*.py")
        for text in texts(path).values()
        for part in split_message(text)
        if isinstance(part, NamedCall) and part.function.startswith(("tfl.", "tf_lottery."))
    }
    assert {"tf_lottery.data.prepare", "tf_lottery.studies.extending.train_missing", "tfl.export"} <= names
    for name in names:
        module, _, function = name.replace("tfl.", "tf_lottery.").rpartition(".")
        assert callable(getattr(import_module(module), function)), name


def test_suggestions_list_what_is_valid():
    assert suggestion("magnitud", ["magnitude", "random"]) == "Did you mean 'magnitude'? Valid: magnitude, random."
    assert suggestion("zzz", ["magnitude", "random"]) == "Valid: magnitude, random."

"""Errors carry a cause, a remedy and an exit code, and are the built-in ones that callers expect."""

import pickle

import pytest

from tf_lottery import errors
from tf_lottery.utils.text import suggestion


@pytest.mark.parametrize(
    "error, code, builtin",
    [
        (errors.LotteryError, 1, Exception),
        (errors.CheckFailed, 1, Exception),
        (errors.UsageError, 2, ValueError),
        (errors.UnfitError, 3, ValueError),
        (errors.NonFiniteError, 3, ArithmeticError),
        (errors.RunInUseError, 4, RuntimeError),
        (errors.DamagedError, 5, ValueError),
        (errors.ResourceError, 6, OSError),
    ],
)
def test_every_error(error, code, builtin):
    raised = error("The file 'x' is cut short.", "Copy it again.")
    assert isinstance(raised, errors.LotteryError) and isinstance(raised, builtin)
    assert raised.exit_code == code
    assert (raised.cause, raised.remedy) == ("The file 'x' is cut short.", "Copy it again.")
    assert str(raised) == "The file 'x' is cut short. Copy it again."
    assert str(error("A cause.")) == "A cause."
    twin = pickle.loads(pickle.dumps(raised))  # as a worker process sends it
    assert (type(twin), twin.cause, twin.remedy, str(twin)) == (error, raised.cause, raised.remedy, str(raised))


def test_suggestions_list_what_is_valid():
    assert suggestion("magnitud", ["magnitude", "random"]) == "Did you mean 'magnitude'? Valid: magnitude, random."
    assert suggestion("zzz", ["magnitude", "random"]) == "Valid: magnitude, random."

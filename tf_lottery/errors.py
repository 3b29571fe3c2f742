"""The exception tree: every failure that a user can mend, with its cause, its remedy and the argument at fault.

A `LotteryError` carries two sentences: `cause` (what was expected, what came, where) and `remedy` (what to do). Each
class also derives from the built-in exception that a Python caller would expect, so `except ValueError` works as usual.

Messages are written for Python, in one notation: an argument stands in back-ticks, alone (`rate`) or with a value
(`fresh=True`), and so does a function to call (`tf_lottery.data.prepare('mnist')`). `split_message` reads that notation
back as data, so that another interface can show the same message in its own words: the command line prints
`--fresh` for the argument `fresh=True`.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_LONGEST_CALL = 1000


@dataclass(frozen=True)
class NamedArgument:
    """An argument that a message names.

    Attributes:
        code: the code in the back-ticks, e.g. "fresh=True".
        name: the name of the argument.
        value: the value that the message gives it; `...` where it gives none.
    """

    code: str
    name: str
    value: Any = ...


@dataclass(frozen=True)
class NamedCall:
    """A function call that a message recommends.

    Arguments that are no literals, such as a variable or `...`, are left out of the values.

    Attributes:
        code: the code in the back-ticks, e.g. "tf_lottery.data.prepare('mnist', data_dir=...)".
        function: the dotted name of the function.
        positional: the values of its positional arguments.
        keywords: the values of its keyword arguments, by name.
    """

    code: str
    function: str
    positional: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)


def split_message(text: str) -> list[str | NamedArgument | NamedCall]:
    """Return the parts of a message in order: plain text, and the arguments and calls that it names in back-ticks.

    Other code in back-ticks stays plain text, with its back-ticks.

    Example:
        >>> split_message("Restore it, or start over with `fresh=True`.")
        ['Restore it, or start over with ', NamedArgument(code='fresh=True', name='fresh', value=True), '.']
    """
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # a back-tick that nothing closes, as in the name of a file
        return [text]
    parts: list[str | NamedArgument | NamedCall] = []
    for position, piece in enumerate(pieces):
        code = position % 2 == 1
        part = _parse_code(piece) if code else None
        if part is not None:
            parts.append(part)
        elif plain := f"`{piece}`" if code else piece:
            parts.append(plain)
    return parts


def _parse_code(code: str) -> NamedArgument | NamedCall | None:
    """Read code as an argument or as a call; None where it is neither."""
    name, equals, value = code.partition("=")
    if name.isidentifier():
        return NamedArgument(code, name, _literal(value)) if equals else NamedArgument(code, name)
    if len(code) > _LONGEST_CALL:  # text of a file, perhaps, that a parser would choke on
        return None
    try:
        call = ast.parse(code, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(call, ast.Call):
        return None
    positional = (_literal(node) for node in call.args)
    keywords = {str(keyword.arg): _literal(keyword.value) for keyword in call.keywords}
    return NamedCall(
        code,
        ast.unparse(call.func),
        tuple(value for value in positional if value is not ...),
        {name: value for name, value in keywords.items() if value is not ...},
    )


def _literal(code: str | ast.expr) -> Any:
    """Return the value of a literal; `...` where the code is none."""
    if isinstance(code, str) and len(code) > _LONGEST_CALL:
        return ...
    try:
        return ast.literal_eval(code)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return ...


class LotteryError(Exception):
    """Base of all errors that this library raises on purpose.

    Args:
        cause: one line: what was expected, what came, and where.
        remedy: one line: what to do about it.
        argument: the argument at fault; by default the first one that `cause` names.
    """

    def __init__(self, cause: str, remedy: str = "", *, argument: str | None = None) -> None:
        super().__init__(cause, remedy)
        self.cause = cause
        self.remedy = remedy
        named = (part.name for part in split_message(cause) if isinstance(part, NamedArgument))
        self.argument = argument or next(named, None)

    def __str__(self) -> str:
        # A cause that ends with the message of another library may have no period.
        stop = "." if self.cause and self.remedy and not self.cause.endswith((".", "!", "?", ":")) else ""
        return f"{self.cause}{stop} {self.remedy}".strip()


class CheckFailed(LotteryError):  # noqa: N818 - a result, not a mistake
    """A check or a claim did not hold."""


class UsageError(LotteryError, ValueError):
    """An argument or a configuration is wrong."""


class UnfitError(LotteryError, ValueError):
    """Data or a model that is whole, but not fit for the job."""


class NonFiniteError(UnfitError, ArithmeticError):
    """A weight, a score or a loss is NaN or infinite."""


class RunInUseError(LotteryError, RuntimeError):
    """Another process holds the run directory."""


class DamagedError(LotteryError, ValueError):
    """A file is truncated, altered or unreadable."""


class ResourceError(LotteryError, OSError):
    """Disk, permission or device trouble."""

    def __str__(self) -> str:
        return LotteryError.__str__(self)


class UnfinishedRunError(ResourceError):
    """Trainings of a run are missing, because the processes that trained them died; the others are committed.

    Args:
        cause: one line: which trainings, and why.
        remedy: one line: what to do about it.
        jobs: how many processes to resume with, where memory was short; None for as many as before.
    """

    def __init__(self, cause: str, remedy: str = "", *, jobs: int | None = None) -> None:
        super().__init__(cause, remedy)
        self.jobs = jobs

"""How an option of an experiment is declared: once, with its help, its valid values and its part in the hash.

An option is a field of a dataclass made by `option(...)`. Checks, the hash, files of earlier versions and the command
line all read that declaration. No TensorFlow.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_origin

from tf_lottery.errors import UsageError
from tf_lottery.utils.references import is_reference
from tf_lottery.utils.text import suggestion

_KEY = "option"


@dataclass(frozen=True)
class Option:
    """The declaration of an option, beside its name, type and default.

    Attributes:
        help: one sentence for help pages; names of other options stand in backticks.
        choices: the valid values, or a function that returns them; None accepts every value of the type.
        unlisted: further valid values that no help page lists, because only the library itself sets them.
        accepts: says of a value whether it is valid beside the choices.
        importable: whether `package.module:name`, the import path of a user's own, is valid beside the choices.
        minimum: the smallest valid value.
        maximum: the largest valid value.
        open_minimum: whether `minimum` itself is not valid.
        open_maximum: whether `maximum` itself is not valid.
        limit: the largest accepted value of a count, far beyond what is useful; it only catches slips.
        requirement: what an error message says that the value must be; by default it states the bounds.
        example: a value that an error message proposes.
        count_or_fraction: whether an integer is a count and a float a fraction, so that integers stay integers.
        hashed: whether the option is part of the hash: "always", "if set" (when it does not have its default, for
            options that are younger than runs which must keep their hash), or "never" (it extends a run, or says where
            it runs).
        hashed_when: a further condition on the configuration; otherwise the option decides nothing.
        earlier_name: its name in version 0.1, which is still read from files, accepted by the command line, and hashed.
        metavar: what help pages show for the value, or for the items of a list.
        on_command_line: whether the command line offers it as an option.
    """

    help: str
    choices: tuple[str, ...] | Callable[[], Iterable[str]] | None = None
    unlisted: tuple[str, ...] = ()
    accepts: Callable[[str], bool] | None = None
    importable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    open_minimum: bool = False
    open_maximum: bool = False
    limit: int | None = None
    requirement: str = ""
    example: float | None = None
    count_or_fraction: bool = False
    hashed: Literal["always", "if set", "never"] = "always"
    hashed_when: Callable[[Any], bool] | None = None
    earlier_name: str = ""
    metavar: str = ""
    on_command_line: bool = True

    def valid_names(self) -> tuple[str, ...] | None:
        """Return the choices of now, without the unlisted ones; None where every value of the type is valid."""
        return None if self.choices is None else tuple(self.choices() if callable(self.choices) else self.choices)

    def contains(self, value: float) -> bool:
        """Return whether a number is within the bounds."""
        low, high = self.minimum, self.maximum
        if low is not None and (value < low or (self.open_minimum and value == low)):
            return False
        if high is not None and (value > high or (self.open_maximum and value == high)):
            return False
        return self.limit is None or value <= self.limit

    def describe_bounds(self, value: float) -> str:
        """Return what a number must be, for the error about `value`, which is not within the bounds."""
        if self.requirement:
            return f"must be {self.requirement}"
        if self.limit is not None and value > self.limit:
            return f"must be at most {self.limit}"
        if self.maximum is not None:
            opening, closing = "(" if self.open_minimum else "[", ")" if self.open_maximum else "]"
            return f"must be in {opening}{self.minimum}, {self.maximum}{closing}"
        if self.minimum or self.limit is not None:
            return f"must be at least {self.minimum}"
        return "must be positive" if self.open_minimum else "must not be negative"


def option(default: Any, help: str, **declaration: Any) -> Any:
    """Return a dataclass field that is declared as an option.

    Args:
        default: the default value.
        help: one sentence for help pages.
        **declaration: the other attributes of `Option`.

    Example:
        >>> @dataclass(frozen=True)
        ... class Settings:
        ...     rate: float = option(0.2, "Fraction pruned.", minimum=0, maximum=1)
        >>> options(Settings)["rate"].help
        'Fraction pruned.'
    """
    return field(default=default, metadata={_KEY: Option(help, **declaration)})


def options(settings: Any) -> dict[str, Option]:
    """Return the declarations of a dataclass, or of its instance, by name."""
    return {item.name: item.metadata[_KEY] for item in fields(settings)}


def tuples(settings: Any) -> dict[str, Any]:
    """Return the values of the options that hold several, as tuples: a single value is a tuple of one, None is empty.

    A function stays as it is.
    """
    values = {item.name: getattr(settings, item.name) for item in fields(settings) if get_origin(item.type) is tuple}
    return {
        name: (value,) if isinstance(value, str | float | int) else () if value is None else tuple(value)
        for name, value in values.items()
    }


def checked_types(settings: Any) -> dict[str, float]:
    """Check the type of every option; return the integers that stand for floats, as floats.

    Raises:
        UsageError: a value is of another type, or a number is NaN or infinite.
    """
    converted = {}
    for item in fields(settings):
        value, kinds = getattr(settings, item.name), get_args(item.type) or (item.type,)
        if get_origin(item.type) is tuple:
            valid = all(_is_a(part, kinds[0]) for part in value)
        else:
            valid = any(_is_a(value, kind) for kind in kinds)
        if not valid:
            names = " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds if kind is not Ellipsis)
            raise UsageError(f"`{item.name}` must be {names}. Received: {value!r}.", "Correct the configuration.")
        if float in kinds and isinstance(value, int) and not item.metadata[_KEY].count_or_fraction:
            converted[item.name] = float(value)
    return converted


def check_choices(settings: Any) -> None:
    """Check that every option with choices has one of them.

    Raises:
        UsageError: a name is unknown; the remedy lists the valid ones.
    """
    for item in fields(settings):
        declared: Option = item.metadata[_KEY]
        names = declared.valid_names()
        if names is None:
            continue
        several = get_origin(item.type) is tuple
        for value in getattr(settings, item.name) if several else [getattr(settings, item.name)]:
            if value in names or value in declared.unlisted or (declared.importable and is_reference(value)):
                continue
            if declared.accepts is not None and declared.accepts(value):
                continue
            what = item.name.removesuffix("s") if several else item.name
            raise UsageError(f"Unknown {what} {value!r}.", suggestion(str(value), (*names, *declared.unlisted)))


def check_ranges(settings: Any) -> None:
    """Check that every number is within the bounds of its option.

    Raises:
        UsageError: a number is out of bounds.
    """
    for name, declared in options(settings).items():
        value = getattr(settings, name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not declared.contains(value):
            remedy = "" if declared.example is None else f"Pass e.g. {declared.example}."
            raise UsageError(f"`{name}` {declared.describe_bounds(value)}. Received: {value}.", remedy)


def hashed_values(settings: Any, document: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that is hashed, under the names that version 0.1 gave.

    Args:
        settings: the configuration.
        document: its values by name, as JSON values.
    """
    content = {}
    for item in fields(settings):
        declared: Option = item.metadata[_KEY]
        if declared.hashed == "never" or (declared.hashed_when is not None and not declared.hashed_when(settings)):
            continue
        if declared.hashed == "always" or getattr(settings, item.name) != item.default:
            content[declared.earlier_name or item.name] = document[item.name]
    return content


def _is_a(value: object, kind: Any) -> bool:
    """Return whether a value is of a kind; an integer is a finite float, a boolean is no number."""
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)

"""Rates and densities of single layers, as a configuration stores them: texts PATTERN=VALUE. No TensorFlow."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from tf_lottery.errors import UsageError
from tf_lottery.pruning.path_patterns import EVERYTHING


def layer_values(values: Any, *, what: str) -> tuple[str, ...]:
    """Return values by weight path or glob pattern as sorted texts, which `by_pattern` reads.

    Args:
        values: a mapping from paths or patterns to numbers; texts PATTERN=VALUE, one or several; or a number alone, for
            every array that no pattern matches. None is empty.
        what: the name of the option, for messages.

    Raises:
        UsageError: a text is no PATTERN=VALUE, a value is no number, or a pattern stands there twice.

    Example:
        >>> layer_values({"dense*": 0.5, "conv*": 0.1}, what="layer_rates"), layer_values("0.02", what="min_density")
        (('conv*=0.1', 'dense*=0.5'), ('*=0.02',))
    """
    if values is None:
        return ()
    if isinstance(values, Mapping):
        pairs = [(pattern, _number(value, what)) for pattern, value in values.items()]
    else:
        texts = values if isinstance(values, Iterable) and not isinstance(values, str) else [values]
        pairs = [_pair(text, what) for text in texts]
    for pattern, _ in pairs:
        if not isinstance(pattern, str) or not pattern:
            raise UsageError(f"`{what}` is by weight path or pattern. Received: {pattern!r}.", "Pass texts as keys.")
    if repeated := [pattern for pattern in dict(pairs) if sum(pattern == other for other, _ in pairs) > 1]:
        raise UsageError(f"`{what}` has the pattern {repeated[0]!r} twice.", "Give it one value.")
    return tuple(sorted(f"{pattern}={value!r}" for pattern, value in pairs))


def by_pattern(texts: Sequence[str]) -> dict[str, float]:
    """Return the numbers of texts that `layer_values` made, by path or pattern.

    Example:
        >>> by_pattern(("conv*=0.1",))
        {'conv*': 0.1}
    """
    return {text.rpartition("=")[0]: float(text.rpartition("=")[2]) for text in texts}


def _pair(text: Any, what: str) -> tuple[str, float]:
    """Return the pattern and the number of a text; a number alone is for every array."""
    if not isinstance(text, str):
        return EVERYTHING, _number(text, what)
    pattern, equals, number = text.rpartition("=")
    return (pattern if equals else EVERYTHING), _number(number, what)


def _number(value: Any, what: str) -> float:
    try:
        if isinstance(value, str) or (isinstance(value, Real) and not isinstance(value, bool)):
            return float(value)
    except ValueError:
        pass
    raise UsageError(
        f"`{what}` is a number, or numbers by weight path or pattern. Received: {value!r}.",
        "Pass e.g. {'conv*': 0.1}, or conv*=0.1 as a text.",
    )

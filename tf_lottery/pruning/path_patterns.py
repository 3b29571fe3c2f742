"""Values by weight path that a caller gives by glob patterns: rates, least and greatest densities."""

import fnmatch
from collections.abc import Collection, Mapping
from typing import TypeVar

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.pruning.masks import check_keys
from tf_lottery.utils.text import suggestion

T = TypeVar("T")
EVERYTHING = "*"


def values_by_path(
    values: T | Mapping[str, T], paths: Collection[str], *, what: str, default: T | None = None
) -> dict[str, T]:
    """Returns a value for every weight path.

    A path itself is stronger than a pattern, and `"*"` stands for all that nothing else matches. `*` matches "/" too,
    so that "conv*" stands for every weight of the layers whose path begins so.

    Args:
        values: One value for all paths, or values by path or glob pattern.
        paths: The weight paths.
        what: What the values are called in messages, e.g. "rate".
        default: The value of a path that nothing matches; None for none, which is an error.

    Raises:
        UsageError: If a key is no text, a pattern matches no path, or two patterns give one path different values.
        UnfitError: If a path is not there, or nothing matches one and there is no default.

    Example:
        >>> values_by_path({"conv*": 0.1, "*": 0.2}, ["conv2d/kernel", "dense/kernel"], what="rate")
        {'conv2d/kernel': 0.1, 'dense/kernel': 0.2}
    """
    if not isinstance(values, Mapping):
        return dict.fromkeys(paths, values)
    by_path = matching_values(values, paths, what=what)
    for path in paths:
        if path not in by_path and default is None:
            raise UnfitError(
                f"`{what}` names nothing that matches {path!r}. It names: {', '.join(map(str, values)) or 'nothing'}.",
                f"Add {path!r}, or {EVERYTHING!r} for all others.",
            )
        if path not in by_path and default is not None:
            by_path[path] = default
    return {path: by_path[path] for path in paths}


def matching_values(values: Mapping[str, T], paths: Collection[str], *, what: str) -> dict[str, T]:
    """Returns a value for every weight path that a caller's paths and patterns match.

    Args:
        values: Values by path or glob pattern, as for `values_by_path`.
        paths: The weight paths.
        what: What the values are called in messages, e.g. "rate".

    Raises:
        UsageError: As for `values_by_path`.
        UnfitError: If a path is not there.

    Example:
        >>> matching_values({"conv*": 0.1}, ["conv2d/kernel", "dense/kernel"], what="rate")
        {'conv2d/kernel': 0.1}
    """
    if other := [key for key in values if not isinstance(key, str)]:
        raise UsageError(f"`{what}` must be by weight path or pattern. Received: {other[0]!r}.", "Pass texts as keys.")
    patterns = [pattern for pattern in values if pattern not in paths and pattern != EVERYTHING]
    matches = {path: [pattern for pattern in patterns if fnmatch.fnmatchcase(path, pattern)] for path in paths}
    unused = [pattern for pattern in patterns if not any(pattern in matched for matched in matches.values())]
    if globs := [pattern for pattern in unused if set(pattern) & set("*?[")]:
        raise UsageError(
            f"The pattern {globs[0]!r} of `{what}` matches no weight.", suggestion(globs[0], sorted(paths))
        )
    if unused:
        check_keys(values, paths, what=f"{what}s")
    by_path: dict[str, T] = {}
    for path in paths:
        chosen = [path] if path in values else matches[path] or [key for key in (EVERYTHING,) if key in values]
        if any(values[pattern] != values[chosen[0]] for pattern in chosen[1:]):
            given = " and ".join(f"{values[pattern]} by {pattern!r}" for pattern in chosen)
            raise UsageError(
                f"`{what}` has more than one value for {path!r}: {given}.",
                f"Narrow one of the patterns, or name {path!r} itself.",
            )
        if chosen:
            by_path[path] = values[chosen[0]]
    return by_path

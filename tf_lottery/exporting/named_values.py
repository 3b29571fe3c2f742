"""Values that a caller gives by the names of inputs or outputs, or as one value where there is but one."""

from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery.errors import UsageError


def values_by_name(argument: str, value: Any, names: Sequence[str], *, edge: str = "inputs") -> dict[str, Any]:
    """Return what was given for each input or output, by its name; those of which nothing was said are left out.

    Args:
        argument: the name of the argument.
        value: one value where there is one name, or a dict by name; None, also in the dict, for nothing.
        names: the names that there are.
        edge: what they are names of, "inputs" or "outputs".

    Raises:
        UsageError: a name is unknown, or one value is given for several names.

    Example:
        >>> values_by_name("input_shape", (96, 96, 3), ["image"])
        {'image': (96, 96, 3)}
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        if len(names) > 1:
            raise UsageError(
                f"`{argument}` is one value; the model has the {edge} {', '.join(names)}.",
                f"Give a dict by the names of {edge}.",
            )
        return {names[0]: value}
    unknown = sorted(map(str, set(value) - set(names)))
    if unknown:
        raise UsageError(f"`{argument}` has the unknown {edge} {', '.join(unknown)}.", f"Valid: {', '.join(names)}.")
    return {name: given for name, given in value.items() if given is not None}

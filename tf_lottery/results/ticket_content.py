"""What the file of a ticket must hold, checked before its arrays are read and before its recipe is worked with."""

from collections.abc import Mapping
from typing import Any, TypeVar

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import with_current_keys
from tf_lottery.utils.array_archive import Headers, check_numbers
from tf_lottery.utils.documents import parse_json

SCHEMA = "tf-lottery.ticket/1"
GROUPS = ("masks", "rewind", "trained")
_RECIPE = "recipe"
_Item = TypeVar("_Item")
# What parts of the recipe are, where it has them.
_TYPES: dict[str, tuple[type, ...]] = {
    "config": (dict,),
    "row": (dict, type(None)),
    "environment": (dict,),
    "architecture": (str,),
    "round": (int, type(None)),
    "replicate": (int, type(None)),
}


def check_headers(headers: Headers) -> None:
    """Check that arrays are those of a ticket: a recipe, boolean masks, and weights of which the masks are a part.

    Args:
        headers: what the file says of its arrays, by name.

    Raises:
        ValueError: they are not.
    """
    check_numbers(headers)
    recipe = headers.get(_RECIPE)
    if recipe is None or recipe.dtype.str != "|u1" or len(recipe.shape) != 1:
        raise ValueError("it is not a ticket: it has no recipe")
    foreign = [name for name in headers if name != _RECIPE and name.partition("/")[0] not in GROUPS]
    if foreign:
        raise ValueError(f"it is not a ticket: it holds {foreign[0]!r}")
    masks, *weights = (array_group(headers, name) for name in GROUPS)
    if not masks or any(mask.dtype != bool for mask in masks.values()):
        raise ValueError("it is not a ticket: it has no masks")
    for group in filter(None, weights):
        for path, mask in masks.items():
            if path not in group or group[path].shape != mask.shape:
                raise ValueError(f"its mask of {path!r} does not fit its weights")


def array_group(arrays: Mapping[str, _Item], name: str) -> dict[str, _Item]:
    """Return the arrays of a group, by the path of their weight.

    Args:
        arrays: all of a ticket's file, by name.
        name: one of `GROUPS`.
    """
    return {key.removeprefix(f"{name}/"): array for key, array in arrays.items() if key.startswith(f"{name}/")}


def read_recipe(content: bytes) -> dict[str, Any]:
    """Return the recipe of a ticket.

    Args:
        content: its JSON.

    Raises:
        ValueError: it is no recipe, or a part of it is of another type.
    """
    recipe = parse_json(content)
    if not isinstance(recipe, dict) or recipe.pop("schema", None) != SCHEMA:
        raise ValueError("its recipe has another schema")
    for key, types in _TYPES.items():
        if key in recipe and (not isinstance(recipe[key], types) or isinstance(recipe[key], bool)):
            raise ValueError(f"{key!r} of its recipe is {type(recipe[key]).__name__}")
    if any(isinstance(value, dict | list) for value in (recipe.get("row") or {}).values()):
        raise ValueError("the row of its recipe holds more than numbers and texts")
    if "config" in recipe:
        try:
            recipe["config"] = with_current_keys(recipe["config"])
        except UsageError as error:
            raise ValueError(error.cause) from error
    return recipe

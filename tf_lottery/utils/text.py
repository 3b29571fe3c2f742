"""Small words for messages."""

import difflib
from collections.abc import Iterable


def suggestion(name: str, valid: Iterable[str]) -> str:
    """A remedy for an unknown name: the nearest valid one, and all of them."""
    names = list(valid)
    near = difflib.get_close_matches(name, names, n=1)
    start = f"Did you mean {near[0]!r}? " if near else ""
    return f"{start}Valid: {', '.join(names)}."

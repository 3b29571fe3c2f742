"""JSON and TOML from anywhere, parsed into a document of bounded depth whose texts can be written again."""

import json
import re
import tomllib
from typing import Any

MOST_LEVELS = 200
"""The most levels of a document; each level of nested models takes six."""
MOST_VALUES = 4_000_000
"""The most values of a JSON document, each of which takes at least 64 bytes of memory: twenty times its text."""
MOST_TOML = 1 << 20
"""The most bytes of a TOML document, which Python's parser reads slowly: 1 MiB."""


def parse_json(content: str | bytes) -> Any:
    """Return the value of a JSON document.

    Raises:
        ValueError: it is not JSON, is nested too deep, has too many values, or a text that is not Unicode.

    Example:
        >>> parse_json('{"rate": 0.2}')
        {'rate': 0.2}
    """
    if isinstance(content, str):
        content = content.encode(errors="surrogatepass")
    if content.count(b",") + content.count(b"[") + content.count(b"{") > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES:,} values")
    try:
        return checked(json.loads(content))
    except RecursionError:
        raise _too_deep() from None


def parse_toml(content: bytes) -> dict[str, Any]:
    """Return the tables of a TOML document.

    Raises:
        ValueError: it is not TOML, is too long or nested too deep, or has a text that is not Unicode.
    """
    if len(content) > MOST_TOML:
        raise ValueError(f"it has more than {MOST_TOML:,} bytes")
    # Python's parser takes time in the square of the parts of a dotted key.
    if any(part.count(b".") > MOST_LEVELS for part in re.split(rb"[=\n{},\[\]]", content)):
        raise _too_deep()
    try:
        document: dict[str, Any] = checked(tomllib.loads(content.decode()))
    except RecursionError:
        raise _too_deep() from None
    return document


def checked(document: Any) -> Any:
    """Return a document as it is, if it is of bounded depth and its texts are Unicode.

    Raises:
        ValueError: it is not.
    """
    level = [document]
    for _ in range(MOST_LEVELS):
        level = [part for value in level for part in _parts(value)]
        if not level:
            return document
    raise _too_deep()


def _parts(value: Any) -> list[Any]:
    if isinstance(value, str):
        value.encode()  # a half of a surrogate pair, which JSON can spell, is a UnicodeEncodeError: a ValueError
        return []
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MOST_LEVELS} levels deep")

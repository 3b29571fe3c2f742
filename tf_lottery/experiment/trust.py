"""Code that a run or a configuration file names is imported on the user's word only. No TensorFlow."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tf_lottery.errors import UsageError
from tf_lottery.experiment.options import Options
from tf_lottery.utils.references import is_import_path

# The options that may name code.
NAMING_CODE = ("model", "criterion", "rewind", "variants")


def imported_names(options: Options) -> list[str]:
    """Return the import paths of a configuration: its model's function, and the user's own functions and controls.

    Args:
        options: a configuration.
    """
    return [name for name in dict.fromkeys([options.model, *options.own_functions]) if is_import_path(name)]


def check_trust(options: Options, source: str | Path, *, trust: bool, known: Iterable[str] = ()) -> None:
    """Check that the user trusts the code that a configuration from elsewhere names.

    Args:
        options: the configuration.
        source: the run or the file that it is of.
        trust: the user's word.
        known: import paths that the user has named.

    Raises:
        UsageError: it names code, and the user has not said so.
    """
    named = [name for name in imported_names(options) if name not in set(known)]
    if named and not trust:
        raise UsageError(
            f"{source} names code that would be imported and run here: {', '.join(named)}.",
            "Read that code; if you trust it, say so by `trust=True`.",
        )


def given_names(options: Mapping[str, Any]) -> set[str]:
    """Return the texts of those options that may name code, as a user gave them."""
    values = [options.get(key) for key in NAMING_CODE]
    texts = [value if isinstance(value, list | tuple) else [value] for value in values]
    return {text for part in texts for text in part if isinstance(text, str)}

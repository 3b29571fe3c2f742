"""Configurations in files, TOML or JSON, with the keys of this version or of an earlier one."""

from pathlib import Path
from typing import Any

from tf_lottery.errors import DamagedError, UsageError
from tf_lottery.experiment.config import HASHED_BESIDE, with_current_keys
from tf_lottery.utils.documents import parse_json, parse_toml
from tf_lottery.utils.regular_files import read_regular


def read_config_file(path: str | Path) -> dict[str, Any]:
    """The keys of a configuration file, TOML or JSON; `config.json` of a run directory is one.

    Raises:
        UsageError: there is no such file, or it is of another kind.
        DamagedError: it can't be parsed.
    """
    path = Path(path)
    if path.suffix not in (".toml", ".json"):
        raise UsageError(f"A configuration file ends in .toml or .json. Received: {path}.", "Rename it.")
    try:
        content = read_regular(path)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.", "Give the path of a configuration file.") from None
    try:
        document = parse_toml(content) if path.suffix == ".toml" else parse_json(content)
    except ValueError as error:
        raise DamagedError(f"{path} is not valid {path.suffix[1:].upper()}: {error}.", "Correct the file.") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path} must hold a table of keys. Received: {type(document).__name__}.", "Correct the file.")
    return {
        key: value
        for key, value in with_current_keys(document).items()
        if key not in ("schema", "hash", "fingerprint", *HASHED_BESIDE)
    }

"""Configurations in files, TOML or JSON, with the keys of this version or of an earlier one."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tf_lottery.errors import DamagedError, UsageError
from tf_lottery.experiment.config import HASHED_BESIDE, with_current_keys
from tf_lottery.utils.documents import parse_json, parse_toml
from tf_lottery.utils.files import strict
from tf_lottery.utils.regular_files import read_regular

# Of the `config.json` of a run; earlier versions wrote no digest into it.
RUN_SCHEMA = "tf-lottery.run-directory/2"
RUN_SCHEMA_WITHOUT_DIGEST = "tf-lottery.run-directory/1"
_DIGEST = "digest"


def read_config_file(path: str | Path) -> dict[str, Any]:
    """The keys of a configuration file, TOML or JSON; `config.json` of a run directory is one.

    Raises:
        UsageError: there is no such file, or it is of another kind.
        DamagedError: it can't be parsed.
    """
    path = Path(path)
    if path.suffix not in (".toml", ".json"):
        cause = f"A configuration file is TOML or JSON: its name ends in .toml or .json. Received: {path}."
        raise UsageError(cause, "Write it in TOML or JSON.")
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
        for key, value in check_digest(path, document).items()
        if key not in ("schema", "hash", "fingerprint", *HASHED_BESIDE)
    }


def run_document(config: Mapping[str, Any], schema: str) -> dict[str, Any]:
    """The document of the `config.json` of a run.

    Args:
        config: the effective configuration with its hash.
        schema: `RUN_SCHEMA`, whose document has a digest; or that of an earlier version, which began the run.
    """
    digest = {_DIGEST: _digest(config)} if schema == RUN_SCHEMA else {}
    return {"schema": schema, **config, **digest}


def check_digest(path: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """Check that a configuration is what the program wrote, where it has a digest.

    Args:
        path: the file, for messages.
        document: what it holds.

    Returns:
        The document without the digest, with the keys of this version.

    Raises:
        DamagedError: it was changed.
    """
    document = with_current_keys(document)
    digest = document.pop(_DIGEST, None)
    written_by_run = document.get("schema") == RUN_SCHEMA
    if (written_by_run or digest is not None) and digest != _digest(document):
        raise DamagedError(
            f"{path} has been changed: its content does not have the hash that is written in it.",
            "Restore it; or drop `schema` and `digest` from a copy, to take that as a configuration of your own.",
        )
    return document


def _digest(document: Mapping[str, Any]) -> str:
    """The SHA-256 of all that a configuration says; what is spelled in another way has the same."""
    content = {key: value for key, value in document.items() if key != "schema"}
    return hashlib.sha256(json.dumps(strict(content), sort_keys=True).encode()).hexdigest()

"""A model's architecture as text: the same for any build of the same model, in any process."""

import json
import re
from typing import Any

import keras


def architecture(model: keras.Model) -> str:
    """The architecture as JSON, for `keras.models.model_from_json`: layers, their configurations and connections.

    Names that Keras counts up in a process (`dense_4`) are numbered anew in the order in which they come, identities of
    objects and what the model was compiled with are left out. So equal text means equal architecture.

    Args:
        model: a plain Sequential or functional model.
    """
    document = keras.saving.serialize_keras_object(model)
    document.pop("compile_config", None)
    renamed: dict[str, str] = {}
    named = _named(document)
    taken = {name for name, base in named if base is None}
    for name, base in named:
        if base is None or name in renamed:
            continue
        number = 0
        while (new := f"{base}_{number}" if number else base) in taken:
            number += 1
        taken.add(new)
        renamed[name] = new
    return json.dumps(_rewritten(document, renamed))


def _named(document: Any) -> list[tuple[str, str | None]]:
    """The name of each serialized object in order, and what is left of it without a count if Keras made it."""
    found: list[tuple[str, str | None]] = []
    if isinstance(document, list | tuple):
        for item in document:
            found += _named(item)
    elif isinstance(document, dict):
        kind, config = document.get("class_name"), document.get("config")
        if isinstance(kind, str) and isinstance(config, dict) and isinstance(config.get("name"), str):
            base = re.sub(r"_\d+$", "", config["name"])
            automatic = base.replace("_", "").endswith(kind.lower())  # `forward_lstm_2` inside a Bidirectional, too
            found.append((config["name"], base if automatic else None))
        for value in document.values():
            found += _named(value)
    return found


def _rewritten(document: Any, renamed: dict[str, str]) -> Any:
    """A copy with other names, in objects and in connections: `["dense_4", 0, 0]`."""
    if isinstance(document, list | tuple):
        if len(document) == 3 and isinstance(document[0], str) and all(isinstance(i, int) for i in document[1:]):
            return [renamed.get(document[0], document[0]), *document[1:]]
        return [_rewritten(item, renamed) for item in document]
    if not isinstance(document, dict):
        return document
    copy = {key: _rewritten(value, renamed) for key, value in document.items() if key != "shared_object_id"}
    if isinstance(copy.get("name"), str):
        copy["name"] = renamed.get(copy["name"], copy["name"])
    return copy

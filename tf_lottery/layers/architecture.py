"""A model's architecture as text: the same for any build of the same model, in any process."""

import json
import re
from typing import Any

import keras


def architecture(model: keras.Model) -> str:
    """Returns the architecture as JSON, which `keras.models.model_from_json` reads: layers and their connections.

    Automatic names, which Keras counts up within a process (`dense_4`), are renumbered in order of appearance; object
    ids and the compile configuration are left out. So equal text means equal architecture.

    Args:
        model: A plain Sequential or functional model.

    Example:
        >>> build = lambda: keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> architecture(build()) == architecture(build())
        True
    """
    compiled = model.compiled
    try:
        model.compiled = False  # Keras would serialize the loss, with a warning for a lambda
        document = keras.saving.serialize_keras_object(model)
    finally:
        model.compiled = compiled
    document.pop("compile_config", None)
    renamed: dict[str, str] = {}
    names = _object_names(document)
    taken = {name for name, base in names if base is None}
    for name, base in names:
        if base is None or name in renamed:
            continue
        number = 0
        while (new := f"{base}_{number}" if number else base) in taken:
            number += 1
        taken.add(new)
        renamed[name] = new
    return json.dumps(_rename(document, renamed))


def _object_names(document: Any) -> list[tuple[str, str | None]]:
    """Returns the name of every serialized object in order, and that name without its number if it is automatic."""
    names: list[tuple[str, str | None]] = []
    if isinstance(document, list | tuple):
        for item in document:
            names += _object_names(item)
    elif isinstance(document, dict):
        kind, config = document.get("class_name"), document.get("config")
        if isinstance(kind, str) and isinstance(config, dict) and isinstance(config.get("name"), str):
            base = re.sub(r"_\d+$", "", config["name"])
            automatic = base.replace("_", "").endswith(kind.lower())  # `forward_lstm_2` inside a Bidirectional, too
            names.append((config["name"], base if automatic else None))
        for value in document.values():
            names += _object_names(value)
    return names


def _rename(document: Any, renamed: dict[str, str]) -> Any:
    """Returns a copy with other names, of objects and in connections such as `["dense_4", 0, 0]`."""
    if isinstance(document, list | tuple):
        if len(document) == 3 and isinstance(document[0], str) and all(isinstance(i, int) for i in document[1:]):
            return [renamed.get(document[0], document[0]), *document[1:]]
        return [_rename(item, renamed) for item in document]
    if not isinstance(document, dict):
        return document
    copy = {key: _rename(value, renamed) for key, value in document.items() if key != "shared_object_id"}
    if isinstance(copy.get("name"), str):
        copy["name"] = renamed.get(copy["name"], copy["name"])
    return copy

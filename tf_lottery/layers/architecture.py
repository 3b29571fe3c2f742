"""A model's architecture as text: the same for any build of the same model, in any process."""

import json
import re
from typing import Any

import keras

from tf_lottery.errors import LotteryError, UnfitError
from tf_lottery.layers.paths import named_variables
from tf_lottery.layers.remaking import LOOKUPS, build_configs, build_like, serialize_plain
from tf_lottery.layers.sublayers import is_nested_model
from tf_lottery.layers.variable_limit import limited_variables
from tf_lottery.utils.documents import parse_json
from tf_lottery.utils.text import one_line


def architecture(model: keras.Model) -> str:
    """Returns the architecture as JSON, which `model_from_architecture` reads: layers and their connections.

    Automatic names, which Keras counts up within a process (`dense_4`), are renumbered in order of appearance; object
    ids and the compile configuration are left out. So equal text means equal architecture.

    Args:
        model: A plain model. Of a subclassed one, the configuration of its class and how its layers were built; without
            a configuration, the shapes of its variables, from which no model can be made.

    Example:
        >>> build = lambda: keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> architecture(build()) == architecture(build())
        True
    """
    compiled = model.compiled
    try:
        model.compiled = False  # Keras would serialize the loss, with a warning for a lambda
        document = keras.saving.serialize_keras_object(model) if is_nested_model(model) else _subclassed(model)
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


def model_from_architecture(text: str, *, weights_bytes: int | None = None) -> keras.Model:
    """Returns a new model of an architecture.

    Args:
        text: As from `architecture`.
        weights_bytes: The bytes of the weights that it is for, where they are known: it may not ask for far more.

    Raises:
        ResourceError: If its variables do not fit in memory.
        UnfitError: If it has code of the caller's own that is not registered, no configuration, or a layer whose
            vocabulary was adapted: an architecture does not hold it. Or if it is for far larger weights.
    """
    try:
        document = parse_json(text)
        if "variables" in document:
            raise ValueError(f"its class {document['class_name']} has no `get_config` with all of its arguments")
        builds = document.pop("builds", None)
        with limited_variables(weights_bytes):
            model = keras.models.model_from_json(json.dumps(document))
            if builds is not None:
                build_like(model, builds)
        _check_vocabularies(model)
    except LotteryError:
        raise
    except Exception as error:  # Keras's constructors raise anything for values that they do not expect
        raise UnfitError(
            f"The model can't be made from its architecture: {one_line(error)}",
            "Register its custom classes with `keras.saving.register_keras_serializable`; a Lambda layer can't be made "
            "from a configuration.",
        ) from error
    return model


def _check_vocabularies(model: keras.Model) -> None:
    for layer in model._flatten_layers():
        if isinstance(layer, LOOKUPS) and layer.get_config()["vocabulary"] is None:
            raise UnfitError(
                f"The vocabulary of the layer {layer.name!r} was adapted, so an architecture does not hold it.",
                "Pass it to the constructor as `vocabulary`.",
            )


def _subclassed(model: keras.Model) -> dict[str, Any]:
    try:
        return {**serialize_plain(model), "builds": build_configs(model)}
    except (NotImplementedError, TypeError, ValueError):
        shapes = {path: list(variable.shape) for path, variable in named_variables(model).items()}
        return {"class_name": type(model).__name__, "variables": shapes}


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

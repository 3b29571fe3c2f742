"""What a model of tf_keras holds, as JSON and arrays: its configuration, its weights, the masks of tfmot.

This module uses the model's own methods only, and loads neither Keras nor tf_keras. As a program it loads a file, for
which it needs tfmot, that changes Keras for its whole process.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tf_lottery.errors import UnfitError
from tf_lottery.utils.child_process import wrong_usage
from tf_lottery.utils.text import one_line

WRAPPER = "PruneLowMagnitude"
"""The class of tfmot's layer around a pruned one."""
Place: TypeAlias = tuple[str, ...]
"""The names of a layer and of the models around it, from the outside."""


@dataclass
class LayerWeights:
    """The weights of a layer.

    Attributes:
        names: The name of every weight, in tf_keras's order: those that are trained, then the others.
        values: Their values.
        masks: The masks of tfmot, by position in that order.
    """

    names: list[str] = field(default_factory=list)
    values: list[npt.NDArray[Any]] = field(default_factory=list)
    masks: dict[int, npt.NDArray[np.bool_]] = field(default_factory=dict)


@dataclass
class ModelDescription:
    """A model of tf_keras.

    Attributes:
        config: Its class and configuration, as from `to_json`.
        layers: The weights of its layers by place, nested models opened.
    """

    config: dict[str, Any]
    layers: dict[Place, LayerWeights]

    @property
    def is_wrapped(self) -> bool:
        """Whether it has masks of tfmot."""
        return any(weights.masks for weights in self.layers.values())


def describe_model(model: Any) -> ModelDescription:
    """Returns what a built model of tf_keras holds; it is not changed.

    Raises:
        UnfitError: If it is not built, has no configuration, or a vocabulary that is in no configuration.
    """
    if not model.built:
        raise UnfitError(
            f"The model {model.name!r} is not built: its weights do not exist yet.", "Call it once on a batch of data."
        )
    try:
        config = json.loads(model.to_json())
    except (NotImplementedError, TypeError) as error:
        raise UnfitError(
            f"The model {model.name!r} has no configuration to convert it by: {one_line(error)}",
            "Convert its Sequential and functional parts, and call them in a class of Keras 3.",
        ) from error
    return ModelDescription(config, dict(_layers(model, ())))


def _layers(model: Any, place: Place) -> Iterator[tuple[Place, LayerWeights]]:
    for layer in model.layers:
        inner = layer.layer if type(layer).__name__ == WRAPPER else layer
        if hasattr(inner, "get_layer"):  # a model
            yield from _layers(inner, (*place, layer.name))
            continue
        if not all(hasattr(weight, "name") for weight in inner.weights):  # of tables
            raise UnfitError(
                f"The layer {layer.name!r} of class {type(inner).__name__} was adapted to data, and its vocabulary is "
                "in no argument of it.",
                "Make it with `vocabulary=layer.get_vocabulary(include_special_tokens=False)` before the model is "
                "converted.",
            )
        positions = {id(weight): position for position, weight in enumerate(inner.weights)}
        pruned = getattr(layer, "pruning_vars", []) if inner is not layer else []
        yield (
            (*place, layer.name),
            LayerWeights(
                [weight.name.split(":")[0].split("/")[-1] for weight in inner.weights],
                [np.array(value) for value in inner.get_weights()],
                {positions[id(weight)]: np.array(mask.numpy()) != 0 for weight, mask, _ in pruned},
            ),
        )


def write_description(description: ModelDescription, folder: Path) -> None:
    """Writes a description into a folder.

    Args:
        description: What to write.
        folder: An empty folder.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    layers = []
    for number, (place, weights) in enumerate(description.layers.items()):
        layers.append({"place": place, "names": weights.names, "masks": list(weights.masks)})
        arrays |= {f"{number}/value/{position}": value for position, value in enumerate(weights.values)}
        arrays |= {f"{number}/mask/{position}": mask for position, mask in weights.masks.items()}
    (folder / "model.json").write_text(json.dumps({"config": description.config, "layers": layers}))
    np.savez(folder / "weights.npz", **arrays)  # type: ignore[arg-type]


def read_description(folder: Path) -> ModelDescription:
    """Returns the description that `write_description` wrote into a folder."""
    document = json.loads((folder / "model.json").read_text())
    layers = {}
    with np.load(folder / "weights.npz") as arrays:
        for number, layer in enumerate(document["layers"]):
            values = [arrays[f"{number}/value/{position}"] for position in range(len(layer["names"]))]
            masks = {position: arrays[f"{number}/mask/{position}"] for position in layer["masks"]}
            layers[tuple(layer["place"])] = LayerWeights(layer["names"], values, masks)
    return ModelDescription(document["config"], layers)


def main(arguments: list[str]) -> int:
    """Loads a file of tf_keras, and writes what its model holds into a folder.

    Args:
        arguments: The path of the file or SavedModel, and that of the folder.
    """
    if len(arguments) != 2:
        return wrong_usage("tf_lottery.compat.tf_keras_reader", "FILE FOLDER")
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow_model_optimization as tfmot
    import tf_keras

    with tfmot.sparsity.keras.prune_scope():
        model = tf_keras.models.load_model(arguments[0], compile=False)
    write_description(describe_model(model), Path(arguments[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

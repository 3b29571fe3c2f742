"""What slimming removed, layer by layer, what it left alone, and why."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class LayerSlimming:
    """One layer with a kernel, before and after.

    Attributes:
        name: of the layer in the slimmed model.
        units_before: units of a dense layer, filters of a convolution.
        units_after: those that are left.
        units_filling: those of them that only fill up to a multiple, or to one.
        inputs_before: channels (features) that the kernel takes.
        inputs_after: those that are left.
        inputs_read: those that a weight other than zero joins to a unit that the output needs.
        folded: constant inputs whose share went into the bias.
        merged: constant inputs of a padded convolution that another one now stands for.
    """

    name: str
    units_before: int
    units_after: int
    units_filling: int
    inputs_before: int
    inputs_after: int
    inputs_read: int
    folded: int = 0
    merged: int = 0


@dataclass(frozen=True)
class SlimReport:
    """What slimming did to a model.

    Attributes:
        layers: one entry per layer with a kernel, in the order of their calls.
        parameters_before: all parameters, the untrained ones included.
        parameters_after: those that are left.
        left_alone: reasons by the name of the layer at which channels could not be followed or removed.
        multiple: what numbers of channels were rounded up to.
    """

    layers: tuple[LayerSlimming, ...]
    parameters_before: int
    parameters_after: int
    left_alone: Mapping[str, str] = field(default_factory=dict)
    multiple: int = 1

    @property
    def removed(self) -> int:
        """The number of removed units and filters."""
        return sum(layer.units_before - layer.units_after for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """The report as a dict that `json.dumps` accepts."""
        return {
            "parameters_before": self.parameters_before,
            "parameters_after": self.parameters_after,
            "removed": self.removed,
            "multiple": self.multiple,
            "layers": [asdict(layer) for layer in self.layers],
            "left_alone": dict(self.left_alone),
        }

    def lines(self) -> list[str]:
        """The report as lines of text.

        Example:
            >>> layer = LayerSlimming("hidden", 300, 150, 0, 784, 784, 640, folded=2)
            >>> print(*SlimReport((layer,), 1000, 500).lines(), sep="\\n")
            parameters: 1,000 -> 500
            hidden: 300 -> 150 units, reads 640 of 784 inputs, 2 constants folded
        """
        result = [f"parameters: {self.parameters_before:,} -> {self.parameters_after:,}"]
        for layer in self.layers:
            line = f"{layer.name}: {layer.units_before} -> {layer.units_after} units"
            line += f" ({layer.units_filling} of them fill up)" if layer.units_filling else ""
            line += f", reads {layer.inputs_read} of {layer.inputs_before} inputs"
            line += f", {layer.folded} constants folded" if layer.folded else ""
            line += f", {layer.merged} constants merged" if layer.merged else ""
            result.append(line)
        return result + [f"{name}: left alone, {reason}" for name, reason in self.left_alone.items()]

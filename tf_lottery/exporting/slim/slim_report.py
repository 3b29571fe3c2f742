"""The report of `slim`: what was removed, layer by layer, what was left alone, and why."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tf_lottery.utils import html


@dataclass(frozen=True)
class LayerSlimming:
    """What slimming did to one layer with a kernel.

    Attributes:
        name: The name of the layer in the slimmed model.
        units_before: The number of units of a dense layer, or of filters of a convolution.
        units_after: The number of those that are kept.
        units_filling: The number of kept units that only fill the layer up to a multiple, or to one unit.
        inputs_before: The number of channels (features) that the kernel takes.
        inputs_after: The number of those that are kept.
        inputs_read: The number of those that a nonzero weight joins to a unit that the output needs.
        folded: The number of constant inputs whose share was folded into the bias.
        merged: The number of constant inputs of a padded convolution that another input now stands for.
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


@dataclass(frozen=True, repr=False)
class SlimReport:
    """What `slim` did to a model.

    Attributes:
        layers: One entry per layer with a kernel, in the order of their calls.
        parameters_before: The number of parameters before, the non-trainable ones included.
        parameters_after: The number of parameters after.
        left_alone: Why channels could not be followed or removed, by the name of the layer where that is so.
        multiple: What numbers of channels were rounded up to.
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

    def __repr__(self) -> str:
        """Returns one line with the numbers of parameters and of removed units."""
        return f"<SlimReport: {self._summary()}>"

    def _repr_html_(self) -> str:
        """Returns a table of the layers, for notebooks."""
        headers = ("layer", "units", "inputs read", "folded", "merged", "left alone because")
        rows: list[tuple[object, ...]] = [
            (
                layer.name,
                f"{layer.units_before} -> {layer.units_after}",
                f"{layer.inputs_read} of {layer.inputs_before}",
                layer.folded,
                layer.merged,
                self.left_alone.get(layer.name, ""),
            )
            for layer in self.layers
        ]
        named = {layer.name for layer in self.layers}
        rows += [(name, "", "", "", "", reason) for name, reason in self.left_alone.items() if name not in named]
        return html.table(headers, rows, caption=f"SlimReport: {self._summary()}")

    def _summary(self) -> str:
        left_alone = f", {len(self.left_alone)} layers left alone" if self.left_alone else ""
        parameters = f"{self.parameters_before:,} -> {self.parameters_after:,}"
        return f"{parameters} parameters, {self.removed:,} units removed{left_alone}"

    def to_json(self) -> dict[str, Any]:
        """Returns the report as a dict that `json.dumps` accepts."""
        return {
            "parameters_before": self.parameters_before,
            "parameters_after": self.parameters_after,
            "removed": self.removed,
            "multiple": self.multiple,
            "layers": [asdict(layer) for layer in self.layers],
            "left_alone": dict(self.left_alone),
        }

    def lines(self) -> list[str]:
        """Returns the report as lines of text.

        Example:
            >>> layer = LayerSlimming("hidden", 300, 150, 0, 784, 784, 640, folded=2)
            >>> for line in SlimReport((layer,), 1000, 500).lines():
            ...     print(line)
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

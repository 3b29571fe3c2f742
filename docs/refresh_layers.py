"""Write docs/layers.md: what is masked in each layer of Keras that has weights, and what may be done with it.

python docs/refresh_layers.py             # with the exports, which take minutes
python docs/refresh_layers.py --kept      # with what the page says of exports
"""

import argparse
import inspect
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tf_lottery as tfl
from tf_lottery.errors import LotteryError
from tf_lottery.layers.discovery import MaskableWeight
from tf_lottery.layers.kinds import exact_kind_of

L = keras.layers
PAGE = Path(__file__).resolve().parent / "layers.md"
HEAD = "| Layer | Masked | Role | Not masked | Blocks | Channels | Slimming | TFLite |"
RULE = "|---|---|---|---|---|---|---|---|"
NONE = "-"


@dataclass(frozen=True)
class Example:
    """A layer to look at, and an input for it.

    Attributes:
        make: makes the layer.
        shape: the shape of one input, without the batch.
        dtype: that of the input.
        cell: whether it is a recurrent cell, which is called by `keras.layers.RNN`.
        inputs: how many inputs it takes.
    """

    make: Callable[[], Any]
    shape: tuple[int, ...]
    dtype: str = "float32"
    cell: bool = False
    inputs: int = 1

    def model(self) -> keras.Model:
        """A model in which another layer follows, so that this one's channels are not outputs of the model."""
        keras.utils.set_random_seed(0)
        inputs = [keras.Input(self.shape, dtype=self.dtype) for _ in range(self.inputs)]
        layer = self.make()
        layer = L.RNN(layer, name="layer") if self.cell else layer
        hidden = layer(inputs) if _takes_a_list(layer) else layer(*inputs)
        return keras.Model(inputs, L.Dense(2, name="last")(L.Flatten()(hidden)))


def _takes_a_list(layer: Any) -> bool:
    return isinstance(layer, L.Attention)  # and its subclass AdditiveAttention


SERIES, IMAGE, VOLUME, VECTOR = (8, 8), (8, 8, 4), (4, 4, 4, 4), (8,)
EXAMPLES: dict[str, Example] = {
    "Dense": Example(lambda: L.Dense(8, name="layer"), VECTOR),
    "EinsumDense": Example(lambda: L.EinsumDense("ab,bc->ac", 8, bias_axes="c", name="layer"), VECTOR),
    "Conv1D": Example(lambda: L.Conv1D(4, 3, name="layer"), SERIES),
    "Conv2D": Example(lambda: L.Conv2D(4, 3, name="layer"), IMAGE),
    "Conv3D": Example(lambda: L.Conv3D(4, 2, name="layer"), VOLUME),
    "Conv1DTranspose": Example(lambda: L.Conv1DTranspose(4, 3, name="layer"), SERIES),
    "Conv2DTranspose": Example(lambda: L.Conv2DTranspose(4, 3, name="layer"), IMAGE),
    "Conv3DTranspose": Example(lambda: L.Conv3DTranspose(4, 2, name="layer"), VOLUME),
    "DepthwiseConv1D": Example(lambda: L.DepthwiseConv1D(3, name="layer"), SERIES),
    "DepthwiseConv2D": Example(lambda: L.DepthwiseConv2D(3, name="layer"), IMAGE),
    "SeparableConv1D": Example(lambda: L.SeparableConv1D(4, 3, name="layer"), SERIES),
    "SeparableConv2D": Example(lambda: L.SeparableConv2D(4, 3, name="layer"), IMAGE),
    "Embedding": Example(lambda: L.Embedding(8, 4, name="layer"), VECTOR, "int32"),
    "ReversibleEmbedding": Example(lambda: L.ReversibleEmbedding(8, 4, name="layer"), VECTOR, "int32"),
    "SimpleRNN": Example(lambda: L.SimpleRNN(4, name="layer"), SERIES),
    "LSTM": Example(lambda: L.LSTM(4, name="layer"), SERIES),
    "GRU": Example(lambda: L.GRU(4, name="layer"), SERIES),
    "SimpleRNNCell": Example(lambda: L.SimpleRNNCell(4), SERIES, cell=True),
    "LSTMCell": Example(lambda: L.LSTMCell(4), SERIES, cell=True),
    "GRUCell": Example(lambda: L.GRUCell(4), SERIES, cell=True),
    "StackedRNNCells": Example(lambda: L.StackedRNNCells([L.LSTMCell(4), L.GRUCell(4)]), SERIES, cell=True),
    "RNN": Example(lambda: L.RNN(L.SimpleRNNCell(4), name="layer"), SERIES),
    "Bidirectional": Example(lambda: L.Bidirectional(L.LSTM(4), name="layer"), SERIES),
    "ConvLSTM1D": Example(lambda: L.ConvLSTM1D(2, 3, name="layer"), (2, 8, 4)),
    "ConvLSTM2D": Example(lambda: L.ConvLSTM2D(2, 3, name="layer"), (2, 4, 4, 4)),
    "ConvLSTM3D": Example(lambda: L.ConvLSTM3D(2, 2, name="layer"), (2, 4, 4, 4, 4)),
    "TimeDistributed": Example(lambda: L.TimeDistributed(L.Dense(4), name="layer"), SERIES),
    "SpectralNormalization": Example(lambda: L.SpectralNormalization(L.Dense(8), name="layer"), VECTOR),
    "MultiHeadAttention": Example(lambda: L.MultiHeadAttention(2, 4, name="layer"), SERIES, inputs=2),
    "GroupQueryAttention": Example(lambda: L.GroupQueryAttention(4, 2, 1, name="layer"), SERIES, inputs=2),
    "Attention": Example(lambda: L.Attention(use_scale=True, name="layer"), SERIES, inputs=2),
    "AdditiveAttention": Example(lambda: L.AdditiveAttention(name="layer"), SERIES, inputs=2),
    "PReLU": Example(lambda: L.PReLU(name="layer"), VECTOR),
    "BatchNormalization": Example(lambda: L.BatchNormalization(name="layer"), IMAGE),
    "LayerNormalization": Example(lambda: L.LayerNormalization(name="layer"), VECTOR),
    "GroupNormalization": Example(lambda: L.GroupNormalization(2, name="layer"), IMAGE),
    "RMSNormalization": Example(lambda: L.RMSNormalization(name="layer"), VECTOR),
    "Normalization": Example(lambda: _adapted(), VECTOR),
    "STFTSpectrogram": Example(lambda: L.STFTSpectrogram(frame_length=8, frame_step=4, name="layer"), (32, 1)),
}
"""An example of every layer class of Keras that has weights."""
WITHOUT_EXAMPLE = {
    "Layer": "the base class",
    "Wrapper": "the base class of layers that hold another one",
    "TFSMLayer": "holds a SavedModel, whose weights Keras does not see",
    "FlaxLayer": "needs the JAX backend",
    "JaxLayer": "needs the JAX backend",
    "TorchModuleWrapper": "needs the PyTorch backend",
}
"""Classes that may have weights, and why they are not in the table."""


def _adapted() -> Any:
    layer = L.Normalization(name="layer")
    layer.adapt(np.random.default_rng(0).normal(size=(16, *VECTOR)))
    return layer


def classes_that_may_have_weights() -> set[str]:
    """Names in `keras.layers` of classes that add weights, or that hold or make other layers."""
    layers = {name: kind for name, kind in vars(L).items() if inspect.isclass(kind) and issubclass(kind, L.Layer)}
    names = {name for name, kind in layers.items() if _may_have_weights(kind)}
    aliases = {name for name in names if layers[name].__name__ in names - {name}}  # such as Convolution2D
    return names - aliases


def _may_have_weights(kind: type) -> bool:
    if kind in (L.Layer, L.Wrapper) or issubclass(kind, (L.Wrapper, L.RNN)):
        return True
    own = [base for base in kind.__mro__[: kind.__mro__.index(L.Layer)] if base.__module__.startswith("keras.")]
    return any(word in inspect.getsource(base) for base in own for word in (".add_weight(", "EinsumDense(", "cells"))


def rows(exports: dict[str, str]) -> list[str]:
    """The rows of the table.

    Args:
        exports: the cell on exports by class name.
    """
    return [_row(name, example, exports[name]) for name, example in EXAMPLES.items()]


def _row(name: str, example: Example, exported: str) -> str:
    model = example.model()
    discovery = tfl.discover(model)
    masked = {path: weight for path, weight in discovery.found.items() if path.startswith("layer/")}
    skipped = [path.removeprefix("layer/") for path in discovery.skipped if path.startswith("layer/")]
    skipped = [path for path in skipped if "seed_generator" not in path]
    cells = [
        _names(path.removeprefix("layer/") for path in masked),
        ", ".join(dict.fromkeys(weight.role for weight in masked.values())) or NONE,
        _names(skipped),
        _per_weight(masked, lambda weight: "yes" if weight.axes.inputs is not None else NONE),
        _per_weight(masked, _channels),
        _slimming(model.get_layer("layer")),
        exported,
    ]
    return f"| `{name}` | {' | '.join(cells)} |"


def _names(paths: Any) -> str:
    return ", ".join(f"`{path}`" for path in paths) or NONE


def _per_weight(weights: dict[str, MaskableWeight], say: Callable[[MaskableWeight], str]) -> str:
    answers = {path.rpartition("/")[2]: say(weight) for path, weight in weights.items()}
    if len(set(answers.values())) <= 1:
        return next(iter(answers.values()), NONE)
    return ", ".join(f"`{name}` {answer}" for name, answer in answers.items())


def _channels(weight: MaskableWeight) -> str:
    if weight.axes.follows:
        return "with its input's"
    return "yes" if weight.axes.channels else NONE


def _slimming(layer: Any) -> str:
    rule = exact_kind_of(layer).channel_rule
    return {"kernel": "cut", "depthwise": "cut with its input's"}.get(rule, "followed" if rule else "left whole")


def exported(example: Example) -> str:
    """Whether `tfl.export` makes a file of a model with the layer and zeros in its kernels: a cell of the table."""
    model = example.model()
    masks = {path: weight.variable for path, weight in tfl.discover(model).found.items() if path.startswith("layer/")}
    random = np.random.default_rng(0)
    for variable in masks.values():
        variable.assign(np.where(random.random(variable.shape) < 0.5, variable.numpy(), 0))
    with tempfile.TemporaryDirectory() as folder:
        try:
            tfl.export(model, folder, precision="float32", encoding="dense")
        except LotteryError:
            return "not convertible"
    return "yes"


def cells_on_exports(page: str) -> dict[str, str]:
    """The cells on exports of a page, by class name."""
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    return {line.split("`")[1]: line.rstrip(" |").rpartition(" | ")[2] for line in lines}


def refreshed(page: str, exports: dict[str, str]) -> str:
    """The page with another table.

    Args:
        page: the page as it is.
        exports: the cell on exports by class name.
    """
    before, head, body = page.partition(HEAD)
    if not head:
        raise ValueError(f"The page must hold the line {HEAD!r}.")
    after = body.partition("\n\n")[2]
    return "\n".join([before + head, RULE, *rows(exports), "", after])


def main(arguments: list[str] | None = None) -> None:
    """Rewrite the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", action="store_true", help="keep what the page says of exports")
    options = parser.parse_args(arguments)
    page = PAGE.read_text()
    exports = dict.fromkeys(EXAMPLES, NONE) | cells_on_exports(page)
    if not options.kept:
        exports |= {name: exported(example) for name, example in EXAMPLES.items()}
    PAGE.write_text(refreshed(page, exports))


if __name__ == "__main__":
    main()

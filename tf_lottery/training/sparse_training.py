"""Steps that compute by the sparse kernels, beside the dense model that holds the state of a training.

The dense model and its optimizer hold the state between two calls, as they do without kernels: rewind states,
checkpoints and tickets know nothing of this. A sparse counterpart of the model shares all layers with it but those
that the kernels cover. It takes the kept values, and those of the optimizer's slots, at the beginning of a chunk of
steps, and gives them back at its end.
"""

import functools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import UnfitError
from tf_lottery.layers.masked import Masked
from tf_lottery.layers.sparse import SparseLayer, kernels, reasons_dense, run_blocked, shared_sparse_model, work_of
from tf_lottery.layers.sparse.break_even import pays, saving
from tf_lottery.layers.sparse.native import SETTING, use_threads_of_tensorflow, warn_once
from tf_lottery.layers.sparse.sparse_matmul import put_values, take_values
from tf_lottery.layers.sparse.sparsifying import masked_layers
from tf_lottery.training.compiled_steps import CompiledSteps
from tf_lottery.training.device import slow_in_steps
from tf_lottery.training.optimizers import copy_optimizer
from tf_lottery.training.sparse_choice import choose_layers, reason_of_optimizer, works_of
from tf_lottery.training.steps import Steps

log = logging.getLogger(__name__)
SETTINGS = ("auto", "on", "off")
STARTED_ABOVE_ZERO = "_accumulators"
"""The slots of Adagrad and FTRL, which divide by them."""
MOST_COUNTERPARTS = 12


@dataclass(frozen=True)
class Pair:
    """A variable of the dense model or its optimizer, and the one that takes its place in a chunk of steps.

    Attributes:
        dense: the variable that holds the state.
        sparse: the other one.
        layer: the layer whose kept values `sparse` holds, or None if both have the same shape.
        padding: what the places beyond the kept values hold.
    """

    dense: keras.Variable
    sparse: keras.Variable
    layer: SparseLayer | None
    padding: float = 0.0

    def load(self) -> None:
        """Take the values of the dense variable."""
        value = self.dense.value + 0
        if self.layer is not None:
            index = self.layer.index_tensors()
            value = take_values(tf.reshape(value, self.layer.matrix_shape), index)
            if self.padding:
                value = tf.where(tf.range(self.layer.capacity) < index["starts"][-1], value, self.padding)
        self.sparse.assign(value)

    def save(self) -> None:
        """Give the values back."""
        value = self.sparse.value + 0
        if self.layer is not None:
            matrix = tf.reshape(self.dense.value + 0, self.layer.matrix_shape)
            value = tf.reshape(put_values(matrix, value, self.layer.index_tensors()), self.dense.shape)
        self.dense.assign(value)


class SparseTraining:
    """The sparse counterparts of a dense model, one for each choice of capacities.

    Args:
        steps: the steps of the dense model, which is wrapped and compiled with a built optimizer.
        setting: "auto" or "on".
        examples: how many examples a training looks at: the batch size times the steps. Compiling must pay.
        compile_model: compiles a counterpart with an optimizer, by the loss and metrics of the dense model.
        compile_steps: `CompiledSteps` with the settings of the engine; to be called with `xla`, `loops`, `load`
            and `save`.
        xla: whether XLA compiles the steps of a counterpart: True where it compiles the dense steps too; "steps" if it
            may, each alone, where it does not.
        prepare: makes the variables of the metrics of a counterpart's steps.

    Attributes:
        reasons: why a layer never computes by the kernels, by path; "" where it may.
        instruction_set: of the kernels, or "" if no layer will ever compute by them.

    Raises:
        UnfitError: "on", and there are no kernels, or nothing that they cover; the message has the reasons.
    """

    def __init__(
        self,
        steps: Steps,
        setting: str,
        examples: int,
        *,
        compile_model: Callable[[keras.Model, keras.optimizers.Optimizer], None],
        compile_steps: Callable[..., CompiledSteps],
        xla: bool | str,
        prepare: Callable[[Steps], None],
    ) -> None:
        self.setting, self.examples, self._dense_steps = setting, examples, steps
        self._compile_model, self._compile_steps, self._prepare = compile_model, compile_steps, prepare
        slow = slow_in_steps(steps.model) if xla == "steps" else []
        self._xla, self._single_steps = bool(xla) and not slow, xla == "steps"
        self.model, self.optimizer = steps.model, steps.model.optimizer
        self._kernels = kernels()
        whole = self._kernels.reason and f"there are no kernels: {self._kernels.reason}"
        if tf.config.list_logical_devices("GPU"):
            whole = "the kernels are for processors, and training is on a GPU"
        whole = whole or reason_of_optimizer(self.optimizer)
        if not self._kernels and os.environ.get(SETTING) != "off" and pays(works_of(self.model), examples):
            warn_once(self._kernels.reason)
        self.reasons = {path: whole or reason for path, reason in reasons_dense(self.model).items()}
        if setting == "auto" and not self._xla:
            why = f"XLA is slow for {', '.join(slow)}" if slow else "XLA is off"
            for path, layer in masked_layers(self.model).items():
                if isinstance(layer.layer, keras.layers.Conv2D):
                    self.reasons[path] = self.reasons[path] or f"{why}, and convolutions gain in a compiled step alone"
        self._masked = {path: layer for path, layer in masked_layers(self.model).items() if not self.reasons[path]}
        self._works = {path: work_of(layer) for path, layer in self._masked.items()}
        savings = [(work, saving(work, 0, self._kernels.instruction_set)) for work in self._works.values()]
        useful = bool(self._works) if setting == "on" else pays(savings, examples)
        self.instruction_set = self._kernels.instruction_set if useful else ""
        if useful:
            use_threads_of_tensorflow()
        self._masks: dict[str, np.ndarray] = {}
        self._chosen: Counterpart | None = None
        self._counterparts: dict[tuple[tuple[str, int], ...], Counterpart] = {}
        if setting == "on" and not self._masked:
            raise UnfitError(
                "No layer can compute by the sparse kernels. "
                + "; ".join(f"{path}: {reason}" for path, reason in self.reasons.items())
                + ".",
                "Set `sparse` to auto or off.",
            )

    def expect(self, examples: int) -> None:
        """Choose layers from now on for a training that looks at so many examples.

        Args:
            examples: the batch size times the steps.
        """
        if examples != self.examples:
            self.examples, self._masks = examples, {}

    def counterpart(self) -> "Counterpart | None":
        """Return the counterpart for the masks that the dense model has now, or None if it trains as it is."""
        if not self.instruction_set:
            return None
        masks = {path: layer.mask_variables["kernel"].numpy() for path, layer in self._masked.items()}
        # Asked before each chunk of steps and each evaluation; masks change once in a training at most, as a rule.
        if not self._masks or not all(np.array_equal(mask, self._masks[path]) for path, mask in masks.items()):
            self._chosen, self._masks = self._choose(masks), masks
        return self._chosen

    def _choose(self, masks: Mapping[str, np.ndarray]) -> "Counterpart | None":
        capacities = choose_layers(masks, self._works, self.setting, self.instruction_set, self.examples)
        if not capacities:
            return None
        key = tuple(capacities.items())
        if key not in self._counterparts:
            log.info(
                "compiling the steps for sparse layers: %s",
                ", ".join(f"{path} with {masks[path].mean():.1%} of its weights" for path in capacities),
            )
            while len(self._counterparts) >= MOST_COUNTERPARTS:
                self._counterparts.pop(next(iter(self._counterparts)))
            self._counterparts[key] = self._make(capacities)
        counterpart = self._counterparts[key]
        counterpart.set_masks({path: masks[path] for path in capacities})
        return counterpart

    def _make(self, capacities: Mapping[str, int]) -> "Counterpart":
        metrics = [(variable, variable.value + 0) for variable in self._dense_steps.metric_variables()]
        model, layers = shared_sparse_model(self.model, capacities)
        if self._xla:
            model = run_blocked(model, stock_draws=self._single_steps)
        optimizer = copy_optimizer(self.optimizer)
        self._compile_model(model, optimizer)
        weights = [pair for path, layer in layers.items() for pair in _weights(self._masked[path], layer)]
        # In the order of the dense model, whose slots are paired with these.
        places = {id(pair.dense): pair.sparse for pair in weights}
        trained = [places.get(id(variable), variable) for variable in self.model.trainable_variables]
        optimizer.build(trained)
        steps = Steps(model)
        self._prepare(steps)
        for variable, value in metrics:  # a user's own metric is the same object in both
            variable.assign(value)
        compile_steps = functools.partial(self._compile_steps, xla=self._xla, loops=not self._single_steps)
        return Counterpart(self._dense_steps, steps, layers, weights, compile_steps)


class Counterpart:
    """A model that shares all layers with the dense one but some, which compute by the kernels, and its steps.

    Args:
        dense: the steps of the dense model.
        sparse: its own steps.
        layers: its sparse layers, by path.
        weights: those of these layers, frozen ones too.
        compile_steps: as for `SparseTraining`.

    Attributes:
        steps: its own steps.
        functions: its compiled functions, which begin with the state of the dense model and end by giving it back.
    """

    def __init__(
        self,
        dense: Steps,
        sparse: Steps,
        layers: Mapping[str, SparseLayer],
        weights: Sequence[Pair],
        compile_steps: Callable[..., CompiledSteps],
    ) -> None:
        self.steps, self._by_path, self._weights = sparse, layers, weights
        self._layers = {id(layer.values): layer for layer in layers.values()}
        slots = _owners(sparse.model.optimizer, sparse.model.optimizer._trainable_variables)
        pairs = zip(dense.model.optimizer.variables, sparse.model.optimizer.variables, strict=True)
        self._slots = [self._slot(one, two, slots) for one, two in pairs]
        metrics = zip(dense.metric_variables(), sparse.metric_variables(), strict=True)
        self._metrics = [Pair(one, two, None) for one, two in metrics if one is not two]
        self._masks: dict[str, np.ndarray] = {}
        self.functions = compile_steps(sparse, load=self._load, save=self._save)

    def _slot(self, dense: keras.Variable, sparse: keras.Variable, owners: Mapping[int, tuple[Any, str]]) -> Pair:
        if dense.shape == sparse.shape:
            return Pair(dense, sparse, None)
        owner, slots = owners[id(sparse)]
        return Pair(dense, sparse, self._layers[id(owner)], 1.0 if slots == STARTED_ABOVE_ZERO else 0.0)

    def set_masks(self, masks: Mapping[str, np.ndarray]) -> None:
        """Set which weights are kept, where that has changed.

        Args:
            masks: masks of the layers that compute by the kernels, by path.
        """
        for path, mask in masks.items():
            if path not in self._masks or not np.array_equal(mask, self._masks[path]):
                self._by_path[path].set_mask(mask)
                self._masks[path] = mask

    def _load(self, trains: bool) -> None:
        for pair in [*self._weights, *(self._slots + self._metrics if trains else [])]:
            pair.load()

    def _save(self) -> None:
        for pair in [*self._weights, *self._slots, *self._metrics]:
            pair.save()


def _weights(masked: Masked, layer: SparseLayer) -> list[Pair]:
    kernel = Pair(masked.masked_variables["kernel"], layer.values, layer)
    return [kernel] if layer.bias is None else [kernel, Pair(masked.layer.bias, layer.bias, None)]


def _owners(
    optimizer: keras.optimizers.Optimizer, trainable: list[keras.Variable]
) -> dict[int, tuple[keras.Variable, str]]:
    """Return the weight that each slot of an optimizer belongs to, and the name of its list, by the slot's id."""
    attributes = vars(optimizer).items()
    lists = {name: value for name, value in attributes if isinstance(value, list) and len(value) == len(trainable)}
    return {
        id(slot): (weight, name)
        for name, slots in lists.items()
        for slot, weight in zip(slots, trainable, strict=True)
        if isinstance(slot, keras.Variable) and slot is not weight
    }

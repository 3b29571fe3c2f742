"""What the trainings of one process share: one wrapped model, its engine, and the data on the device."""

import functools
import logging
from typing import Any

import keras
import numpy as np

from tf_lottery.errors import UnfitError
from tf_lottery.experiment import round_masks, weights_per_round
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.controls import find_control
from tf_lottery.experiment.problem import Problem, replicate_seed
from tf_lottery.experiment.training_and_rewind_steps import training_steps
from tf_lottery.layers import discover, get_masks, get_weights, named_variables, set_masks, set_weights
from tf_lottery.pruning import criteria as scoring
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning.masks import Masks
from tf_lottery.training.changes import CHANGES
from tf_lottery.training.engine import METRICS
from tf_lottery.training.loop import MemoryFeed, StreamFeed, splits
from tf_lottery.training.optimizers import with_loss_scale
from tf_lottery.training.order import Order
from tf_lottery.training.replica_layers import synchronize_batch_norm
from tf_lottery.training.replicas import scope_of
from tf_lottery.training.state import MODEL, OPTIMIZER, State, capture_state, optimizer_variables, slots_of

log = logging.getLogger(__name__)


class Workbench:
    """One wrapped model with its engine.

    Args:
        config: the experiment.
        problem: its model, data, loss and optimizer.
        sparse: whether layers compute by the sparse kernels: "auto", "on" or "off".

    Attributes:
        plain: makes the plain model of a replicate; the last two are kept.
        model: the wrapped model that everything is trained in.
        engine: what trains it.
        roles: the role of each maskable weight.
        units: in what units they are pruned.
        slots: the weight path that each slot of the optimizer belongs to.
        data: the splits, on the device.
    """

    def __init__(self, config: Config, problem: Problem, *, sparse: str = "off") -> None:
        self.config, self.problem = config, problem
        _check_stream(config, problem)
        self.plain = functools.lru_cache(maxsize=2)(problem.make_model)
        plain = self.plain(0)
        self.model = problem.wrapped(plain)
        if config.synchronized_batch_norm:
            synchronize_batch_norm(self.model)
        discovery = discover(plain, include=problem.include, exclude=problem.exclude)
        self.roles = discovery.roles
        for path, variable in named_variables(self.model).items():
            if variable.dtype == "bfloat16":
                raise UnfitError(
                    f"Weights of {path!r} are stored as bfloat16, which no `.npz` file holds.",
                    "Use the dtype policy mixed_bfloat16: it computes in bfloat16 and keeps float32 weights.",
                )
        shapes = {key: mask.shape for key, mask in self.dense().items()}
        self.units = round_masks.units_of_config(config, discovery.axes, shapes)
        for path, remark in self.units.remarks.items():
            log.info("%s is %s", path, remark)
        weights_per_round.check_rounds(config, self.roles, shapes, self.units)
        self.data = splits(problem.train, problem.validation, problem.test)
        steps_in_epoch = problem.steps_per_epoch(config.batch_size)
        self.engine = problem.engine(
            self.model,
            xla=config.xla,
            track_changes="changes" in scoring.needs(config.criterion),
            sparse=sparse,
            examples=config.batch_size * training_steps(config, steps_in_epoch),
        )
        self.engine.prepare(self.data.example())
        self.slots = slots_of(self.engine.optimizer, self.model)
        self._fresh = {key: value for key, value in self.capture().items() if key.startswith(OPTIMIZER)}
        self._copies_weights = self._optimizer_copies_weights()

    def variables(self) -> dict[str, keras.Variable]:
        """The variables that make up a rewind state: of the model and the optimizer."""
        everything = self.engine.variables()
        return {key: value for key, value in everything.items() if not key.startswith((METRICS, CHANGES))}

    def capture(self) -> State:
        """The state that model and optimizer are in."""
        return capture_state(self.variables())

    def dense(self) -> Masks:
        """Masks that keep everything."""
        return {key: np.ones_like(mask) for key, mask in get_masks(self.model).items()}

    def hold(self, masks: Masks, weights: State) -> keras.Model:
        """Return the wrapped model, with these masks and values.

        Args:
            masks: masks by weight path.
            weights: the value of every variable, by path.
        """
        set_masks(self.model, masks)
        set_weights(self.model, weights)
        return self.model

    def initial_weights(self, replicate: int) -> State:
        """Every variable of a replicate's model as it was made, by path."""
        model = self.plain(replicate)
        mask_tools.check_keys(
            named_variables(model), named_variables(self.model), what=f"model of replicate {replicate}"
        )
        return get_weights(model)

    def at_step_0(self, weights: State, masks: Masks) -> State:
        """Return the state at step 0, with an optimizer that has not trained.

        Args:
            weights: the value of every variable of the model, by path.
            masks: masks by weight path.
        """
        state = {MODEL + path: value for path, value in weights.items()}
        if not self._copies_weights:
            return {**state, **self._fresh}
        self.hold(masks, weights)
        with scope_of(self.problem.replicas):
            optimizer = with_loss_scale(self.problem.make_optimizer(), self.model)
            optimizer.build(self.model.trainable_variables)
        return {**state, **capture_state(optimizer_variables(optimizer))}

    def _optimizer_copies_weights(self) -> bool:
        """Whether the optimizer starts from the weights, as schedule-free ones do, and not from constants."""
        weights = get_weights(self.model)
        pairs = ((self._fresh[slot], weights[path]) for slot, path in self.slots.items())
        return any(np.any(slot) and np.array_equal(slot, weight) for slot, weight in pairs)

    def feed(self, replicate: int, *, order: str = "order") -> MemoryFeed | StreamFeed:
        """Return the training batches of a replicate.

        Args:
            replicate: its number.
            order: "order" for the replicate's own order of the data, or the name of another one.
        """
        augment_seed = replicate_seed(self.config, replicate, "augmentation" if order == "order" else f"{order} images")
        if not self.problem.replayable:
            return StreamFeed(self.data.train, augment_seed=augment_seed)
        seed = replicate_seed(self.config, replicate, order)
        return MemoryFeed(
            self.data.train, Order(self.data.train.size, self.config.batch_size, seed), augment_seed=augment_seed
        )

    def scoring_examples(self, replicate: int) -> tuple[Any, Any, Any]:
        """Inputs, targets and weights of the training examples that criteria look at: the first ones of the order."""
        count = min(self.config.score_examples, self.problem.train.size)
        order = Order(self.problem.train.size, 1, replicate_seed(self.config, replicate, "score examples"))
        chosen = self.problem.train.take(order.steps(0, count).ravel())
        return chosen.x, chosen.y, chosen.sample_weight


def _check_stream(config: Config, problem: Problem) -> None:
    """Check that nothing is asked of a stream that only data in memory give: the same examples again, another order."""
    if problem.replayable:
        return
    remedy = "Pass arrays, or leave that out."
    if config.scores_examples:
        raise UnfitError(
            f"Criterion {config.criterion!r} scores by training examples, the same for a ticket and its controls. A "
            "stream need not give them again.",
            remedy,
        )
    for name in config.variants:
        control = find_control(name)
        if control is not None and control.own_data_order:
            raise UnfitError(f"The control {name!r} needs another order of the data: a stream has its own.", remedy)

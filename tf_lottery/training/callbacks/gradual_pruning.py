"""Gradual pruning in `fit`: the masks of a wrapped model follow a schedule of sparsity."""

from typing import Any

from tf_lottery.errors import UsageError
from tf_lottery.layers import discover, get_masks, get_weights, set_masks
from tf_lottery.pruning.criteria import CriterionLike, get, needs
from tf_lottery.pruning.criteria import scores as compute_scores
from tf_lottery.pruning.granularities import UNSTRUCTURED, Axes, check_granularity
from tf_lottery.pruning.masks import kept
from tf_lottery.pruning.ranking import SCOPES
from tf_lottery.pruning.schedules import ScheduleLike, ask, check_schedule, with_frequency
from tf_lottery.pruning.select import prune_to
from tf_lottery.pruning.unit_arrays import collapse_masks
from tf_lottery.pruning.units import divide
from tf_lottery.training.callbacks.between_calls import BetweenCalls, zero_slots
from tf_lottery.utils.text import suggestion


class GradualPruning(BetweenCalls):
    """Prunes a wrapped model during `fit` along a schedule (Zhu & Gupta 2017, arXiv 1710.01878).

    At a step at which the schedule prunes, the weights are scored and the lowest are pruned, so that exactly
    `round((1 - sparsity) * total)` are kept, of each array or of all together. Masks only ever lose weights: what is
    pruned stays so, and its weights and optimizer slots are exactly 0.0. A step is a value of `optimizer.iterations`,
    the number of updates that are done: pruning at step 0 comes before the first of them.

    The callback acts between the calls by which `fit` trains. With `steps_per_execution=n` in `compile`, a call is n
    steps, and a pruning that falls due inside of it is done after it. Nothing is compiled again. A training that
    `keras.callbacks.BackupAndRestore` resumes is pruned as an uninterrupted one, in either order of the callbacks.

    Args:
        schedule: Answers `schedule(step) -> (should_prune, sparsity)`: a schedule of `tf_lottery.schedules` or of
            tfmot, or a function.
        frequency: The number of steps from one pruning to the next; by default the schedule's own.
        scope: "layerwise" prunes every weight array to the sparsity; "global" all arrays together.
        criterion: How weights are scored: the name, function or import path of a criterion that needs nothing but the
            weights.
        granularity: What is pruned as a whole, as for `prune`: "unstructured", "1x4", "channel", "2:4" and so on.
        indivisible: What is done with arrays that do not divide into such units, as for `prune`: "error", "skip" keeps
            them whole, "unstructured" prunes them weight by weight.

    Raises:
        UsageError: If an argument is wrong. In `fit`, if the model is not wrapped, or the schedule answers no sparsity
            in [0, 1), or a lower one than before.
        UnfitError: In `fit`, before its first step: if an array does not divide into the units of `granularity`, or
            the masks keep a part of one.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
        >>> wrapped = tfl.wrap(model)
        >>> wrapped.compile("sgd", "mse")
        >>> schedule = tfl.schedules.PolynomialDecay(0.0, 0.8, begin_step=0, end_step=8, frequency=4)
        >>> x, y = np.ones((80, 4)), np.ones((80, 5))
        >>> history = wrapped.fit(x, y, batch_size=10, verbose=0, callbacks=[tfl.callbacks.GradualPruning(schedule)])
        >>> float(tfl.get_masks(wrapped)["dense/kernel"].mean())
        0.2
    """

    def __init__(
        self,
        schedule: ScheduleLike,
        *,
        frequency: int | None = None,
        scope: str = "layerwise",
        criterion: CriterionLike = "magnitude",
        granularity: str = UNSTRUCTURED,
        indivisible: str = "error",
    ) -> None:
        super().__init__()
        checked = check_schedule(schedule)
        self.schedule = checked if frequency is None else with_frequency(checked, frequency)
        if scope not in SCOPES:
            raise UsageError(f"Unknown `scope` {scope!r}.", suggestion(str(scope), SCOPES), argument="scope")
        check_granularity(granularity, indivisible)
        get(criterion)
        if missing := sorted(needs(criterion)):
            raise UsageError(
                f"`criterion` must need nothing but the weights here. Received: {criterion!r}, which needs "
                f"{' and '.join(missing)}.",
                "Use 'magnitude', or a function from weights to scores.",
            )
        self.scope, self.criterion = scope, criterion
        self.granularity, self.indivisible = granularity, indivisible
        self._last_step = -1
        self._sparsity = 0.0
        self._axes: dict[str, Axes] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks the model, and that it divides into the units to prune, and forgets the steps of an earlier `fit`."""
        super().on_train_begin(logs)
        self._last_step, self._sparsity = -1, 0.0
        masks = get_masks(self.model)
        shapes = {path: mask.shape for path, mask in masks.items()}
        self._axes = None
        if self.granularity != UNSTRUCTURED:
            self._axes = discover(self.model, include=lambda path, variable: path in masks).axes
        units = divide(shapes, granularity=self.granularity, indivisible=self.indivisible, axes=self._axes)
        collapse_masks(masks, units)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Prunes before the first call of a training, if its step is one of the schedule's.

        Args:
            batch: The number of the batch in its epoch.
            logs: What `fit` reports; not used.
        """
        if self._last_step < 0:
            now = self.steps_done()
            # Of a resumed training, these are the steps of the last call: it may have been saved before it was pruned.
            self._prune_if_due(range(max(0, now - self.steps_of_last_call(now) + 1), now + 1))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Prunes after a call, if the schedule prunes at one of its steps.

        Args:
            batch: The number of the last batch of the call in its epoch.
            logs: What `fit` reports; not used.
        """
        self._prune_if_due(range(self._last_step + 1, self.steps_done() + 1))

    def _prune_if_due(self, steps: range) -> None:
        """Prunes to the sparsity of the last of these steps at which the schedule prunes."""
        self._last_step = steps.stop - 1
        for step in reversed(steps):
            should_prune, sparsity = ask(self.schedule, step)
            if should_prune:
                self._prune(sparsity, step)
                return

    def _prune(self, sparsity: float, step: int) -> None:
        if sparsity < self._sparsity:
            raise UsageError(
                f"The sparsity of `schedule` must not fall: masks only lose weights. Received: {sparsity} at step "
                f"{step}, after {self._sparsity}.",
                "Let the sparsity rise, or stay.",
            )
        self._sparsity = sparsity
        masks = get_masks(self.model)
        weights = get_weights(self.model, computed=True)
        scores = compute_scores({path: weights[path] for path in masks}, self.criterion)
        try:
            pruned = prune_to(
                scores,
                masks,
                density=1 - sparsity,
                scope=self.scope,
                granularity=self.granularity,
                indivisible=self.indivisible,
                axes=self._axes,
            )
        except UsageError as error:
            raise UsageError(
                f"The model is sparser than the {sparsity} that `schedule` asks for at step {step}: {error.cause}",
                "Let the schedule start at the sparsity of the model, or wrap a dense one.",
            ) from error
        if kept(pruned) < kept(masks):
            set_masks(self.model, pruned)
            zero_slots(self.model, pruned)

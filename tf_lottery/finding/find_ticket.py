"""`find_ticket`: the main job for a Keras user's own model, data, loss and optimizer, in this process."""

import contextlib
import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tf_lottery.data import from_arrays
from tf_lottery.errors import UsageError
from tf_lottery.experiment.checking import check_data
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.options import MOMENTUM, OPTIMIZERS
from tf_lottery.experiment.problem import Problem, configuration_hash, replicate_seed, without_automatic_names
from tf_lottery.experiment.run import Events, run
from tf_lottery.experiment.step_counts import training_steps
from tf_lottery.experiment.workers.executor import available_cores
from tf_lottery.layers import Selector, discover
from tf_lottery.layers.wrapping import check_maskable, check_wrappable
from tf_lottery.models.building import check_model
from tf_lottery.results.result import Result
from tf_lottery.training import learning_rates as learning_rate
from tf_lottery.training.identity import describe
from tf_lottery.training.optimizers import copy_optimizer, get_optimizer, serialize_optimizer
from tf_lottery.utils import seeds

DEFAULT_EPOCHS = 10


def find_ticket(
    model: keras.Model | Callable[[], keras.Model],
    *,
    train: Any,
    validation: Any = None,
    test: Any = None,
    loss: Any,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    rounds: int,
    rate: float = 0.2,
    rewind: str = "init",
    metrics: Any = None,
    loss_weights: Any = None,
    steps: int | None = None,
    epochs: float | None = None,
    batch_size: int = 32,
    output_rate: float | None = None,
    conv_rate: float | None = None,
    final_density: float | None = None,
    densities: Sequence[float] = (),
    scope: str = "layerwise",
    criterion: str = "magnitude",
    granularity: str = "unstructured",
    indivisible: str = "error",
    score_examples: int = 1000,
    pruning: str = "iterative",
    search_steps: int | None = None,
    mask_distance: float = 0.1,
    include: Selector | None = None,
    exclude: Selector | None = None,
    variants: Sequence[str] = ("ticket",),
    replicates: int = 1,
    seed: int = 0,
    eval_every: int | None = None,
    validation_split: float = 0.1,
    xla: str = "auto",
    run_dir: str | PathLike[str] | None = None,
    on_progress: Callable[[Job, int, int], None] | None = None,
) -> Result:
    """Find winning tickets of a model: rounds of train, prune, rewind (Frankle & Carbin 2018, arXiv 1803.03635).

    Args:
        model: a built model, for one replicate; or a function that makes one, for several (its unseeded initializers
            are then a function of `seed`). Sequential or functional; it is not changed.
        train: the training data: (x, y) or (x, y, sample_weight) of arrays (nests of arrays for several inputs or
            outputs), or a `tf.data.Dataset` of such batches.
        validation: validation data of the same form; it chooses the early-stop step and the round. By default a part of
            the training arrays.
        test: test data of the same form; only reported.
        loss, metrics, loss_weights: as in `model.compile`.
        optimizer: a Keras optimizer or its name; its configuration is used, so it is not changed.
        rounds: rounds of pruning after the dense round 0.
        rate: fraction of the surviving weights pruned per round, in [0, 1).
        rewind: "init", "step:K", "epoch:K"; "lr" (learning-rate rewinding), "lr:step:K", "lr:epoch:K"; "finetune",
            "finetune:step:N", "finetune:epoch:N".
        steps, epochs: length of a training; 10 epochs by default.
        batch_size: examples per step, for arrays.
        output_rate, conv_rate: rates of the output layer (half of `rate` by default) and of convolutions.
        final_density: density to reach in `rounds` rounds of equal rate, instead of `rate`; one round is one-shot.
        densities: an explicit ladder of densities, instead of a rate.
        scope: "layerwise" or "global".
        criterion: a name of `tf_lottery.pruning.criteria.CRITERIA`, e.g. "magnitude", "snip", or "synflow" with the
            scope "global".
        granularity: "unstructured", blocks of "1x4" or "1x16" consecutive inputs, or "channel": units of dense layers
            and filters of convolutions; the output layer then stays whole.
        indivisible: what is done with weights that do not divide so: "error", "skip" (kept whole), "unstructured".
        score_examples: how many training examples a criterion looks at that needs data.
        pruning: where masks come from: "iterative", "one_shot", "before_training" or "early_bird".
        search_steps: steps of the trainings that only find masks; round 0 and the last round are trained in full.
        mask_distance: the fraction of kept weights by which masks may still differ where an early-bird search stops.
        include, exclude: which weights to mask, as for `wrap`.
        variants: "ticket", and controls: names of `tf_lottery.experiment.controls.CONTROLS`, e.g. "random_reinit".
        replicates: chains of rounds with other initial weights and data orders.
        seed: the seed of everything that is random.
        eval_every: steps between evaluations; a twentieth of a training by default.
        validation_split: part of the training arrays that is set aside where `validation` is None: fraction or count.
        xla: "auto", "on" or "off".
        run_dir: the run directory. The same call with the same directory resumes or extends the run, with the initial
            weights that it began with. By default a
            temporary one that goes with the result.
        on_progress: called about once a second with (job, step, last step).

    Returns:
        A `Result`: `rows`, `best(max_drop)`, `ticket(round)`.

    Raises:
        UsageError: an argument is out of range, or several replicates are asked of a built model.
        UnfitError: the model is not built, has nothing to prune, or does not fit the data.
        NonFiniteError: NaN or infinite weights or loss.

    Example:
        >>> x, y = np.random.default_rng(0).normal(size=(200, 4)).astype("float32"), np.arange(200) % 2
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2)])
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> result = find_ticket(model, train=(x, y), loss=loss, rounds=2, rate=0.5, steps=20)
        >>> result.ticket(2).density < 0.5
        True
    """
    if steps is None and epochs is None:
        epochs = DEFAULT_EPOCHS
    optimizer = get_optimizer(optimizer)
    config = Config(
        preset="find-ticket",
        dataset="user",
        model="user",
        normalization="none",
        **_told(optimizer),
        batch_size=batch_size,
        steps=steps,
        epochs=epochs,
        rounds=rounds,
        rate=rate,
        output_rate=output_rate,
        conv_rate=conv_rate,
        final_density=final_density,
        densities=tuple(densities),
        scope=scope,
        criterion=criterion,
        granularity=granularity,
        indivisible=indivisible,
        score_examples=score_examples,
        pruning=pruning,
        search_steps=search_steps,
        mask_distance=mask_distance,
        rewind=rewind,
        eval_every=1 if eval_every is None else eval_every,
        seed=seed,
        replicates=replicates,
        variants=tuple(variants),
        xla=xla,
        threads=tf.config.threading.get_intra_op_parallelism_threads() or available_cores(),
        jobs=1,
    )
    make_model = _maker(model, replicates, seed)
    first = make_model(0)
    found = discover(first, include=include, exclude=exclude)
    check_maskable(found)
    data, fingerprint = _data(train, validation, test, validation_split=validation_split, seed=seed)
    check_data(first, data, loss=loss, loss_weights=loss_weights)
    copy_optimizer(optimizer)  # one that can't be copied is an error before the run begins
    problem = Problem(
        make_model=make_model,
        make_optimizer=lambda: _with_last_rate_held(
            copy_optimizer(optimizer), training_steps(config, problem.steps_per_epoch(batch_size)) - 1
        ),
        loss=loss,
        metrics=metrics,
        loss_weights=loss_weights,
        train=data[0],
        validation=data[1],
        test=data[2],
        fingerprint=fingerprint,
        include=include,
        exclude=exclude,
    )
    if eval_every is None:
        config = config.updated(eval_every=_eval_every(config, problem))
    described = [
        without_automatic_names(serialize_optimizer(optimizer)),
        describe(loss),
        describe(metrics),
        describe(loss_weights),
        sorted(found.found),
    ]
    text = json.dumps([configuration_hash(first), described, fingerprint], sort_keys=True, default=str)
    model_hash = hashlib.sha256(text.encode()).hexdigest()
    events = Events(on_progress=on_progress) if on_progress else Events()
    directory = Path(run_dir if run_dir is not None else tempfile.mkdtemp(prefix="tf_lottery-"))
    try:
        run(config, RunDirectory(directory), make_problem=lambda: problem, events=events, model_hash=model_hash)
    except BaseException:
        if run_dir is None:
            shutil.rmtree(directory, ignore_errors=True)
        raise
    return Result(directory, temporary=run_dir is None)


def _with_last_rate_held(optimizer: keras.optimizers.Optimizer, last: int) -> keras.optimizers.Optimizer:
    """The optimizer, its schedule held after the last step of a full training: what trains on keeps that rate."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    schedule = getattr(inner, "_learning_rate", None)
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        inner._learning_rate = learning_rate.hold(schedule, last)
    return optimizer


def _told(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """What the configuration tells of a caller's optimizer; a schedule by its first learning rate."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    name = type(inner).__name__.lower()
    numbers = {"momentum": getattr(inner, "momentum", 0.0), "weight_decay": getattr(inner, "weight_decay", 0.0) or 0.0}
    told = {key: float(value) for key, value in numbers.items() if isinstance(value, int | float)}
    if name not in MOMENTUM:
        told.pop("momentum", None)
    with contextlib.suppress(
        AttributeError, TypeError, ValueError
    ):  # several optimizers in one have no rate of their own
        told["learning_rate"] = float(inner.learning_rate)
    return {"optimizer": name if name in OPTIMIZERS else "user", **told}


def _maker(model: Any, replicates: int, seed: int) -> Callable[[int], keras.Model]:
    """A function from replicate to plain model."""
    if isinstance(model, keras.Model):
        if replicates != 1:
            raise UsageError(
                f"A built model has one set of initial weights, so `replicates` must be 1. Received: {replicates}.",
                "Pass a function that makes the model.",
            )
        check_wrappable(model)
        check_model(model, source="`model`")
        return lambda replicate: model
    if not callable(model):
        raise UsageError(
            f"`model` must be a keras.Model or a function that makes one. Received: {type(model).__name__}."
        )

    config = Config(seed=seed)

    @functools.lru_cache(maxsize=1)
    def make(replicate: int) -> keras.Model:
        with seeds.seeded(replicate_seed(config, replicate, "initial weights")):
            made = model()
        if not isinstance(made, keras.Model):
            raise UsageError(f"`model` must return a keras.Model. It returned: {type(made).__name__}.")
        check_wrappable(made)
        return check_model(made, source="`model`")

    return make


def _data(train: Any, validation: Any, test: Any, *, validation_split: float, seed: int) -> tuple[tuple, str]:
    """(train, validation, test) as the trainer takes them, and the fingerprint of their content."""
    streams = [part for part in (train, validation, test) if isinstance(part, tf.data.Dataset)]
    if not streams:
        dataset = from_arrays(train, validation, test, validation_split=validation_split, seed=seed)
        return (dataset.train, dataset.validation, dataset.test), dataset.fingerprint
    if validation is None:
        raise UsageError("A tf.data.Dataset can't be split: `validation` must be given.", "Pass a validation data set.")
    for name, part in (("validation", validation), ("test", test)):
        if isinstance(part, tf.data.Dataset) and part.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise UsageError(
                f"`{name}` repeats without end, and an evaluation covers every example of it.",
                "Leave out `.repeat()`, or end it with `.take(batches)`.",
            )
    if len(streams) < 2 + (test is not None):
        raise UsageError(
            "`train`, `validation` and `test` must be all arrays or all tf.data.Datasets.",
            "Use tf.data.Dataset.from_tensor_slices(...).batch(...) for the arrays.",
        )
    return (train, validation, test), ""


def _eval_every(config: Config, problem: Problem) -> int:
    """A twentieth of a training."""
    return max(1, training_steps(config, problem.steps_per_epoch(config.batch_size)) // 20)

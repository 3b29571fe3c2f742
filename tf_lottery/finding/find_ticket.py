"""`find_ticket`: the main job for a Keras user's own model, data, loss and optimizer, in this process."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

import keras
import tensorflow as tf

from tf_lottery.experiment import own_functions
from tf_lottery.experiment.checking import check_data
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.controls import ControlLike
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.experiment.layer_values import layer_values
from tf_lottery.experiment.problem import Problem
from tf_lottery.experiment.rewind_point import RewindLike
from tf_lottery.experiment.run import run
from tf_lottery.experiment.training_and_rewind_steps import training_steps
from tf_lottery.experiment.workers.executor import available_cores
from tf_lottery.finding.arguments import check_names, xla_setting
from tf_lottery.finding.call_directory import call_directory
from tf_lottery.finding.call_hash import call_hash
from tf_lottery.finding.keras_callbacks import CallbackObserver, check_callbacks
from tf_lottery.finding.model_source import model_maker
from tf_lottery.finding.progress_display import progress_display
from tf_lottery.finding.training_data import steps_per_epoch as count_steps_per_epoch
from tf_lottery.finding.training_data import training_data
from tf_lottery.finding.training_settings import optimizer_options, training_settings, with_last_rate_held
from tf_lottery.layers import Selector, copy_model
from tf_lottery.layers.acceptance import check_prunable, own_methods
from tf_lottery.pruning.criteria import CriterionLike
from tf_lottery.results.result import Result
from tf_lottery.training.optimizers import copy_optimizer
from tf_lottery.training.replica_layers import check_replicable
from tf_lottery.training.strategies import as_replicas

DEFAULT_EPOCHS = 10
# An evaluation every twentieth of a training, where `eval_every` is left out.
EVALUATIONS = 20


def find_ticket(
    model: keras.Model | Callable[[], keras.Model],
    x: Any = None,
    y: Any = None,
    *,
    validation_data: Any = None,
    test_data: Any = None,
    rounds: int,
    rate: float = 0.2,
    rewind: RewindLike = "init",
    epochs: float | None = None,
    steps: int | None = None,
    batch_size: int = 32,
    loss: Any = None,
    optimizer: Any = None,
    metrics: Any = None,
    loss_weights: Any = None,
    weighted_metrics: Any = None,
    callbacks: Any = (),
    verbose: Any = "auto",
    jit_compile: Any = "auto",
    sparse: str = "auto",
    strategy: Any = None,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    steps_per_epoch: int | None = None,
    validation_split: float = 0.1,
    eval_every: int | None = None,
    criterion: CriterionLike = "magnitude",
    scope: str = "layerwise",
    distribution: str = "uniform",
    granularity: str = "unstructured",
    indivisible: str = "error",
    output_rate: float | None = None,
    conv_rate: float | None = None,
    layer_rates: Mapping[str, float] | None = None,
    min_density: float | Mapping[str, float] | None = None,
    max_density: float | Mapping[str, float] | None = None,
    final_density: float | None = None,
    densities: Sequence[float] | Callable[[int], float] = (),
    pruning: str = "iterative",
    search_steps: int | None = None,
    mask_distance: float = 0.1,
    score_examples: int = 1000,
    include: Selector | None = None,
    exclude: Selector | None = None,
    variants: ControlLike | Sequence[ControlLike] = ("ticket",),
    replicates: int = 1,
    seed: int = 0,
    run_dir: str | PathLike[str] | None = None,
    fresh: bool = False,
    **unknown: Any,
) -> Result:
    """Find winning tickets of a model: rounds of train, prune, rewind (Frankle & Carbin 2018, arXiv 1803.03635).

    Data, callbacks and what a model is compiled with mean what they mean in `fit`. The call trains the dense network
    (round 0), prunes it, rewinds the weights that are left and trains them again, `rounds` times.

    Args:
        model: a built model, Sequential, functional or subclassed, compiled or not, for one replicate; or a function
            that makes one, for several (its unseeded initializers are then a function of `seed`). It is not changed.
            Its own `train_step`, `test_step`, `compute_loss` and `compute_metrics` are run as in `fit`.
        x: the training inputs, arrays of shape (examples, ...): one, or a tuple, list or dictionary for several inputs;
            or a `tf.data.Dataset` or `keras.utils.PyDataset` of batches (x, y) or (x, y, sample_weight).
        y: the training targets, likewise; left out beside a data set, or for a model whose own steps need none.
        validation_data: chooses the early-stop step and the round: (x, y) or (x, y, sample_weight) of arrays, or a data
            set of batches, of another kind than `x` if you like. By default a random part of the training arrays.
        test_data: likewise; it is only reported.
        rounds: rounds of pruning after the dense round 0.
        rate: fraction of the surviving weights that a round prunes, in [0, 1).
        rewind: the weights that a round starts from: "init", "step:K", "epoch:K"; "lr" (learning-rate rewinding),
            "lr:step:K", "lr:epoch:K"; "finetune", "finetune:step:N", "finetune:epoch:N"; a `RewindPoint`; or a function
            from the steps of a full training to the step to rewind to, or its `package.module:function`.
        epochs: length of a training in epochs; 10 if `steps` is left out as well.
        steps: length of a training in steps.
        batch_size: examples per step, for arrays.
        loss: as in `model.compile`; by default that of the compiled model.
        optimizer: a Keras optimizer or its name, whose configuration is used; by default that of the compiled model, or
            "adam".
        metrics: as in `model.compile`; by default those of the compiled model.
        loss_weights: as in `model.compile`; by default those of the compiled model.
        weighted_metrics: as in `model.compile`; by default those of the compiled model.
        callbacks: Keras callbacks, called in every training: `on_epoch_end` at each evaluation, with its loss and
            metrics. Their `params` hold the replicate, round, variant and density. A method `on_round_end(round, rows)`
            is called after each round, with its rows of results. They may read the model, not change it.
        verbose: 0 is silent, 1 shows a progress bar for each training, 2 a line; "auto" is 1. Off a terminal and a
            notebook, 1 shows lines too.
        jit_compile: whether steps are compiled by XLA: True, False, or "auto": as the model was compiled, or where it
            pays.
        sparse: whether masked dense layers and convolutions train by the sparse kernels, with the kept weights alone:
            "auto" where that is faster, "on" wherever it can be, or "off". The results differ by the order of sums.
        strategy: divides each batch: a `MirroredStrategy`, a `MultiWorkerMirroredStrategy`, or the name of one.
        sample_weight: a weight for each training example, shape (examples,); left out beside a data set.
        class_weight: a weight for each class number, for the training data.
        steps_per_epoch: steps that make an epoch; by default all full batches of arrays, or all batches of a data set
            (one of unknown length is read once, to count them).
        validation_split: part of the training arrays that is set aside where `validation_data` is None: a fraction, or
            a number of examples.
        eval_every: steps between evaluations; a twentieth of a training by default.
        criterion: the score by which weights are ranked: a name of `tf_lottery.pruning.criteria.CRITERIA`, e.g.
            "magnitude", "snip", or "synflow" with the scope "global"; or a function from weights (arrays by path) to
            scores of the same shapes, or its `package.module:function`.
        scope: which weights are ranked together: "layerwise" or "global".
        distribution: how what a round keeps is divided among the arrays: "uniform" (by the rates, or as `scope` says),
            "erk" (Evci et al. 2020, arXiv 1911.11134) or "lamp" (Lee et al. 2021, arXiv 2010.07611).
        granularity: the units in which weights are pruned: "unstructured", blocks of "1x4" or "1x16" consecutive
            inputs, "channel" (units of dense layers and filters of convolutions; the output layer then stays whole),
            "head" (of attention) or "row" (of an embedding); or a pattern such as "2:4", which no round prunes below.
        indivisible: what happens to weights that do not divide into such units: "error", "skip" (kept whole) or
            "unstructured".
        output_rate: rate of the output layer; half of `rate` by default.
        conv_rate: rate of convolutions; `rate` by default.
        layer_rates: rates by weight path or glob pattern, `{"conv*": 0.1}`, which are stronger than all others.
        min_density: least density (kept / total) of every array, or by path or pattern: one that reaches it is not
            pruned further.
        max_density: greatest density, likewise: the first round already comes down to it.
        final_density: density to reach in `rounds` rounds of equal rate, instead of `rate`; one round is one-shot.
        densities: density of each round, instead of a rate: a ladder, or a function of the round's number.
        pruning: where masks come from: "iterative", "one_shot", "before_training" or "early_bird".
        search_steps: steps of the trainings that only find masks; round 0 and the last round are trained in full.
        mask_distance: fraction of the kept weights by which masks may still differ where an early-bird search stops.
        score_examples: number of training examples for a criterion that needs data.
        include: which weights to mask, as for `wrap`.
        exclude: which weights not to mask, as for `wrap`.
        variants: "ticket", and controls: names of `tf_lottery.experiment.controls.CONTROLS`, e.g. "random_reinit";
            `Control` objects, functions as a control's `start`, or the `package.module:name` of either.
        replicates: number of chains of rounds, each with its own initial weights and data order.
        seed: the seed of everything that is random.
        run_dir: the run directory. The same call with the same directory resumes or extends the run, with the initial
            weights that it began with; finished trainings are not repeated, so callbacks do not see them. By default a
            temporary one that is removed with the result.
        fresh: whether to start over where `run_dir` holds a run: in a new directory beside it, `run_dir-2`, `run_dir-3`
            and so on, which is the result's `run_dir`. The earlier run stays as it is.
        **unknown: refused, with the present name of an argument of version 0.1.

    Returns:
        A `Result`: `rows`, `verdict`, `best(max_drop)`, `ticket(round)`.

    Raises:
        UsageError: an argument is unknown, missing or out of range, or several replicates are asked of a built model.
        UnfitError: the model is not built, has nothing to prune, or does not fit the data.
        NonFiniteError: NaN or infinite weights or loss.

    Example:
        >>> x, y = np.random.default_rng(0).normal(size=(200, 4)).astype("float32"), np.arange(200) % 2
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2)])
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> result = find_ticket(model, x, y, loss=loss, rounds=2, rate=0.5, steps=20, verbose=0)
        >>> result.ticket(2).density < 0.5
        True
    """
    check_names(unknown, [name for name in inspect.signature(find_ticket).parameters if name != "unknown"])
    callbacks, display = check_callbacks(callbacks), progress_display(verbose)
    strategy_name, replicas = as_replicas(strategy)
    config = Config(
        preset="find-ticket",
        dataset="user",
        model="user",
        normalization="none",
        batch_size=batch_size,
        steps=steps,
        epochs=DEFAULT_EPOCHS if steps is None and epochs is None else epochs,
        rounds=rounds,
        rate=rate,
        output_rate=output_rate,
        conv_rate=conv_rate,
        layer_rates=layer_values(layer_rates, what="layer_rates"),
        min_density=layer_values(min_density, what="min_density"),
        max_density=layer_values(max_density, what="max_density"),
        final_density=final_density,
        densities=own_functions.ladder_of_rounds(densities, rounds),
        scope=scope,
        distribution=distribution,
        criterion=own_functions.criterion_name(criterion),
        granularity=granularity,
        indivisible=indivisible,
        score_examples=score_examples,
        pruning=pruning,
        search_steps=search_steps,
        mask_distance=mask_distance,
        rewind=own_functions.rewind_name(rewind),
        eval_every=1 if eval_every is None else eval_every,
        seed=seed,
        replicates=replicates,
        variants=own_functions.variant_names(variants),
        sparse=sparse,
        strategy=strategy_name,
        threads=tf.config.threading.get_intra_op_parallelism_threads() or available_cores(),
        jobs=1,
    )
    make_model = model_maker(model, replicates=replicates, seed=seed)
    first = make_model(0)
    check_replicable(first, replicas)
    settings = training_settings(
        first,
        optimizer=optimizer,
        loss=loss,
        metrics=metrics,
        weighted_metrics=weighted_metrics,
        loss_weights=loss_weights,
        jit_compile=jit_compile,
    )
    config = config.updated(**optimizer_options(settings.optimizer), xla=xla_setting(settings.jit_compile))
    discovery = check_prunable(first, include=include, exclude=exclude)
    data = training_data(
        x,
        y,
        sample_weight=sample_weight,
        class_weight=class_weight,
        validation_data=validation_data,
        test_data=test_data,
        validation_split=validation_split,
        seed=seed,
        needs_targets=not own_methods(first, ("train_step", "test_step", "compute_loss")),
    )
    trial = copy_model(first) if isinstance(model, keras.Model) else first
    check_data(trial, data.parts(), loss=settings.loss, loss_weights=settings.loss_weights)
    copy_optimizer(settings.optimizer)  # one that can't be copied is an error before the run begins
    in_epochs = config.steps is None or config.rewind_point.unit == "epoch"
    problem = Problem(
        make_model=make_model,
        makes_new_models=not isinstance(model, keras.Model),
        make_optimizer=lambda: with_last_rate_held(copy_optimizer(settings.optimizer), total_steps - 1),
        loss=settings.loss,
        metrics=settings.metrics,
        loss_weights=settings.loss_weights,
        weighted_metrics=settings.weighted_metrics,
        train=data.train,
        validation=data.validation,
        test=data.test,
        fingerprint=data.fingerprint,
        include=include,
        exclude=exclude,
        steps_in_epoch=count_steps_per_epoch(data, stated=steps_per_epoch, needed=in_epochs),
    )
    total_steps = training_steps(config, problem.steps_per_epoch(batch_size))
    if eval_every is None:
        config = config.updated(eval_every=max(1, total_steps // EVALUATIONS))
    observer = CallbackObserver(
        [*callbacks, *([display] if display else [])],
        rounds=config.rounds,
        replicates=config.replicates,
        eval_every=config.eval_every,
        verbose=verbose,
    )
    extras = {"steps_per_epoch": steps_per_epoch, "class_weight": class_weight}
    with call_directory(run_dir, fresh=fresh, replicas=replicas) as directory:
        run(
            config,
            RunDirectory(directory),
            make_problem=lambda: problem,
            events=observer.events(),
            model_hash=call_hash(first, settings, sorted(discovery.found), data.fingerprint, extras),
            own_code=problem.own_code(first),
            replicas=replicas,
        )
    return Result(directory, temporary=run_dir is None)

"""Which options of an experiment exclude or need each other. No TensorFlow."""

import re

from tf_lottery.errors import UsageError
from tf_lottery.experiment.controls import CONTROLS, find_control
from tf_lottery.experiment.layer_values import by_pattern
from tf_lottery.experiment.options import MOMENTUM, Options
from tf_lottery.experiment.own_functions import check_callable
from tf_lottery.experiment.rewind_point import FINETUNE, LEARNING_RATE
from tf_lottery.pruning import criteria as scoring
from tf_lottery.pruning import layer_rates
from tf_lottery.pruning.distributions import LAMP, UNIFORM
from tf_lottery.utils.tf_config import NONE


def check_combinations(options: Options) -> None:
    """Check options that are valid alone against each other.

    Raises:
        UsageError: two of them exclude each other, or one lacks another.
    """
    _check_run(options)
    _check_rates(options)
    _check_distribution(options)
    _check_pruning(options)
    _check_controls(options)
    if options.criterion in scoring.CRITERIA:
        _check_criterion(options)
    _check_tickets(options)
    _check_processes(options)
    _check_strategy(options)


def check_own_functions(options: Options) -> None:
    """Check the user's own functions, before anything is trained. Their modules are imported for it.

    Raises:
        UsageError: there is no such function, or an experiment can't use it.
        UnfitError: its module can't be imported.
    """
    for name, what in options.own_functions.items():
        if what == "control":
            _check_own_control(name)
        else:
            check_callable(name, what)
    if options.criterion in options.own_functions:
        _check_criterion(options)


def _check_own_control(name: str) -> None:
    control = find_control(name)
    if control is None or not callable(control.start):
        raise UsageError(f"The control {name!r} must be a function or a `Control`. Received: {control!r}.")
    # Which trainings a run has must be known where the user's module is not.
    if control.round_0 or control.continues_previous_round:
        raise UsageError(
            f"The control {name!r} sets `round_0` or `continues_previous_round`: only registered controls have them.",
            "Leave them out, or register the control in `tf_lottery.experiment.controls.CONTROLS`.",
        )


def _check_run(options: Options) -> None:
    """Check what concerns the run as a whole and its optimizer."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", options.preset):
        raise UsageError(
            f"`preset` names a directory: letters, digits, '.', '_' and '-'. Received: {options.preset!r}.",
            "Choose another name.",
        )
    if (options.steps is None) == (options.epochs is None):
        raise UsageError("Give either `steps` or `epochs`, the length of a training.", "Drop one of them.")
    if options.momentum and options.optimizer not in MOMENTUM:
        raise UsageError(
            f"`momentum` is of {' and '.join(MOMENTUM[:2])}. Received: {options.momentum} for {options.optimizer}.",
            "Drop it, or choose another optimizer.",
        )
    if options.lr_drop != type(options).lr_drop and options.lr_schedule != "step":
        raise UsageError(
            f"`lr_drop` is of the learning-rate schedule 'step'. Received: schedule {options.lr_schedule!r}.",
            "Drop it, or choose that schedule.",
        )


def _check_rates(options: Options) -> None:
    rates = by_pattern(options.layer_rates)
    for key, rate in rates.items():
        if not 0 <= rate < 1:
            raise UsageError(f"`layer_rates` must be in [0, 1). Received: {rate} for {key!r}.", "Pass e.g. 0.1.")
    for name in ("min_density", "max_density"):
        for key, density in by_pattern(getattr(options, name)).items():
            if not 0 <= density <= 1:
                raise UsageError(f"`{name}` must be in [0, 1]. Received: {density} for {key!r}.", "Pass e.g. 0.05.")
    if options.densities and (options.final_density or _role_and_layer_rates(options)):
        raise UsageError("`densities` is a ladder for all weights alike: it excludes other rates and final_density.")
    if options.final_density is not None:
        layer_rates.rate_to_reach(options.final_density, options.rounds)


def _role_and_layer_rates(options: Options) -> list[str]:
    """Return the names of the given options that make some arrays' rates other than `rate`."""
    rates = {"output_rate": options.output_rate, "conv_rate": options.conv_rate}
    given = [name for name, rate in rates.items() if rate is not None]
    return [*given, "layer_rates"] if options.layer_rates else given


def _check_distribution(options: Options) -> None:
    """Check what excludes a distribution that divides what is kept among all arrays."""
    if options.distribution == UNIFORM:
        return
    if options.scope != "layerwise":
        raise UsageError(
            f"The distribution {options.distribution!r} decides how many weights each layer keeps, the scope "
            f"{options.scope!r} ranks them all together.",
            "Drop one of them.",
        )
    if rates := _role_and_layer_rates(options):
        raise UsageError(
            f"The distribution {options.distribution!r} divides one number of weights among all layers: they have one "
            "rate.",
            f"Drop {' and '.join(f'`{name}`' for name in rates)}.",
        )
    if options.distribution == LAMP and options.criterion in scoring.SIGNED:
        raise UsageError(
            f"The distribution 'lamp' compares squares of scores. Received: criterion {options.criterion!r}, whose "
            "scores may be negative.",
            "Take 'magnitude', or another distribution.",
        )


def _check_pruning(options: Options) -> None:
    """Check where masks come from against where tickets start."""
    mode = options.rewind_point.mode
    if options.search_steps is not None and options.pruning != "iterative":
        raise UsageError(
            f"`search_steps` shortens the rounds of iterative pruning. Received: pruning {options.pruning!r}.",
            "Drop one of them.",
        )
    if options.pruning == "before_training" and mode in (LEARNING_RATE, FINETUNE):
        raise UsageError(
            f"Pruning before training has no trained weights to continue from. Received: rewind {options.rewind!r}.",
            "Rewind to init, step:K or epoch:K.",
        )
    if mode == FINETUNE and (options.search_steps is not None or options.pruning == "early_bird"):
        raise UsageError(
            "Fine-tuning continues full trainings, and a search is not one.", "Rewind to 'lr' to train on from it."
        )


def _check_controls(options: Options) -> None:
    for name in options.variants:
        if name in CONTROLS and CONTROLS[name].continues_previous_round and not options.chained:
            raise UsageError(
                f"The control {name!r} trains as long as all rounds of the ticket together: it goes with iterative "
                "pruning, each round trained in full.",
                "Drop that control, or `pruning`, `search_steps` or `tickets_from`.",
            )


def _check_criterion(options: Options) -> None:
    needed = scoring.needs(options.criterion)
    if unknown := sorted(needed - set(scoring.SOURCES)):
        raise UsageError(
            f"The criterion {options.criterion!r} needs {', '.join(unknown)}, which an experiment does not provide.",
            f"Name its arguments after what there is: {', '.join(scoring.SOURCES)}.",
        )
    looks_back = {"changes", "initial"} & needed
    if looks_back and options.pruning in ("before_training", "early_bird"):
        raise UsageError(
            f"Criterion {options.criterion!r} looks back on a whole training. Received: pruning {options.pruning!r}.",
            "Prune iteratively or in one shot.",
        )
    if options.criterion not in scoring.GLOBAL:
        return
    if options.scope != "global":
        raise UsageError(
            f"Criterion {options.criterion!r} ranks all weights of the network together. Received: scope "
            f"{options.scope!r}.",
            "Pass scope 'global'.",
        )
    if {options.output_rate, options.conv_rate, *by_pattern(options.layer_rates).values()} - {None, options.rate}:
        raise UsageError(
            f"Criterion {options.criterion!r} ranks all weights of the network together: they have one rate.",
            f"Drop {' and '.join(f'`{name}`' for name in _role_and_layer_rates(options))}.",
        )


def _check_tickets(options: Options) -> None:
    """Check what goes with the tickets of another run."""
    if not options.tickets_from:
        return
    if options.pruning != "iterative" or options.search_steps is not None:
        raise UsageError("`tickets_from` brings its own masks: it excludes `pruning` and `search_steps`.")
    if options.rewind_point.mode in (LEARNING_RATE, FINETUNE):
        raise UsageError("A transferred ticket starts from the rewind weights of its run.", "Use rewind 'init'.")


def _check_strategy(options: Options) -> None:
    """Check what excludes a strategy, and what only a strategy has."""
    if options.strategy == NONE:
        for name in ("strategy_devices", "synchronized_batch_norm"):
            if value := getattr(options, name):
                raise UsageError(f"`{name}` is of a strategy. Received: {value}, and none.", "Pass a `strategy` too.")
        return
    if options.jobs > 1 or options.launcher != "local":
        other = f"launcher {options.launcher!r}" if options.launcher != "local" else f"`jobs={options.jobs}`"
        raise UsageError(
            f"The strategy {options.strategy!r} trains one model after the other, each on all of its devices. "
            f"Received: {other}.",
            "Drop one of them.",
            argument="strategy",
        )
    for name in ("xla", "sparse"):
        if getattr(options, name) == "on":
            raise UsageError(
                f"A strategy trains without XLA and without the sparse kernels. Received: `{name}=on`.",
                f"Drop `{name}`, or the `strategy`.",
            )


def _check_processes(options: Options) -> None:
    if options.jobs > 1 and (local := options.needs_this_process):
        raise UsageError(
            f"{' and '.join(local)} can't be imported by worker processes: a lambda, a function inside another one or "
            f"one of the script that runs is known in its own process only. Received: `jobs={options.jobs}`.",
            "Put it at the top level of a module, or pass `jobs=1`.",
        )

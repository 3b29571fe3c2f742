"""What is trained, in what order, and which weights each round keeps. No TensorFlow."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tf_lottery import pruning, schedule, scoring, seeds
from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config, rewind_point
from tf_lottery.masks import Masks
from tf_lottery.store import TICKET, Job


def jobs(config: Config) -> list[Job]:
    """Every training of an experiment, each after those that it needs.

    Round 0 is dense, so only the ticket has it.
    """
    return [
        Job(replicate, round_number, variant)
        for round_number in range(config.rounds + 1)
        for replicate in range(config.replicates)
        for variant in config.variants
        if variant == TICKET or round_number > 0
    ]


def needs(job: Job) -> Job | None:
    """The training that must be committed before a job can start: the ticket of the round before makes its masks."""
    return Job(job.replicate, job.round - 1) if job.round else None


def ready(waiting: Iterable[Job], done: set[Job]) -> list[Job]:
    """The jobs that can start now, those first on which the most depends: tickets of early rounds."""
    able = [job for job in waiting if (before := needs(job)) is None or before in done]
    return sorted(able, key=lambda job: (job.variant != TICKET, job.round, job.replicate, job.variant))


def next_masks(
    config: Config,
    *,
    round_number: int,
    replicate: int,
    roles: Mapping[str, str],
    weights: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
) -> Masks:
    """The masks of a round, from the trained weights and the masks of the round before.

    Args:
        config: the experiment.
        round_number: the round that the masks are for, at least 1.
        replicate: the replicate, for criteria that draw at random.
        roles: role of each maskable weight.
        weights: trained weights (at least the maskable ones).
        masks: masks that they were trained with.
    """
    given = {"seed": seeds.derive(config.seed, "score", replicate, round_number)}
    wanted = {name: given[name] for name in scoring.needs(config.criterion)}
    scores = scoring.scores({key: weights[key] for key in masks}, config.criterion, **wanted)
    if config.densities:
        return pruning.prune_to(scores, masks, density=config.densities[round_number], scope=config.scope)
    return pruning.prune(scores, masks, rate=rates(config, roles), scope=config.scope)


def rates(config: Config, roles: Mapping[str, str]) -> dict[str, float]:
    """The rate of each maskable weight array.

    To reach a final density, all have one rate unless a role's is given.
    """
    if config.final_density is None:
        return schedule.rates(roles, rate=config.rate, output_rate=config.output_rate, conv_rate=config.conv_rate)
    rate = schedule.rate_to_reach(config.final_density, config.rounds)
    output_rate = rate if config.output_rate is None else config.output_rate
    return schedule.rates(roles, rate=rate, output_rate=output_rate, conv_rate=config.conv_rate)


def kept_per_round(config: Config, roles: Mapping[str, str], shapes: Mapping[str, Sequence[int]]) -> list[int]:
    """Weights kept in each round, from counts alone."""
    masks = {key: np.ones(shape, bool) for key, shape in shapes.items()}
    scores = {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}
    kept = [sum(mask.size for mask in masks.values())]
    for round_number in range(1, config.rounds + 1):
        if config.densities:
            masks = pruning.prune_to(scores, masks, density=config.densities[round_number], scope=config.scope)
        else:
            masks = pruning.prune(scores, masks, rate=rates(config, roles), scope=config.scope)
        kept.append(sum(int(mask.sum()) for mask in masks.values()))
    return kept


def check_reachable(config: Config, sizes: Mapping[str, int]) -> None:
    """Check that the last density leaves every weight array something.

    Args:
        config: the experiment.
        sizes: the number of weights of each maskable array.

    Raises:
        UsageError: it would not, so that it could not be reached.
    """
    last = config.final_density or min(config.densities, default=None)
    if last is None or config.output_rate is not None or config.conv_rate is not None:
        return
    layerwise = config.scope == "layerwise"
    groups = [[key] for key in sizes] if layerwise else [list(sizes)]
    for keys in groups:
        kept = round(last * sum(sizes[key] for key in keys))
        if kept < len(keys):
            raise UsageError(
                f"A density of {last} would keep {kept} weights of {', '.join(keys)}; each array keeps at least one.",
                "Choose a higher density.",
            )


def training_steps(config: Config, steps_per_epoch: int | None) -> int:
    """Steps of a full training.

    Raises:
        UsageError: the length is given in epochs of data whose epoch is not known.
    """
    return _steps("epochs", config.epochs, steps_per_epoch) if config.steps is None else config.steps


def rewind_step(config: Config, steps_per_epoch: int | None) -> int:
    """The absolute step that rounds rewind to.

    Raises:
        UsageError: it is not before the end of a training.
    """
    unit, position = rewind_point(config.rewind)
    step = int(position) if unit == "step" else _steps("rewind", position, steps_per_epoch)
    total = training_steps(config, steps_per_epoch)
    if step >= total:
        raise UsageError(
            f"`rewind` must be before the end of a training of {total} steps. Received: {config.rewind} (step {step}).",
            "Rewind to an earlier step, or train longer.",
        )
    return step


def _steps(name: str, epochs: float | None, steps_per_epoch: int | None) -> int:
    if epochs is None or steps_per_epoch is None:
        raise UsageError(f"`{name}` can't be given in epochs of data of unknown length.", "Give steps.")
    return max(round(epochs * steps_per_epoch), 1 if name == "epochs" else 0)

"""What is trained, in what order, and which weights each round keeps. No TensorFlow."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.controls import CONTROLS
from tf_lottery.experiment.directory import SEARCH, TICKET, Job
from tf_lottery.experiment.rewind_point import FINETUNE, LEARNING_RATE, rewind_point
from tf_lottery.pruning import criteria as scoring
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning import rates as schedule
from tf_lottery.pruning import select as pruning
from tf_lottery.pruning.masks import Masks
from tf_lottery.pruning.units import UNSTRUCTURED, Axes, Blocks, Units, collapse_masks, divide, expand, one_by_one
from tf_lottery.utils import seeds

# How many masks before the newest an early-bird search compares with it (You et al. 2020, arXiv 1909.11957).
WINDOW = 5


def jobs(config: Config) -> list[Job]:
    """Every training of an experiment, each after those that it needs."""
    return [
        Job(replicate, round_number, variant)
        for round_number in range(config.rounds + 1)
        for replicate in range(config.replicates)
        for variant in _variants(config, round_number)
    ]


def _variants(config: Config, round_number: int) -> list[str]:
    """What is trained in a round: a search where masks are not the ticket's doing, the ticket, its controls."""
    if config.pruning == "early_bird":
        searches = round_number > 0
    else:
        searches = config.search_steps is not None and round_number < config.rounds
    tickets = config.search_steps is None or round_number in (0, config.rounds)
    there = [name for name in config.variants if name == TICKET or round_number > 0 or CONTROLS[name].round_0]
    return [*([SEARCH] if searches else []), *(there if tickets else [])]


def needs(config: Config, job: Job) -> list[Job]:
    """The trainings that must be committed before a job can start: those that its masks, weights or state come from."""
    source, dense = mask_source(config, job), Job(job.replicate, 0)
    found = [source] if source else []
    if job.variant in CONTROLS and CONTROLS[job.variant].continues_previous_round:
        found.append(Job(job.replicate, job.round - 1, job.variant) if job.round > 1 else dense)
    if job != dense and not starts_fresh(config, job):
        found.append(dense)  # it takes the rewind state
    return list(dict.fromkeys(found))


def starts_fresh(config: Config, job: Job) -> bool:
    """Whether a job starts from the initial weights, dense: round 0, and every search of an early bird."""
    return job.variant in (TICKET, SEARCH) and (
        job.round == 0 or (job.variant == SEARCH and config.pruning == "early_bird")
    )


def mask_source(config: Config, job: Job) -> Job | None:
    """The training whose weights decide the masks of a job, if there is one.

    A control has the source of its ticket, from whose masks its own are made.
    """
    if job.round == 0 or config.pruning == "before_training" or config.tickets_from:
        return None
    if config.pruning == "one_shot":
        return Job(job.replicate, 0)
    if config.pruning == "early_bird":
        return None if job.variant == SEARCH else Job(job.replicate, job.round, SEARCH)
    return Job(job.replicate, job.round - 1, TICKET if config.search_steps is None else SEARCH)


def weights_source(config: Config, job: Job) -> Job | None:
    """The training whose weights the ticket of a round starts from; None where that is the rewind state."""
    keeps = rewind_point(config.rewind).mode in (LEARNING_RATE, FINETUNE)
    return mask_source(config, job) if keeps else None


def sources(config: Config, job: Job) -> list[Job]:
    """The trainings that the masks of a job come from, the first one first: what finding them took."""
    found: list[Job] = []
    source = mask_source(config, job)
    while source is not None:
        found.insert(0, source)
        source = mask_source(config, source)
    return found


def ready(config: Config, waiting: Iterable[Job], done: set[Job]) -> list[Job]:
    """The jobs that can start now, those first on which the most depends: searches and tickets of early rounds."""
    able = [job for job in waiting if done.issuperset(needs(config, job))]
    return sorted(able, key=lambda job: (job.variant not in (TICKET, SEARCH), job.round, job.replicate, job.variant))


def next_masks(
    config: Config,
    *,
    round_number: int,
    replicate: int,
    roles: Mapping[str, str],
    weights: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    material: Mapping[str, Callable[[Masks], Any]] | None = None,
    blocks: Blocks | None = None,
) -> Masks:
    """The masks of a round, from scored weights and the masks that they were trained with.

    A criterion that scores again as it prunes (SynFlow) goes down to the count in exponential steps.

    Args:
        config: the experiment.
        round_number: the round that the masks are for, at least 1.
        replicate: the replicate, for criteria that draw at random.
        roles: role of each maskable weight.
        weights: the weights to score (at least the maskable ones).
        masks: today's masks: those of the round before, or dense ones, from which as many rounds are pruned at once.
        material: what the criterion wants beside weights (gradients, ...), by name, as functions of masks.
        blocks: the shape of a unit of each array that is pruned, as `units` tells; by default each weight is one.
    """
    blocks = one_by_one({key: mask.shape for key, mask in masks.items()}) if blocks is None else blocks
    seed = seeds.derive(config.seed, "score", replicate, round_number)
    material = {"seed": lambda masks: seed, **(material or {})}
    now = dict(masks)
    iterations = scoring.iterations(config.criterion)
    begin = collapse_masks(now, blocks)
    goals = _goals(config, round_number, roles, begin)
    scored = {key: weights[key] for key in masks}
    for iteration in range(1, iterations + 1):
        wanted = {name: material[name](now) for name in scoring.needs(config.criterion)}
        scores = scoring.scores(mask_tools.apply(scored, now), config.criterion, **wanted)
        unit_scores, kept_units = pruning.unit_arrays(scores, now, blocks)
        pruned: Masks = {}
        for keys, kept in goals:
            before = sum(int(np.count_nonzero(begin[key])) for key in keys)
            stage = kept if iteration == iterations else round(before * (kept / before) ** (iteration / iterations))
            count = sum(int(np.count_nonzero(kept_units[key])) for key in keys) - stage
            pruned |= pruning.remove_lowest(unit_scores, kept_units, keys=keys, count=count)
        now = expand(pruned, now, blocks)
    return now


def units(config: Config, axes: Mapping[str, Axes], shapes: Mapping[str, Sequence[int]]) -> Units:
    """In what units the weights of a model are pruned.

    Raises:
        UnfitError: they do not divide so, and the configuration takes that for an error.
    """
    return divide(shapes, granularity=config.granularity, indivisible=config.indivisible, axes=axes)


def _goals(
    config: Config, round_number: int, roles: Mapping[str, str], masks: Mapping[str, np.ndarray]
) -> list[tuple[list[str], int]]:
    """For each group of arrays that are ranked together, how many of their units the round keeps; from counts alone."""
    steps = 1 if config.pruning == "iterative" else round_number
    ranking = {key: np.zeros(mask.shape, np.float32) for key, mask in masks.items()}
    for number in range(round_number - steps + 1, round_number + 1):
        masks = _pruned(config, number, roles, ranking, masks)
    by_key = dict.fromkeys(masks, 0.0) if config.densities else rates(config, roles)
    return [
        (keys, sum(int(np.count_nonzero(masks[key])) for key in keys))
        for keys in pruning.groups({key: by_key[key] for key in masks}, scope=config.scope)
    ]


def _pruned(
    config: Config,
    round_number: int,
    roles: Mapping[str, str],
    scores: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
) -> Masks:
    """Masks, of units too, pruned by one round."""
    if config.densities:
        return pruning.prune_to(scores, masks, density=config.densities[round_number], scope=config.scope)
    every = rates(config, roles)
    return pruning.prune(scores, masks, rate={key: every[key] for key in masks}, scope=config.scope)


def mask_distance(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> float:
    """The fraction of the kept weights by which two masks of equal counts differ: 0 for the same, 1 for disjoint ones.

    You et al. (2020, arXiv 1909.11957) take the Hamming distance of channel masks; of sparse masks, even of disjoint
    ones, that is always small.

    Example:
        >>> mask_distance({"a": np.array([True, True, False])}, {"a": np.array([True, False, True])})
        0.5
    """
    both = sum(int(np.count_nonzero(first[key] & second[key])) for key in first)
    return 1 - both / mask_tools.kept(first)


def rates(config: Config, roles: Mapping[str, str]) -> dict[str, float]:
    """The rate of each maskable weight array.

    To reach a final density, all have one rate unless a role's is given.
    """
    if config.criterion in scoring.GLOBAL:
        one = (
            config.rate if config.final_density is None else schedule.rate_to_reach(config.final_density, config.rounds)
        )
        return dict.fromkeys(roles, one)
    if config.final_density is None:
        return schedule.rates(roles, rate=config.rate, output_rate=config.output_rate, conv_rate=config.conv_rate)
    rate = schedule.rate_to_reach(config.final_density, config.rounds)
    output_rate = rate if config.output_rate is None else config.output_rate
    return schedule.rates(roles, rate=rate, output_rate=output_rate, conv_rate=config.conv_rate)


def kept_per_round(
    config: Config, roles: Mapping[str, str], shapes: Mapping[str, Sequence[int]], blocks: Blocks | None = None
) -> list[int]:
    """Weights kept in each round, from counts alone.

    Where units of several sizes are ranked together, which of them go is up to the scores: then this is an estimate,
    for which each array loses an equal part of its units.
    """
    dense = {key: np.ones(shape, bool) for key, shape in shapes.items()}
    blocks = one_by_one(shapes) if blocks is None else blocks
    masks = collapse_masks(dense, blocks)
    larger = any(max(block, default=1) > 1 for block in blocks.values())
    scores = {
        key: (np.arange(mask.size) / mask.size).reshape(mask.shape) if larger else np.zeros(mask.shape, np.float32)
        for key, mask in masks.items()
    }
    kept = [mask_tools.kept(dense)]
    for round_number in range(1, config.rounds + 1):
        masks = _pruned(config, round_number, roles, scores, masks)
        kept.append(mask_tools.kept(expand(masks, dense, blocks)))
    return kept


def check_reachable(config: Config, sizes: Mapping[str, int]) -> None:
    """Check that the last density leaves every weight array something.

    Args:
        config: the experiment.
        sizes: the number of weights, or of larger units, of each array that is pruned.

    Raises:
        UsageError: it would not, so that it could not be reached.
    """
    last = config.final_density or min(config.densities, default=None)
    if last is None or config.output_rate is not None or config.conv_rate is not None:
        return
    what = "weights" if config.granularity == UNSTRUCTURED else "units"
    layerwise = config.scope == "layerwise"
    groups = [[key] for key in sizes] if layerwise else [list(sizes)]
    for keys in groups:
        kept = round(last * sum(sizes[key] for key in keys))
        if kept < len(keys):
            raise UsageError(
                f"A density of {last} would keep {kept} {what} of {', '.join(keys)}; each array keeps at least one.",
                "Choose a higher density.",
            )


def training_steps(config: Config, steps_per_epoch: int | None) -> int:
    """Steps of a full training.

    Raises:
        UsageError: the length is given in epochs of data whose epoch is not known.
    """
    return _steps("epochs", config.epochs, steps_per_epoch) if config.steps is None else config.steps


def rewind_step(config: Config, steps_per_epoch: int | None) -> int:
    """The absolute step whose state rounds rewind to; 0 for fine-tuning, which rewinds nothing.

    Raises:
        UsageError: it is not before the end of a training, or of a search.
    """
    point = rewind_point(config.rewind)
    if point.mode == FINETUNE:
        if _finetuning_steps(config, steps_per_epoch) < 1:
            raise UsageError(f"Fine-tuning must train at least one step. Received: rewind {config.rewind!r}.")
        return 0
    step = _steps("rewind", point.position, steps_per_epoch) if point.unit == "epoch" else int(point.position or 0)
    total = training_steps(config, steps_per_epoch)
    for what, length in (("a training", total), ("a search", config.search_steps)):
        if length is not None and step >= length:
            raise UsageError(
                f"`rewind` must be before the end of {what} of {length} steps. Received: {config.rewind} "
                f"(step {step}).",
                "Rewind to an earlier step, or train longer.",
            )
    if config.search_steps is not None and config.search_steps > total:
        raise UsageError(
            f"`search_steps` must not exceed a full training of {total} steps. Received: {config.search_steps}.",
            "Search for fewer steps.",
        )
    if config.pruning == "early_bird" and total // config.eval_every <= WINDOW:
        raise UsageError(
            f"An early-bird search compares the masks of {WINDOW + 1} evaluations. Received: {total} steps, evaluated "
            f"every {config.eval_every}: it could never stop early.",
            "Evaluate more often: a smaller `eval_every`.",
        )
    return step


def _finetuning_steps(config: Config, steps_per_epoch: int | None) -> int:
    point = rewind_point(config.rewind)
    if point.position is None:
        return training_steps(config, steps_per_epoch)
    return _steps("rewind", point.position, steps_per_epoch) if point.unit == "epoch" else int(point.position)


def span(config: Config, job: Job, steps_per_epoch: int | None) -> tuple[int, int]:
    """The absolute steps that a job trains, from and to. An early-bird search may stop before."""
    total = training_steps(config, steps_per_epoch)
    control = CONTROLS.get(job.variant)
    if control and control.continues_previous_round:
        taken = [sum(_lengths(config, Job(job.replicate, number), steps_per_epoch)) for number in (0, 1)]
        each = taken[1] - taken[0]  # of a round after the dense one
        return taken[0] + (job.round - 1) * each, taken[0] + job.round * each
    if job.variant == SEARCH:
        begin = 0 if starts_fresh(config, job) else rewind_step(config, steps_per_epoch)
        return begin, config.search_steps or total
    if starts_fresh(config, job):
        return 0, total
    point = rewind_point(config.rewind)
    if point.mode == FINETUNE and job.round > 0:
        length = _finetuning_steps(config, steps_per_epoch)
        gone = 0 if mask_source(config, job) == Job(job.replicate, 0) else job.round - 1
        return total + gone * length, total + (gone + 1) * length
    return rewind_step(config, steps_per_epoch), total


def _lengths(config: Config, job: Job, steps_per_epoch: int | None) -> Iterator[int]:
    """Steps of the trainings that it takes to get a ticket: those that its masks came from, and its own."""
    for each in (*sources(config, job), job):
        first, last = span(config, each, steps_per_epoch)
        yield last - first


def _steps(name: str, epochs: float | None, steps_per_epoch: int | None) -> int:
    if epochs is None or steps_per_epoch is None:
        raise UsageError(f"`{name}` can't be given in epochs of data of unknown length.", "Give steps.")
    return max(round(epochs * steps_per_epoch), 1 if name == "epochs" else 0)

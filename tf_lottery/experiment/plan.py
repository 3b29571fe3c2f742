"""Which trainings an experiment has, in what order, and which of them a training needs. No TensorFlow."""

from collections.abc import Iterable

from tf_lottery.experiment.config import Config
from tf_lottery.experiment.controls import CONTROLS
from tf_lottery.experiment.directory import SEARCH, TICKET, Job
from tf_lottery.experiment.rewind_point import FINETUNE, LEARNING_RATE


def jobs(config: Config) -> list[Job]:
    """Return every training of an experiment, each after those that it needs."""
    return [
        Job(replicate, round_number, variant)
        for round_number in range(config.rounds + 1)
        for replicate in range(config.replicates)
        for variant in _variants_of_round(config, round_number)
    ]


def _variants_of_round(config: Config, round_number: int) -> list[str]:
    """Return what a round trains: a search if tickets do not give the masks, then the ticket and its controls."""
    if config.pruning == "early_bird":
        searches = round_number > 0
    else:
        searches = config.search_steps is not None and round_number < config.rounds
    tickets = config.search_steps is None or round_number in (0, config.rounds)
    # A user's own control is not in `CONTROLS`; it has no training in round 0.
    in_round_0 = {TICKET, *(name for name, control in CONTROLS.items() if control.round_0)}
    trained = [name for name in config.variants if round_number > 0 or name in in_round_0]
    return [*([SEARCH] if searches else []), *(trained if tickets else [])]


def needs(config: Config, job: Job) -> list[Job]:
    """Return the trainings that must be committed before a job can start.

    They are those that its masks, its weights or its optimizer state come from.

    Args:
        config: the experiment.
        job: a training of it.
    """
    source, dense = mask_source(config, job), Job(job.replicate, 0)
    needed = [source] if source else []
    if before := continued_job(job):
        needed.append(before)
    if job != dense and not starts_dense(config, job):
        needed.append(dense)  # it takes the rewind state
    return list(dict.fromkeys(needed))


def starts_dense(config: Config, job: Job) -> bool:
    """Return whether a job starts at step 0 with the initial weights, nothing pruned.

    So does the ticket or search of round 0, and every early-bird search.

    Args:
        config: the experiment.
        job: a training of it.
    """
    return job.variant in (TICKET, SEARCH) and (
        job.round == 0 or (job.variant == SEARCH and config.pruning == "early_bird")
    )


def continued_job(job: Job) -> Job | None:
    """Return the training that a control continues; None for a job that continues no training of another round."""
    control = CONTROLS.get(job.variant)
    if control is None or not control.continues_previous_round:
        return None
    return Job(job.replicate, job.round - 1, job.variant) if job.round > 1 else Job(job.replicate, 0)


def mask_source(config: Config, job: Job) -> Job | None:
    """Return the training whose weights are scored for the masks of a job, or None if no training is.

    A control has the source of its ticket, from whose masks its own are made.

    Args:
        config: the experiment.
        job: a training of it.
    """
    if job.round == 0 or config.pruning == "before_training" or config.tickets_from:
        return None
    if config.pruning == "one_shot":
        return Job(job.replicate, 0)
    if config.pruning == "early_bird":
        return None if job.variant == SEARCH else Job(job.replicate, job.round, SEARCH)
    return Job(job.replicate, job.round - 1, TICKET if config.search_steps is None else SEARCH)


def weights_source(config: Config, job: Job) -> Job | None:
    """Return the training whose weights a job's ticket starts with; None if it starts with the rewind state.

    Args:
        config: the experiment.
        job: a training of it.
    """
    return mask_source(config, job) if config.rewind_point.mode in (LEARNING_RATE, FINETUNE) else None


def sources(config: Config, job: Job) -> list[Job]:
    """Return the trainings that the masks of a job come from, the first one first: the cost of finding the masks.

    Args:
        config: the experiment.
        job: a training of it.
    """
    chain: list[Job] = []
    source = mask_source(config, job)
    while source is not None:
        chain.insert(0, source)
        source = mask_source(config, source)
    return chain


def ready(config: Config, waiting: Iterable[Job], done: set[Job]) -> list[Job]:
    """Return the jobs that can start now, those first on which most others depend.

    Args:
        config: the experiment.
        waiting: the trainings that are not started.
        done: the trainings that are committed.
    """
    return sorted((job for job in waiting if done.issuperset(needs(config, job))), key=urgency)


def urgency(job: Job) -> tuple[bool, int, int, str]:
    """Return what trainings that can start are sorted by: tickets first, since others wait for them, then by round.

    Args:
        job: the training.
    """
    return job.variant not in (TICKET, SEARCH), job.round, job.replicate, job.variant

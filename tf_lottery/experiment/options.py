"""The options of an experiment: all that decides its results, and how far and where it runs. No TensorFlow.

They are one file, so that each is declared once and all can be read together.

To add an option, add a field here and describe it under `Attributes`; checks, the hash and the command line follow.
"""

from dataclasses import dataclass
from functools import cached_property

from tf_lottery.experiment.controls import CONTROLS
from tf_lottery.experiment.option import option
from tf_lottery.experiment.rewind_point import RewindPoint, rewind_point
from tf_lottery.pruning import criteria as scoring
from tf_lottery.pruning.distributions import DISTRIBUTIONS, UNIFORM
from tf_lottery.pruning.granularities import GRANULARITIES, INDIVISIBLE, UNSTRUCTURED, is_group_pattern
from tf_lottery.pruning.ranking import SCOPES
from tf_lottery.utils.references import is_local, is_reference
from tf_lottery.utils.tf_config import NONE, STRATEGIES

DEFAULT_VARIANTS = ("ticket", "random_reinit")
PRUNINGS = {
    "iterative": "masks from the trained ticket of the round before",
    "one_shot": "masks of every round from the trained dense network",
    "before_training": "masks from the start weights, before anything is trained",
    "early_bird": "masks from a dense training that stops when its masks hardly change",
}
LR_SCHEDULES = ("constant", "step", "cosine")
OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "lion", "nadam", "adagrad", "adadelta", "adamax", "ftrl")
MOMENTUM = ("sgd", "rmsprop", "user")  # those that take `momentum`; "user" is a Python caller's own
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
NORMALIZATIONS = ("none", "unit", "standard")
XLA = ("auto", "on", "off")
SPARSE = ("auto", "on", "off")
DEVICES = ("auto", "cpu", "gpu")
LAUNCHERS = ("local", "ray", "slurm")
# Steps are counted in 32-bit integers.
MOST_STEPS = 2**31 - 2
_LENGTH = {"limit": MOST_STEPS, "requirement": "positive and below 2**31"}
BY_LAYER, FOR_ALL_OR_BY_LAYER = "PATTERN=NUMBER", "[PATTERN=]NUMBER"
_RATE = {"minimum": 0, "maximum": 1, "open_maximum": True, "example": 0.2}


def variants() -> tuple[str, ...]:
    """Return the names of all variants: the ticket, and the controls in the order of their registration."""
    return ("ticket", *CONTROLS)


@dataclass(frozen=True)
class Options:
    """The options of an experiment.

    Attributes:
        preset: name of the preset that the configuration started from; names the run directory.
        dataset: name of the data set.
        data_dir: folder of prepared data sets or raw files; None looks in the usual places.
        normalization: how inputs are scaled: "none", "unit" (to [0, 1]) or "standard" (zero mean, unit deviation).
        validation: size of the validation part, a count or a fraction; None takes the data set's own.
        classes: labels of the classes to use, numbered 0, 1, ... in this order; all classes if empty.
        pad_crop: pixels of zero padding before a random crop, as augmentation; 0 for none.
        flip: whether images are flipped horizontally at random, as augmentation.
        model: an architecture's name, `package.module:function`, or the path of a `.keras` file.
        include: names or patterns of the only layers to prune, as for `wrap`.
        exclude: names or patterns of layers not to prune, as for `wrap`.
        rounds: rounds of pruning after the dense round 0.
        rate: fraction of the surviving weights that a round prunes.
        output_rate: rate of the output layer; None takes half of `rate`.
        conv_rate: rate of convolutions; None takes `rate`.
        layer_rates: rates by weight path or glob pattern, stronger than those of roles: a mapping, or texts
            PATTERN=RATE.
        min_density: least density (kept / total) of the arrays: a number for all, a mapping by path or pattern, or
            texts PATTERN=DENSITY. An array that reaches it is not pruned further.
        max_density: greatest density likewise: the first round already comes down to it.
        final_density: density to reach in the last round by equal rates, instead of `rate`.
        densities: density of each round, instead of a rate: a ladder, or a function of the round's number.
        scope: which weights are ranked together: "layerwise" or "global".
        distribution: how the weights that a round keeps are divided among the arrays: "uniform" (by the rates, or as
            `scope` says), "erk" or "lamp".
        criterion: the score by which weights are ranked: a registered name, `package.module:function`, or a function,
            from weights (arrays by path) to scores of the same shapes.
        score_examples: number of training examples for criteria that look at data.
        pruning: where the masks of a round come from. "iterative": from the ticket of the round before; "one_shot":
            from the trained dense network; "before_training": from the start weights; "early_bird": from a dense
            training that stops when its masks hardly change (You et al. 2020, arXiv 1909.11957).
        search_steps: with iterative pruning, steps of trainings that only find masks; round 0 and the last round are
            then trained in full. None trains every round in full.
        mask_distance: fraction of the kept weights by which masks may still differ when an early-bird search stops.
        tickets_from: path of a run whose masks and rewind weights are trained here.
        tickets_hash: digest of that run's configuration and rewind weights.
        granularity: the units in which weights are pruned, or a pattern N:M under which they are.
        indivisible: what happens to weights that do not divide into such units: "error", "skip" or "unstructured".
        rewind: where tickets start: "init", "step:K", "epoch:K"; "lr" (learning-rate rewinding), "lr:step:K",
            "lr:epoch:K"; "finetune", "finetune:step:N", "finetune:epoch:N"; a `RewindPoint`; or a function, from the
            steps of a full training to the step to rewind to, or its `package.module:function`.
        steps: length of a full training, in steps; None if it is given in epochs.
        epochs: length of a full training, in epochs; None if it is given in steps.
        batch_size: examples per step.
        optimizer: name of the optimizer.
        learning_rate: learning rate, before the schedule.
        lr_schedule: learning rate over a full training: "constant", "step" (times `lr_drop` at each of the steps
            `lr_milestones`) or "cosine" (down to zero).
        lr_milestones: steps at which the schedule "step" drops the learning rate.
        lr_drop: factor of each drop of the schedule "step".
        warmup: steps of linear warm-up, before any schedule.
        momentum: momentum of the optimizers that have one.
        weight_decay: decoupled weight decay per step.
        eval_every: steps between evaluations.
        seed: seed of everything that is random.
        replicates: number of chains of rounds, each with its own initial weights and data order.
        variants: "ticket" and the controls that are trained beside it: registered names, `package.module:name`, a
            `Control`, or a function as a control's `start`.
        jobs: number of processes; 0 for as many as the cores allow.
        threads: threads of one training.
        xla: whether steps are compiled by XLA: "auto", "on" or "off".
        sparse: whether masked dense layers and convolutions train by the sparse kernels, with the kept weights alone:
            "auto" where that is faster, "on" wherever it can be, or "off". The results differ by the order of sums.
        precision: dtype policy of the computation.
        device: where to compute: "auto", "cpu" or "gpu".
        strategy: how one training is divided among devices: "none"; "mirrored" over those of this machine;
            "multi-worker" over processes, each of which runs the same command with its own `TF_CONFIG`.
        strategy_devices: how many devices of a machine train under a strategy; 0 for all GPUs, and where there is none
            for two parts of the processor (mirrored) or the processor as a whole (multi-worker).
        synchronized_batch_norm: whether batch normalization computes with the batch of all replicas of a strategy, as
            without one; otherwise each with its own slice, and moving statistics are the mean of all.
        launcher: where the trainings go: "local" for processes on this machine, "ray" or "slurm" for a cluster.
        address: of a running Ray cluster; None starts one on this machine.
        launcher_options: options of the launcher, as texts NAME=VALUE: of ray `num_gpus` (of one training), of slurm
            those of submitit, such as `slurm_partition` and `timeout_min`, and `cluster`.
        mixed_machines: whether the workers of a cluster may have different processors or versions, so that results are
            not bit for bit those of one kind.
    """

    preset: str = option("custom", "Named experiment to start from.", hashed="never", on_command_line=False)
    dataset: str = option("digits", "Data set: see `tf_lottery.data.describe()`.")
    data_dir: str | None = option(None, "Folder of prepared data sets or raw files.", hashed="never")
    normalization: str = option("unit", "How inputs are scaled.", choices=NORMALIZATIONS, earlier_name="normalisation")
    validation: float | None = option(
        None,
        "Validation part: a count, or a fraction.",
        minimum=0,
        open_minimum=True,
        requirement="a positive count or fraction",
        count_or_fraction=True,
    )
    classes: tuple[int, ...] = option(
        (), "Only these classes, e.g. 0,1,2,3,4; renumbered.", hashed="if set", metavar="class numbers"
    )
    pad_crop: int = option(0, "Augment by random crops after padding by so many pixels.", minimum=0)
    flip: bool = option(False, "Augment by random horizontal flips.")
    model: str = option("mlp", "Architecture, package.module:function, or a .keras file.")
    include: tuple[str, ...] = option((), "Prune only these layers. Repeatable.", metavar="PATTERN")
    exclude: tuple[str, ...] = option((), "Do not prune these layers. Repeatable.", metavar="PATTERN")
    rounds: int = option(
        10,
        "Rounds of pruning after the dense round 0.",
        minimum=0,
        limit=1000,
        # Otherwise more rounds extend a run; here the last round is another one.
        hashed_when=lambda config: config.final_density is not None or config.search_steps is not None,
    )
    rate: float = option(0.2, "Fraction of the surviving weights pruned per round.", **_RATE)
    output_rate: float | None = option(None, "Rate of the output layer; half of `rate` by default.", **_RATE)
    conv_rate: float | None = option(None, "Rate of convolutions; `rate` by default.", **_RATE)
    layer_rates: tuple[str, ...] = option(
        (), "Rates of layers by weight path or pattern, e.g. conv*=0.1. Repeatable.", hashed="if set", metavar=BY_LAYER
    )
    min_density: tuple[str, ...] = option(
        (), "Least density of a layer, for all or by pattern. Repeatable.", hashed="if set", metavar=FOR_ALL_OR_BY_LAYER
    )
    max_density: tuple[str, ...] = option(
        (), "Greatest density, likewise. Repeatable.", hashed="if set", metavar=FOR_ALL_OR_BY_LAYER
    )
    final_density: float | None = option(
        None,
        "Density to reach in the last round, by equal rates.",
        minimum=0,
        open_minimum=True,
        maximum=1,
        example=0.05,
    )
    densities: tuple[float, ...] = option((), "A ladder such as 1,0.5,0.2 instead of a rate.", metavar="densities")
    scope: str = option("layerwise", "What is ranked together.", choices=SCOPES)
    distribution: str = option(
        UNIFORM,
        "How what a round keeps is divided among the layers.",
        choices=DISTRIBUTIONS,
        hashed="if set",
    )
    criterion: str = option(
        "magnitude",
        "Score that ranks weights: see `tf_lottery.experiment.options.variants()`, or package.module:function.",
        choices=lambda: tuple(scoring.CRITERIA),
        importable=True,
    )
    score_examples: int = option(
        1000,
        "Training examples that snip and grasp look at.",
        minimum=1,
        hashed="if set",
        # What a user's own criterion looks at is not known where its module is not.
        hashed_when=lambda config: is_reference(config.criterion) or config.scores_examples,
    )
    pruning: str = option(
        "iterative", "Where the masks of a round come from.", choices=tuple(PRUNINGS), hashed="if set"
    )
    search_steps: int | None = option(
        None, "Steps of trainings that only find masks; the last is full.", minimum=1, hashed="if set", **_LENGTH
    )
    mask_distance: float = option(
        0.1,
        "How far masks may still move where an early-bird search stops.",
        minimum=0,
        maximum=1,
        open_minimum=True,
        open_maximum=True,
        example=0.1,
        hashed="if set",
        hashed_when=lambda config: config.pruning == "early_bird",
    )
    tickets_from: str | None = option(
        None, "Train the tickets of another run, on other data or classes.", hashed="never", metavar="RUN"
    )
    tickets_hash: str = option("", "Digest of the run that tickets come from.", hashed="if set", on_command_line=False)
    granularity: str = option(
        UNSTRUCTURED,
        "In what units weights are pruned; or another pattern N:M.",
        choices=GRANULARITIES,
        accepts=is_group_pattern,
    )
    indivisible: str = option(
        "error",
        "What is done with weights that do not divide so; skip keeps them whole.",
        choices=INDIVISIBLE,
        hashed="if set",
        hashed_when=lambda config: config.granularity != UNSTRUCTURED,
    )
    rewind: str = option(
        "init", "init, step:K, epoch:K, lr, lr:step:K, lr:epoch:K, finetune, finetune:step:N.", metavar="MODE"
    )
    steps: int | None = option(1000, "Training steps per round.", minimum=1, **_LENGTH)
    epochs: float | None = option(
        None, "Epochs per round, instead of `steps`.", minimum=0, open_minimum=True, **_LENGTH
    )
    batch_size: int = option(60, "Examples per step.", minimum=1)
    optimizer: str = option("adam", "Name of the optimizer.", choices=OPTIMIZERS, unlisted=("user",))
    learning_rate: float = option(1e-3, "Learning rate.", minimum=0)
    lr_schedule: str = option(
        "constant", "How the learning rate falls over a full training.", choices=LR_SCHEDULES, hashed="if set"
    )
    lr_milestones: tuple[int, ...] = option(
        (), "Steps where the schedule `step` drops it.", hashed="if set", metavar="steps"
    )
    lr_drop: float = option(0.1, "Factor of each such drop.", minimum=0, maximum=1, hashed="if set")
    warmup: int = option(0, "Steps of linear warm-up before the schedule.", minimum=0, hashed="if set")
    momentum: float = option(0.0, "Momentum of sgd and rmsprop.", **_RATE)
    weight_decay: float = option(0.0, "Decoupled weight decay.", minimum=0)
    eval_every: int = option(250, "Steps between evaluations.", minimum=1)
    seed: int = option(0, "Seed of everything that is random.", minimum=0)
    replicates: int = option(
        1, "Chains of rounds, each with other initial weights.", minimum=1, limit=1000, hashed="never"
    )
    variants: tuple[str, ...] = option(
        DEFAULT_VARIANTS,
        "Ticket and controls: see `tf_lottery.experiment.options.variants()`, or package.module:control.",
        choices=variants,
        importable=True,
        hashed="never",
    )
    jobs: int = option(0, "Processes at once; 0: as many as the cores hold.", minimum=0, limit=1024, hashed="never")
    threads: int = option(1, "Threads of one training.", minimum=1, limit=1024)
    xla: str = option("auto", "Compile with XLA; auto: where it pays.", choices=XLA)
    sparse: str = option(
        "auto", "Train layers by the sparse kernels; auto: where it pays.", choices=SPARSE, hashed="if set"
    )
    precision: str = option("float32", "Precision of the computation.", choices=PRECISIONS)
    device: str = option("auto", "Where to compute.", choices=DEVICES, hashed="never")
    strategy: str = option(
        NONE, "Divide each training among devices or processes.", choices=STRATEGIES, hashed="if set"
    )
    strategy_devices: int = option(
        0,
        "Devices of a machine that a strategy takes; 0: all GPUs, or parts of the processor.",
        minimum=0,
        limit=1024,
        hashed="if set",
    )
    synchronized_batch_norm: bool = option(
        False, "Normalize by the batch of all replicas of a strategy.", hashed="if set"
    )
    launcher: str = option("local", "Where the trainings go.", choices=LAUNCHERS, hashed="never")
    address: str | None = option(None, "Of a running Ray cluster.", hashed="never")
    launcher_options: tuple[str, ...] = option(
        (), "Options of the launcher, e.g. timeout_min=60. Repeatable.", hashed="never", metavar="NAME=VALUE"
    )
    mixed_machines: bool = option(False, "Let machines of several kinds train one run.", hashed="never")

    @cached_property
    def rewind_point(self) -> RewindPoint:
        """The rewind mode and position that `rewind` states."""
        return rewind_point(self.rewind)

    @property
    def scores_examples(self) -> bool:
        """Whether the criterion looks at training examples."""
        return bool({"gradients", "hessian_gradients"} & scoring.needs(self.criterion))

    @property
    def prunes_single_weights(self) -> bool:
        """Whether the units of pruning are single weights, with or without a pattern N:M."""
        return self.granularity == UNSTRUCTURED or is_group_pattern(self.granularity)

    @property
    def own_functions(self) -> dict[str, str]:
        """What a user's own functions and objects are, by the names that refer to them."""
        own = {self.criterion: "criterion", self.rewind_point.function: "rewind function"}
        own |= dict.fromkeys(self.variants, "control")
        return {name: what for name, what in own.items() if is_reference(name)}

    @property
    def needs_this_process(self) -> list[str]:
        """The names of the user's own functions that no other process can import."""
        return [name for name in self.own_functions if is_local(name)]

    @property
    def chained(self) -> bool:
        """Whether the masks of each round come from the full training of the ticket before."""
        return self.pruning == "iterative" and self.search_steps is None and not self.tickets_from

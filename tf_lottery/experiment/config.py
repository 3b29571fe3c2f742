"""The configuration of an experiment: a frozen dataclass, checked when made, with a JSON round trip and a hash."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_args, get_origin

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config_file import with_current_keys
from tf_lottery.experiment.controls import CONTROLS
from tf_lottery.experiment.rewind_point import FINETUNE, LEARNING_RATE, rewind_point
from tf_lottery.pruning import criteria as scoring
from tf_lottery.pruning import rates as schedule
from tf_lottery.pruning.select import SCOPES
from tf_lottery.pruning.units import GRANULARITIES, INDIVISIBLE, UNSTRUCTURED
from tf_lottery.utils.text import suggestion

DEFAULT_VARIANTS = ("ticket", "random_reinit")
PRUNINGS = ("iterative", "one_shot", "before_training", "early_bird")
LR_SCHEDULES = ("constant", "step", "cosine")
OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "lion", "nadam", "adagrad", "adadelta", "adamax", "ftrl")
MOMENTUM = ("sgd", "rmsprop", "user")  # those that take `momentum`; "user" is a Python caller's own
MOST = 1000  # rounds and replicates
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
NORMALIZATIONS = ("none", "unit", "standard")
# Keys that are called otherwise in the hash, so that a run of version 0.1 has the hash that it had.
HASHED_AS = {"normalization": "normalisation"}
# What only extends a run, or says where it runs, is not in its hash.
NOT_HASHED = frozenset({"preset", "rounds", "replicates", "variants", "jobs", "device", "data_dir", "tickets_from"})
# Hashed only where they are not the default, so that a run of an earlier version is found again.
HASHED_IF_SET = frozenset(
    {
        *("classes", "lr_schedule", "lr_milestones", "lr_drop", "warmup"),
        *("pruning", "search_steps", "mask_distance", "score_examples", "tickets_hash"),
        "indivisible",
    }
)


@dataclass(frozen=True)
class Config:
    """Everything that decides the results of an experiment, and how far and where it runs.

    Attributes:
        preset: name of the preset it started from; names the run directory.
        dataset, data_dir, normalization, validation: which data, where, how it is scaled, and the size (count or
            fraction) of the validation part; None takes the data set's own.
        classes: which classes are used, in their new order 0, 1, ...; all of them if none is named.
        pad_crop, flip: augmentation: random crops after zero padding by so many pixels; random horizontal flips.
        model: an architecture, `package.module:function`, or a `.keras` file.
        include, exclude: which weights to mask, as for `wrap`.
        optimizer, learning_rate, momentum, weight_decay: of the optimizer; weight decay is decoupled.
        lr_schedule, lr_milestones, lr_drop: "constant"; "step": times `lr_drop` at each of the steps `lr_milestones`;
            "cosine": down to zero over a full training.
        warmup: steps of linear warm-up before any of them.
        batch_size, steps, epochs: examples per step; length of a full training in steps, or in epochs.
        rounds: rounds of pruning after the dense round 0.
        rate, output_rate, conv_rate: fraction of the surviving weights pruned per round; the output layer's is half of
            `rate` and a convolution's is `rate` unless given.
        final_density: density to reach in the last round by equal rates, instead of `rate`.
        densities: an explicit ladder of densities, instead of a rate.
        scope, criterion, granularity: what is ranked together, by what score, in what units.
        indivisible: what is done with weights that do not divide into such units: "error", "skip", "unstructured".
        score_examples: how many training examples a criterion looks at that needs data.
        pruning: where the masks of a round come from. "iterative": from the ticket of the round before; "one_shot":
            from the trained dense network; "before_training": from the start weights; "early_bird": from a dense
            training that stops when the masks settle (You et al. 2020, arXiv 1909.11957).
        search_steps: with iterative pruning, steps of the trainings that only find masks; round 0 and the last round
            are then trained in full.
        mask_distance: the fraction of kept weights by which masks may still differ where an early-bird search stops.
        tickets_from, tickets_hash: a run whose masks and rewind weights are trained here; what tells it from others.
        rewind: "init", "step:K", "epoch:K"; "lr" (learning-rate rewinding), "lr:step:K", "lr:epoch:K"; "finetune",
            "finetune:step:N", "finetune:epoch:N".
        eval_every: steps between evaluations.
        seed, replicates, variants: the seed of everything; chains of rounds; "ticket" and controls.
        xla, threads, precision: "auto", "on" or "off"; threads of one chain; dtype policy.
        jobs, device: processes (0: as many as the cores allow); "auto", "cpu" or "gpu".
    """

    preset: str = "custom"
    dataset: str = "digits"
    data_dir: str | None = None
    normalization: str = "unit"
    validation: float | None = None
    classes: tuple[int, ...] = ()
    pad_crop: int = 0
    flip: bool = False
    model: str = "mlp"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.0
    weight_decay: float = 0.0
    lr_schedule: str = "constant"
    lr_milestones: tuple[int, ...] = ()
    lr_drop: float = 0.1
    warmup: int = 0
    batch_size: int = 60
    steps: int | None = 1000
    epochs: float | None = None
    rounds: int = 10
    rate: float = 0.2
    output_rate: float | None = None
    conv_rate: float | None = None
    final_density: float | None = None
    densities: tuple[float, ...] = ()
    scope: str = "layerwise"
    criterion: str = "magnitude"
    granularity: str = UNSTRUCTURED
    indivisible: str = "error"
    score_examples: int = 1000
    pruning: str = "iterative"
    search_steps: int | None = None
    mask_distance: float = 0.1
    tickets_from: str | None = None
    tickets_hash: str = ""
    rewind: str = "init"
    eval_every: int = 250
    seed: int = 0
    replicates: int = 1
    variants: tuple[str, ...] = DEFAULT_VARIANTS
    xla: str = "auto"
    threads: int = 1
    precision: str = "float32"
    jobs: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("include", "exclude", "densities", "variants", "classes", "lr_milestones"):
            value = getattr(self, name)
            single = isinstance(value, str | float | int)
            object.__setattr__(self, name, (value,) if single else () if value is None else tuple(value))
        self._check_types()
        self._check_choices()
        self._check_ranges()
        if self.densities:
            rungs = schedule.ladder(self.densities)
            object.__setattr__(self, "densities", rungs)
            object.__setattr__(self, "rounds", min(self.rounds, len(rungs) - 1))
        rewind_point(self.rewind)
        self._check_combinations()

    def _check_types(self) -> None:
        for field in fields(self):
            value, kinds = getattr(self, field.name), get_args(field.type) or (field.type,)
            if get_origin(field.type) is tuple:
                kind = get_args(field.type)[0]
                good = all(_is_a(item, kind) for item in value)
            else:
                good = any(_is_a(value, kind) for kind in kinds)
            if not good:
                names = " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds if kind is not Ellipsis)
                raise UsageError(f"`{field.name}` must be {names}. Received: {value!r}.", "Correct the configuration.")
            if float in kinds and isinstance(value, int) and field.name != "validation":
                object.__setattr__(self, field.name, float(value))

    def _check_choices(self) -> None:
        choices = {
            "scope": SCOPES,
            "criterion": tuple(scoring.CRITERIA),
            "granularity": GRANULARITIES,
            "indivisible": INDIVISIBLE,
            "optimizer": (*OPTIMIZERS, "user"),
            "precision": PRECISIONS,
            "normalization": NORMALIZATIONS,
            "pruning": PRUNINGS,
            "lr_schedule": LR_SCHEDULES,
            "xla": ("auto", "on", "off"),
            "device": ("auto", "cpu", "gpu"),
        }
        for name, valid in choices.items():
            if getattr(self, name) not in valid:
                raise UsageError(f"Unknown {name} {getattr(self, name)!r}.", suggestion(getattr(self, name), valid))
        known = variants()
        for variant in self.variants:
            if variant not in known:
                raise UsageError(f"Unknown variant {variant!r}.", suggestion(str(variant), known))
        if "ticket" not in self.variants:
            # Controls branch off the ticket's masks, so the ticket is always trained.
            object.__setattr__(self, "variants", ("ticket", *self.variants))
        object.__setattr__(self, "variants", tuple(name for name in known if name in self.variants))

    def _check_ranges(self) -> None:
        least = {"batch_size": 1, "eval_every": 1, "rounds": 0, "replicates": 1, "threads": 1, "jobs": 0, "pad_crop": 0}
        least |= {"warmup": 0, "score_examples": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise UsageError(f"`{name}` must be at least {bound}. Received: {getattr(self, name)}.")
        for name in ("rounds", "replicates"):
            if getattr(self, name) > MOST:
                raise UsageError(f"`{name}` must be at most {MOST}. Received: {getattr(self, name)}.")
        if self.momentum and self.optimizer not in MOMENTUM:
            raise UsageError(
                f"`momentum` is of {' and '.join(MOMENTUM[:2])}. Received: {self.momentum} for {self.optimizer}.",
                "Drop it, or choose another optimizer.",
            )
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.preset):
            raise UsageError(
                f"`preset` names a directory: letters, digits, '.', '_' and '-'. Received: {self.preset!r}.",
                "Choose another name.",
            )
        if (self.steps is None) == (self.epochs is None):
            raise UsageError("Give either `steps` or `epochs`, the length of a training.", "Drop one of them.")
        for name in ("steps", "epochs", "search_steps"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 2**31 - 1:
                raise UsageError(f"`{name}` must be positive and below 2**31. Received: {value}.")
        for name in ("rate", "output_rate", "conv_rate", "momentum"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise UsageError(f"`{name}` must be in [0, 1). Received: {value}.", "Pass e.g. 0.2.")
        if not 0 < self.mask_distance < 1:
            raise UsageError(f"`mask_distance` must be in (0, 1). Received: {self.mask_distance}.", "Pass e.g. 0.1.")
        for name in ("learning_rate", "weight_decay", "lr_drop"):
            if getattr(self, name) < 0:
                raise UsageError(f"`{name}` must not be negative. Received: {getattr(self, name)}.")
        if self.validation is not None and self.validation <= 0:
            raise UsageError(f"`validation` must be a positive count or fraction. Received: {self.validation}.")
        if self.densities and (self.final_density or self.output_rate is not None or self.conv_rate is not None):
            raise UsageError(
                "`densities` is a ladder for all weights alike: it excludes other rates and final_density."
            )
        if self.final_density is not None:
            schedule.rate_to_reach(self.final_density, self.rounds)
        if self.seed < 0:
            raise UsageError(f"`seed` must not be negative. Received: {self.seed}.")

    def _check_combinations(self) -> None:
        mode = rewind_point(self.rewind).mode
        if self.search_steps is not None and self.pruning != "iterative":
            raise UsageError(
                f"`search_steps` shortens the rounds of iterative pruning. Received: pruning {self.pruning!r}.",
                "Drop one of them.",
            )
        if self.pruning == "before_training" and mode in (LEARNING_RATE, FINETUNE):
            raise UsageError(
                f"Pruning before training has no trained weights to go on from. Received: rewind {self.rewind!r}.",
                "Rewind to init, step:K or epoch:K.",
            )
        if mode == FINETUNE and (self.search_steps is not None or self.pruning == "early_bird"):
            raise UsageError(
                "Fine-tuning goes on from full trainings, and a search is none.", "Rewind to 'lr' to train on from it."
            )
        self._check_controls()
        if self.lr_drop != type(self).lr_drop and self.lr_schedule != "step":
            raise UsageError(
                f"`lr_drop` is of the learning-rate schedule 'step'. Received: schedule {self.lr_schedule!r}.",
                "Drop it, or choose that schedule.",
            )
        looks_back = {"changes", "initial"} & scoring.needs(self.criterion)
        if looks_back and self.pruning in ("before_training", "early_bird"):
            raise UsageError(
                f"Criterion {self.criterion!r} looks back on a whole training. Received: pruning {self.pruning!r}.",
                "Prune iteratively or in one shot.",
            )
        if self.criterion in scoring.GLOBAL and self.scope != "global":
            raise UsageError(
                f"Criterion {self.criterion!r} ranks all weights of the network together. Received: scope "
                f"{self.scope!r}.",
                "Pass scope 'global'.",
            )
        if self.criterion in scoring.GLOBAL and {self.output_rate, self.conv_rate} - {None, self.rate}:
            raise UsageError(
                f"Criterion {self.criterion!r} ranks all weights of the network together: they have one rate.",
                "Drop `output_rate` and `conv_rate`.",
            )
        if self.tickets_from and (self.pruning != "iterative" or self.search_steps is not None):
            raise UsageError("`tickets_from` brings its own masks: it excludes `pruning` and `search_steps`.")
        if self.tickets_from and mode in (LEARNING_RATE, FINETUNE):
            raise UsageError("A transferred ticket starts from the rewind weights of its run.", "Use rewind 'init'.")

    def _check_controls(self) -> None:
        for name in self.variants:
            if name in CONTROLS and CONTROLS[name].continues_previous_round and not self.chained:
                raise UsageError(
                    f"The control {name!r} trains as long as all rounds of the ticket together: it goes with iterative "
                    "pruning, each round trained in full.",
                    "Drop that control, or `pruning`, `search_steps` or `tickets_from`.",
                )

    @property
    def chained(self) -> bool:
        """Whether each round's masks come from the full training of the ticket before."""
        return self.pruning == "iterative" and self.search_steps is None and not self.tickets_from

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v for f in fields(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Config":
        """The configuration of a document made by `to_json`, of version 0.1 too; what it leaves out has its default.

        Raises:
            UsageError: a key is unknown, or a value is out of range.
        """
        names = [field.name for field in fields(cls)]
        document = with_current_keys(document)
        for key in document:
            if key not in names:
                raise UsageError(f"Unknown configuration key {key!r}.", suggestion(str(key), names))
        return cls(**document)

    def _unused(self) -> set[str]:
        """Keys that decide nothing in this configuration."""
        needs_data = {"gradients", "hessian_gradients"} & scoring.needs(self.criterion)
        return (
            ({"mask_distance"} if self.pruning != "early_bird" else set())
            | (set() if needs_data else {"score_examples"})
            | ({"indivisible"} if self.granularity == UNSTRUCTURED else set())
        )

    def updated(self, **changes: Any) -> "Config":
        """A copy with other values, checked again."""
        return replace(self, **changes)

    def hash(self, **extra: Any) -> str:
        """Ten hexadecimal digits of the SHA-256 of all that decides the results.

        Args:
            **extra: what else does, e.g. the configuration of a user's model.
        """
        defaults = {field.name: field.default for field in fields(self)}
        content = {
            HASHED_AS.get(key, key): value
            for key, value in self.to_json().items()
            if key not in NOT_HASHED
            and not (key in HASHED_IF_SET and getattr(self, key) == defaults[key])
            and key not in self._unused()
        } | extra
        if self.final_density is not None or self.search_steps is not None:  # the last round is another one, then
            content["rounds"] = self.rounds
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def variants() -> tuple[str, ...]:
    """The names of all variants: the ticket, and the controls in the order of their registration."""
    return ("ticket", *CONTROLS)


def _is_a(value: object, kind: Any) -> bool:
    """Whether a value is of a kind; an integer is a finite float, a boolean is no number."""
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)

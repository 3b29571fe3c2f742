"""The studies by name, and `analyze`, which carries one out. No TensorFlow."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from tf_lottery.errors import UsageError
from tf_lottery.studies.study_outcome import StudyOutcome
from tf_lottery.studies.study_run import StudyRun
from tf_lottery.utils.text import suggestion


@dataclass(frozen=True)
class Study:
    """A study: a function from a `StudyRun` to a `StudyOutcome`, and the arguments that it takes.

    Attributes:
        summary: one line for listings.
        function: the place of the function, "module:function" below this package; loaded when it is used.
        variants: the controls that the study needs; the command line trains those that a run lacks.
        second: whether the study takes a second run, as the argument `other`: "no", "perhaps" or "yes".
        options: the names of its keyword options, e.g. "points".
    """

    summary: str
    function: str
    variants: tuple[str, ...] = ()
    second: str = "no"
    options: tuple[str, ...] = ()

    def load(self) -> Callable[..., StudyOutcome]:
        """Import and return the function."""
        module, name = self.function.split(":")
        return cast("Callable[..., StudyOutcome]", getattr(import_module(f"{__package__}.{module}"), name))


STUDIES = {
    "stability": Study("distance and angle between the full network's weights and the ticket's", "stability:study"),
    "instability": Study(
        "error barrier between two trainings of a ticket under two data orders",
        "instability:study",
        variants=("other_order",),
        options=("points",),
    ),
    "rounds-barrier": Study(
        "error barrier between the tickets of successive rounds", "rounds_barrier:study", options=("points",)
    ),
    "overlap": Study("masks of replicates, rounds and runs against chance", "overlap:study", second="perhaps"),
    "survivors": Study("weights, signs and live units that a ticket keeps, by layer", "survivors:study"),
    "weight-noise": Study(
        "accuracy under Gaussian noise on trained and on initial weights", "weight_noise:study", options=("draws",)
    ),
    "corruption": Study(
        "accuracy on noisy, blurred, faded and occluded inputs", "corruption:study", options=("test_examples",)
    ),
    "attacks": Study("accuracy under FGSM and PGD attacks", "attacks:study", options=("test_examples",)),
    "transfer": Study("a ticket of another run against the native one", "transfer:study", second="perhaps"),
}


def find_study(name: str) -> Study:
    """Return the study of a name.

    Raises:
        UsageError: no study has this name.
    """
    if name not in STUDIES:
        raise UsageError(f"Unknown study {name!r}.", suggestion(name, STUDIES))
    return STUDIES[name]


def check_arguments(name: str, *, second: bool, options: dict[str, Any]) -> Study:
    """Return the study of a name, after a check of the arguments for it.

    Args:
        name: one of `STUDIES`.
        second: whether a second run is given.
        options: the options of the study, by name.

    Raises:
        UsageError: there is no such study, it takes no (or needs a) second run, or it has no option of a name.
    """
    study = find_study(name)
    if second and study.second == "no":
        raise UsageError(f"The study {name!r} is of one run. Received a second one.", "Leave it out.")
    if not second and study.second == "yes":
        raise UsageError(f"The study {name!r} compares two runs. Received one.", "Name the second one.")
    for option in options:
        if option not in study.options:
            takes = ", ".join(study.options) or "no options of its own"
            raise UsageError(f"The study {name!r} has no option `{option}`.", f"It takes {takes}.")
    return study


def analyze(name: str, run: StudyRun, other: StudyRun | None = None, **options: Any) -> StudyOutcome:
    """Carry out a study of a run, from its committed trainings; `extending.extend_run` trains what a study lacks.

    Args:
        name: one of `STUDIES`.
        run: the run to study.
        other: a second run, for studies that take one.
        **options: options of the study, e.g. `points=11`.

    Raises:
        UsageError: there is no such study, it takes no (or needs a) second run, or it has no option of a name.
        UnfitError: a training that the study needs is missing, or the run is not fit for it.

    Example:
        `analyze("stability", StudyRun("runs/digits-mlp-2fec9716f7")).sentences`
    """
    study = check_arguments(name, second=other is not None, options=options)
    run.require(*study.variants)
    if other is not None:
        options["other"] = other
    return study.load()(run, **options)

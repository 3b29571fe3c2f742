"""What each output of a model holds (classes, yes or no, numbers, an image), and how that is known. NumPy only.

The kind of an output decides how files are compared with the Keras model, and what the accuracy budget is about: of
classes, predictions that differ; of anything else, the error relative to the outputs' spread. The caller's `task` is
taken first, then the loss that the model was compiled with, then the labels, then the last activation. An output of
which nothing is known is compared as numbers: that is right for every output, only stricter than need be for classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tf_lottery.errors import UsageError
from tf_lottery.exporting.labels import CLASSES, NUMBERS, YES_OR_NO, are_distributions, width
from tf_lottery.utils.text import suggestion

KINDS = {
    "probabilities": "a probability for each class along the last axis",
    "logits": "a score for each class along the last axis; softmax makes probabilities of them",
    "sequence": "a class at each position: scores or probabilities along the last axis",
    "binary": "yes or no for each value",
    "regression": "numbers",
    "image": "values of pixels",
    "unknown": "not known; compared as numbers",
}
"""What each kind of output holds."""

TASKS = ("classification", *(kind for kind in KINDS if kind != "unknown"))
"""What a caller may say of an output: a kind, or "classification", which the output's shape and values make precise."""

_ARGMAX = ("probabilities", "logits", "sequence")
BY_PREDICTIONS, BY_ERROR = "predictions that differ", "error relative to the spread"
"""By what the files of an output are judged."""

# Keras's names of losses.
_CATEGORICAL = (
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
)
_BINARY = ("binary_crossentropy", "binary_focal_crossentropy", "hinge", "squared_hinge")
_NUMERIC = (
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "huber",
    "log_cosh",
    "cosine_similarity",
    "poisson",
)
Task: TypeAlias = str | Sequence[str | None] | Mapping[str, str | None] | None
"""What a caller says of the outputs: one of `TASKS` for all, one per output, or a dict by output name; or nothing."""

_PIXEL_CHANNELS = (1, 3, 4)  # grey, RGB, RGBA


@dataclass(frozen=True)
class OutputKind:
    """The kind of one output.

    Attributes:
        kind: one of `KINDS`.
        evidence: how it is known, e.g. "the labels".
        threshold: of "binary": above it, a value is a yes: 0.5 of probabilities, 0 of scores.
    """

    kind: str = "unknown"
    evidence: str = "neither a task, a loss, labels nor the last activation says it"
    threshold: float = 0.0

    @property
    def has_argmax(self) -> bool:
        """Whether the largest value along the last axis is the predicted class."""
        return self.kind in _ARGMAX

    @property
    def has_classes(self) -> bool:
        """Whether the output predicts classes, so that files are judged by predictions that differ."""
        return self.has_argmax or self.kind == "binary"

    def predictions(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the predicted class at each position, of an output that has classes.

        Example:
            >>> OutputKind("logits").predictions(np.array([[0.1, 2.0], [3.0, -1.0]])).tolist()
            [1, 0]
            >>> OutputKind("binary", threshold=0.5).predictions(np.array([[0.6], [0.2]])).tolist()
            [[True], [False]]
        """
        return values > self.threshold if self.kind == "binary" else values.argmax(-1)

    def label_classes(self, labels: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return labels in the form of `predictions`.

        Args:
            labels: class indices, rows like the outputs, or zeros and ones; such as `label_readings` accepts.
            shape: of the outputs, `(samples, ...)`.
        """
        labels = np.asarray(labels)
        if self.kind == "binary":
            return labels.reshape(shape).astype(bool)
        return labels.argmax(-1) if labels.shape == shape else labels.reshape(shape[:-1])

    def record(self, name: str) -> dict[str, str]:
        """Return the entry of a report's `outputs` for the output of that name."""
        measure = BY_PREDICTIONS if self.has_classes else BY_ERROR
        return {"output": name, "kind": self.kind, "known_by": self.evidence, "measure": measure}


UNKNOWN = OutputKind()
"""An output of which nothing is known."""


def tasks_by_output(task: Task, names: Sequence[str]) -> list[str]:
    """Return what a caller said of each output, empty where nothing was said.

    Args:
        task: one of `TASKS` for every output, a list with one entry per output, or a dict by output name; None if
            nothing was said.
        names: of the outputs, in order.

    Raises:
        UsageError: a task or an output is unknown, or there is not one task per output.

    Example:
        >>> tasks_by_output({"boxes": "regression"}, ["scores", "boxes"])
        ['', 'regression']
    """
    if task is None or isinstance(task, str):
        tasks: list[Any] = [task] * len(names)
    elif isinstance(task, Mapping):
        unknown = sorted(map(str, set(task) - set(names)))
        if unknown:
            raise UsageError(f"`task` has the unknown outputs {unknown}.", f"Valid: {', '.join(names)}.")
        tasks = [task.get(name) for name in names]
    elif isinstance(task, Sequence):
        tasks = list(task)
    else:
        raise UsageError(f"`task` must be a name or names. Received: {task!r}.", f"Valid: {', '.join(TASKS)}.")
    if len(tasks) != len(names):
        raise UsageError(
            f"The model has {len(names)} outputs; received {len(tasks)} tasks.",
            f"Give one task for all, one per output, or a dict with the keys {', '.join(names)}.",
        )
    for entry in tasks:
        if entry is not None and entry not in TASKS:
            raise UsageError(f"Unknown task {entry!r}.", suggestion(str(entry), TASKS))
    return [entry or "" for entry in tasks]


def determine_kind(
    name: str,
    outputs: npt.NDArray[Any],
    *,
    task: str = "",
    loss: str = "",
    readings: Sequence[str] | None = None,
    activation: str = "",
) -> OutputKind:
    """Return the kind of an output, by the first of task, loss, labels and last activation that says it.

    A loss or an activation counts only where it agrees with the labels. Cross-entropy of two classes and a sigmoid say
    nothing of an output of several values: it may be an image as well as several labels.

    Args:
        name: of the output, for messages.
        outputs: what the Keras model answers, `(samples, ...)`.
        task: one of `TASKS`; empty if the caller said nothing.
        loss: Keras's name of the loss, e.g. "mean_squared_error"; empty if it is not known, or the caller's own.
        readings: as what its labels can be read, see `labels.label_readings`; None without labels.
        activation: Keras's name of the last activation, e.g. "softmax"; empty if it is not known.

    Raises:
        UsageError: the task contradicts the output or the labels.

    Example:
        >>> determine_kind("y", np.array([[0.2, 7.0]]), loss="sparse_categorical_crossentropy").kind
        'logits'
    """
    if task:
        return _of_task(name, outputs, task, readings)
    by_loss = _of_loss(outputs, loss, readings)
    if by_loss:
        return _resolved(by_loss, outputs, f"the loss, {loss}")
    if readings:
        return _resolved(readings[0], outputs, "the labels")
    if activation == "softmax" and width(outputs) > 1:
        return _resolved(CLASSES, outputs, "the last activation, softmax")
    if activation == "sigmoid" and _is_column(outputs):
        return _resolved(YES_OR_NO, outputs, "the last activation, sigmoid")
    return UNKNOWN


def _of_loss(outputs: npt.NDArray[Any], loss: str, readings: Sequence[str] | None) -> str:
    if loss in _CATEGORICAL and width(outputs) > 1:
        reading = CLASSES
    elif loss in _BINARY and (_is_column(outputs) or readings):
        reading = YES_OR_NO
    elif loss in _NUMERIC and (readings is None or readings[0] != CLASSES):  # of one-hot rows: a classifier
        reading = NUMBERS
    else:
        return ""
    return reading if readings is None or reading in readings else ""


def _of_task(name: str, outputs: npt.NDArray[Any], task: str, readings: Sequence[str] | None) -> OutputKind:
    if task == "classification":
        resolved = _resolved(CLASSES if width(outputs) > 1 else YES_OR_NO, outputs, "the task given")
    else:
        resolved = OutputKind(task, "the task given", _threshold(outputs))
    needed, fits = {
        "probabilities": ("rows that sum to 1, of at least 2 classes", are_distributions(outputs)),
        "logits": (
            "rows of at least 2 scores, not of probabilities",
            width(outputs) > 1 and not are_distributions(outputs),
        ),
        "sequence": ("the shape (samples, positions, classes)", outputs.ndim > 2 and width(outputs) > 1),
        "image": ("the shape (samples, height, width, channels)", outputs.ndim > 2),
    }.get(resolved.kind, ("", True))
    if not fits:
        raise UsageError(
            f"`task` is {task!r} for the output {name!r}, which needs {needed}. Received values of shape "
            f"{outputs.shape} from {outputs.min():.4g} to {outputs.max():.4g}.",
            f"Say what the output holds: {', '.join(TASKS)}.",
        )
    reading = CLASSES if resolved.kind in _ARGMAX else YES_OR_NO if resolved.kind == "binary" else NUMBERS
    if readings and reading not in readings:
        raise UsageError(
            f"`task` is {task!r} for the output {name!r} of shape {outputs.shape}, which needs labels that are "
            f"{_LABELS[reading]}. Received {_LABELS[readings[0]]}.",
            "Give such labels, or the task that the labels are for.",
        )
    return resolved


_LABELS = {
    CLASSES: "class indices or one-hot rows",
    YES_OR_NO: "zeros and ones, one for each value",
    NUMBERS: "numbers, one for each value",
}


def _resolved(reading: str, outputs: npt.NDArray[Any], evidence: str) -> OutputKind:
    """The kind of an output of classes, of yes or no, or of numbers, by its shape and values."""
    if reading == YES_OR_NO:
        return OutputKind("binary", evidence, _threshold(outputs))
    if reading == NUMBERS:
        is_image = outputs.ndim == 4 and outputs.shape[-1] in _PIXEL_CHANNELS
        return OutputKind("image" if is_image else "regression", evidence)
    if outputs.ndim > 2:
        return OutputKind("sequence", evidence)
    return OutputKind("probabilities" if are_distributions(outputs) else "logits", evidence)


def _threshold(outputs: npt.NDArray[Any]) -> float:
    return 0.5 if outputs.size and outputs.min() >= 0 and outputs.max() <= 1 else 0.0


def _is_column(outputs: npt.NDArray[Any]) -> bool:
    return outputs.ndim < 3 and width(outputs) == 1

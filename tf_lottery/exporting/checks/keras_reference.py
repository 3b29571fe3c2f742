"""What every file of one export is compared with: real inputs, the Keras model's outputs, labels."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting.checks.agreement import Outputs, accuracy, compare_outputs
from tf_lottery.exporting.checks.model_outputs import float32_outputs, model_outputs
from tf_lottery.exporting.checks.other_sizes import SizedSamples, other_sizes
from tf_lottery.exporting.checks.output_error import OutputAgreement
from tf_lottery.exporting.checks.output_spread import describe_constant_outputs
from tf_lottery.exporting.checks.rounding import rounding_tolerances
from tf_lottery.exporting.checks.samples import flat_labels, flat_samples, random_samples
from tf_lottery.exporting.input_shapes import InputShape, fix_shapes
from tf_lottery.exporting.labels import label_readings
from tf_lottery.exporting.output_evidence import last_activations
from tf_lottery.exporting.output_kinds import UNKNOWN, OutputKind, Task, determine_kind, tasks_by_output
from tf_lottery.exporting.signature import Signature, signature_of

# How many samples a comparison should have.
ENOUGH = 256


@dataclass(frozen=True)
class KerasReference:
    """Inputs, reference outputs and labels of one export.

    Attributes:
        signature: names, shapes and dtypes of the model's inputs and outputs.
        samples: one array `(samples, ...)` per input, in the signature's order: those that are reported, then those of
            the validation part.
        outputs: the Keras model's outputs for them, by output name.
        labels: per output the labels of the reported samples, or None.
        validation_labels: per output the labels of the validation samples, or None.
        validation_count: how many samples at the end are of the validation part.
        calibration: other real samples, by input name, on which int8 ranges are measured; None if there are none.
        real: whether the samples are real, not random.
        kinds: what each output holds, by its name.
        float32_outputs: where the Keras model computes in half precision, what its float32 copy, which is exported,
            answers; else None.
        measure_tolerances: measures the tolerance of each output where the model amplifies rounding; it is called once,
            when a float32 file differs by more than `FLOAT32_TOLERANCE`. {} where nothing more is allowed.
        other_sizes: samples of other sizes and the outputs for them, of a model with free dimensions.
    """

    signature: Signature
    samples: list[npt.NDArray[Any]]
    outputs: Outputs
    labels: list[npt.NDArray[Any] | None]
    validation_labels: list[npt.NDArray[Any] | None]
    validation_count: int = 0
    calibration: dict[str, npt.NDArray[Any]] | None = None
    real: bool = True
    kinds: Mapping[str, OutputKind] = field(default_factory=dict)
    float32_outputs: Outputs | None = None
    measure_tolerances: Callable[[], Mapping[str, float]] = dict
    other_sizes: tuple[SizedSamples, ...] = ()

    @functools.cached_property
    def tolerances(self) -> Mapping[str, float]:
        """What float32 files may differ by where the model amplifies rounding, by output; {} where it does not."""
        return self.measure_tolerances()

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(self.samples[0])

    @property
    def named_samples(self) -> dict[str, npt.NDArray[Any]]:
        """The samples by input name."""
        return dict(zip(self.signature.inputs, self.samples, strict=True))

    def compare(self, outputs: Outputs, *, precision: str = "float32") -> OutputAgreement:
        """Compare a file's outputs with the Keras model's on all samples, with accuracies where there are labels.

        What the choice among files depends on is of the validation samples alone, where there are some. Errors are
        those from the Keras model; a file of a half-precision one is accepted if it answers as its float32 copy does.

        Args:
            outputs: arrays `(samples, ...)` by output name.
            precision: of the file: "float32", "float16", "dynamic" or "int8".
        """
        agreement = compare_outputs(self.outputs, outputs, precision=precision, kinds=self.kinds)
        exported = self.outputs if self.float32_outputs is None else self.float32_outputs
        if exported is not self.outputs:
            compared = compare_outputs(exported, outputs, precision=precision, kinds=self.kinds)
            agreement = replace(agreement, failure=compared.failure)
        if agreement.failure and precision == "float32" and self.tolerances:
            compared = compare_outputs(exported, outputs, tolerance=self.tolerances, kinds=self.kinds)
            agreement = replace(agreement, failure=compared.failure)
        if agreement.failure:
            return agreement
        choosing = agreement
        reported_part, validation = self._parts
        if self.validation_count:
            choosing = compare_outputs(
                _take(self.outputs, validation), _take(outputs, validation), precision=precision, kinds=self.kinds
            )
        reported = self._accuracies(outputs, reported_part, self.labels)
        validated = self._accuracies(outputs, validation, self.validation_labels)
        own = self._accuracies(self.outputs, validation, self.validation_labels)
        losses = {
            name: own[name] - validated[name] if name in own else error.loss
            for name, error in choosing.by_output.items()
        }
        return replace(agreement, accuracy=_mean(reported), validation_accuracy=_mean(validated), losses=losses)

    def input_records(self) -> list[dict[str, Any]]:
        """Return the entries of a report's `inputs`: name, shape, dtype, and the range of real samples."""
        signature = self.signature
        return [
            {
                "input": name,
                "shape": list(shape),
                "dtype": dtype,
                "sample_shape": list(array.shape[1:]),
                "range": [array.min().item(), array.max().item()] if self.real and array.size else None,
            }
            for name, shape, dtype, array in zip(
                signature.inputs, signature.shapes, signature.dtypes, self.samples, strict=True
            )
        ]

    def output_records(self) -> list[dict[str, Any]]:
        """Return the entries of a report's `outputs`: name, kind, evidence and measure; shape and dtype."""
        return [
            self.kinds[name].record(name)
            | {"shape": list(self.outputs[name].shape[1:]), "dtype": str(self.outputs[name].dtype)}
            for name in self.signature.outputs
        ]

    def accuracies(self) -> tuple[float | None, float | None]:
        """Return the Keras model's own accuracy on the reported and on the validation samples."""
        reported, validation = self._parts
        return (
            _mean(self._accuracies(self.outputs, reported, self.labels)),
            _mean(self._accuracies(self.outputs, validation, self.validation_labels)),
        )

    def remarks(self) -> list[str]:
        """Return what is to know of the files and of a comparison with this reference, one sentence each."""
        sentences = self.signature.renamings()
        if self.count < ENOUGH:
            sentences.append(f"Compared on {self.count} samples only: {ENOUGH} or more are better.")
        if self.float32_outputs is not None:
            rounding = compare_outputs(self.outputs, self.float32_outputs).rms_rel_error
            sentences.append(
                f"Errors are those from the model in half precision, whose rounding is {100 * rounding:.2f} % of the "
                "outputs' spread."
            )
        for name, labels in zip(self.signature.outputs, self.labels, strict=True):
            kind = self.kinds.get(name, UNKNOWN)
            if kind == UNKNOWN:
                sentences.append(
                    f"What the output {name!r} holds is not known: it is compared as numbers. `task=` says it, e.g. "
                    "`task='classification'`."
                )
            elif labels is not None and not kind.has_classes:
                sentences.append(
                    f"The output {name!r} is {kind.kind} (known by {kind.evidence}): no accuracy is reported."
                )
        if "tolerances" in vars(self) and self.tolerances:
            allowed = ", ".join(f"{tolerance:.1e}" for tolerance in self.tolerances.values())
            sentences.append(
                f"The model amplifies rounding: float32 files may differ by {allowed} of the largest output, four "
                "times the error of Keras's own float32 outputs against float64."
            )
        return [*sentences, *describe_constant_outputs(self.outputs, self.kinds)]

    @property
    def _parts(self) -> tuple[slice, slice]:
        """The samples that are reported, and those of the validation part."""
        count = self.count - self.validation_count
        return slice(0, count), slice(count, None)

    def _accuracies(self, outputs: Outputs, part: slice, labels: list[npt.NDArray[Any] | None]) -> dict[str, float]:
        """The accuracies of the outputs that have labels and classes."""
        accuracies = {
            name: accuracy(np.asarray(outputs[name], np.float64)[part], output_labels, self.kinds.get(name, UNKNOWN))
            for name, output_labels in zip(self.signature.outputs, labels, strict=True)
            if output_labels is not None
        }
        return {name: value for name, value in accuracies.items() if value is not None}


def make_reference(
    model: keras.Model,
    samples: Any,
    labels: Any = None,
    *,
    own: keras.Model | None = None,
    validation: tuple[Any, Any] | None = None,
    calibration: Any = None,
    task: Task = None,
    losses: Sequence[str] = (),
    input_shape: InputShape = None,
) -> KerasReference:
    """Check the arrays that `export` was given, and compute the Keras model's outputs for them.

    Args:
        model: the plain model that is exported.
        samples: real inputs, `(samples, ...)`; a list or a dict by name for several; None for random ones.
        labels: per output class indices or one-hot rows of the samples, or None.
        own: the caller's model, which the plain one was made from and whose outputs are the reference, so that nothing
            that is lost on the way passes unseen; by default the plain model.
        validation: a pair of inputs and labels (or None) of the validation part.
        calibration: real inputs on which int8 ranges are measured.
        task: what the outputs hold, see `output_kinds.tasks_by_output`; None to find out.
        losses: Keras's name of the loss of each output; none where nothing is known.
        input_shape: the shapes that dynamic inputs get in TFLite files, which the samples must have then.

    Raises:
        UsageError: the structure of the arrays is not the model's, or the task contradicts the outputs or the labels.
        UnfitError: a shape or dtype does not fit, or the model does not run on the samples.
        NonFiniteError: samples have NaN or infinite values.
        CheckFailed: the caller's model computes in half precision, and the plain one answers otherwise.
    """
    own = model if own is None else own
    signature = fix_shapes(signature_of(model), input_shape)
    tasks = tasks_by_output(task, signature.outputs)
    arrays = random_samples(model, signature) if samples is None else flat_samples(model, signature, samples)
    flat = flat_labels(model, signature, labels, len(arrays[0]))
    validation_labels: list[npt.NDArray[Any] | None] = [None] * len(signature.outputs)
    validation_count = 0
    if validation is not None:
        if not isinstance(validation, tuple) or len(validation) != 2:
            raise UsageError(
                f"`validation` must be a pair of inputs and labels. Received: {type(validation).__name__}.",
                "Pass validation=(x, y), or (x, None) without labels.",
            )
        inputs, outcomes = validation
        validation_arrays = flat_samples(model, signature, inputs, part="Validation samples")
        validation_count = len(validation_arrays[0])
        validation_labels = flat_labels(model, signature, outcomes, validation_count)
        arrays = [np.concatenate(pair) for pair in zip(arrays, validation_arrays, strict=True)]
    ranges = None
    if calibration is not None:
        ranges = dict(
            zip(signature.inputs, flat_samples(model, signature, calibration, part="Calibration samples"), strict=True)
        )
    outputs = model_outputs(own, model, arrays, signature)
    exported = float32_outputs(own, model, arrays, signature, outputs)
    exact = own if exported is None else model
    reference = KerasReference(
        signature,
        arrays,
        outputs,
        flat,
        validation_labels,
        validation_count=validation_count,
        calibration=ranges,
        real=samples is not None,
        float32_outputs=exported,
        measure_tolerances=lambda: rounding_tolerances(model, arrays, exported or outputs, signature),
        other_sizes=other_sizes(lambda resized: model_outputs(exact, model, resized, signature), arrays, signature),
    )
    return replace(reference, kinds=_kinds(reference, tasks, losses or [""] * len(tasks), last_activations(model)))


def _kinds(
    reference: KerasReference, tasks: Sequence[str], losses: Sequence[str], activations: Sequence[str]
) -> dict[str, OutputKind]:
    kinds = {}
    parts = np.split(np.arange(reference.count), [reference.count - reference.validation_count])
    for place, name in enumerate(reference.signature.outputs):
        outputs = reference.outputs[name]
        labels = (reference.labels[place], reference.validation_labels[place])
        readings = [
            label_readings(array, outputs[part]) for array, part in zip(labels, parts, strict=True) if array is not None
        ]
        common = [reading for reading in readings[0] if reading in readings[-1]] if readings else None
        if common == []:
            raise UnfitError(
                f"The labels of the output {name!r} are {readings[0][0]} in one part, {readings[1][0]} in the other.",
                "Give the labels of the samples and those of `validation` in the same form.",
            )
        kinds[name] = determine_kind(
            name, outputs, task=tasks[place], loss=losses[place], readings=common, activation=activations[place]
        )
    return kinds


def _take(outputs: Outputs, part: slice) -> Outputs:
    return {name: array[part] for name, array in outputs.items()}


def _mean(accuracies: Mapping[str, float]) -> float | None:
    return float(np.mean(list(accuracies.values()))) if accuracies else None

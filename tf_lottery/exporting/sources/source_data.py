"""The data that an exported model is compared on: the parts of the data set that it was trained on, or of another.

Importing this loads neither TensorFlow nor Keras.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.experiment.directory.run_identity import NOT_CONFIGURATION
from tf_lottery.exporting.sources.input_scaling import choose_normalization
from tf_lottery.exporting.sources.sample_file import read_sample_file
from tf_lottery.exporting.sources.source_model import SourceModel
from tf_lottery.results.tables.formats import percent

if TYPE_CHECKING:
    from tf_lottery.data.normalization import Normalization

# How many real samples int8 ranges are measured on, and how many files are compared on, by default.
CALIBRATION = 500
SAMPLES = 2000
# A model whose share of right answers exceeds that of the commonest class by less has learned next to nothing.
_SKILL = 0.1


@dataclass(frozen=True)
class SourceData:
    """The arrays that `export` takes for a model.

    Attributes:
        samples: test inputs, `(samples, ...)` (by name, of several), on which the reported figures are computed.
        labels: their class indices, `(samples,)`.
        validation: a pair of validation inputs and their labels, on which the best file is chosen.
        calibration: training inputs, on which the ranges of int8 values are measured.
        class_names: the names of the classes in their order; None if they are not known.
        normalization: the mean and the standard deviation by which raw values were scaled; None if it is not known.
        data: the data set, its normalization, and that as a formula, for the model card: an app must do the same.
        remarks: sentences on what was chosen.
    """

    samples: Any = None
    labels: Any = None
    validation: tuple[Any, Any] | None = None
    calibration: Any = None
    class_names: tuple[str, ...] | None = None
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    data: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def arguments(self) -> dict[str, Any]:
        """Return the arrays as keyword arguments of `export`."""
        names = ("samples", "labels", "validation", "calibration", "class_names", "normalization")
        return {name: getattr(self, name) for name in names}

    def near_chance(self, accuracy: float | None) -> str:
        """Return a sentence if an accuracy is hardly better than naming the commonest class, else an empty string.

        Args:
            accuracy: of the Keras model on the validation samples, a fraction; None if it is not known.
        """
        if self.validation is None or accuracy is None:
            return ""
        labels = np.asarray(self.validation[1]).ravel()
        chance = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
        if accuracy >= min(chance + _SKILL * (1 - chance), 3 * chance):
            return ""
        return (
            f"The Keras model itself is near chance: right for {percent(accuracy, digits=2)} of the validation "
            f"samples, while always naming the commonest class is right for {percent(chance, digits=2)}. Agreement "
            "with it proves little."
        )


def load_source_data(
    source: SourceModel,
    dataset: str | None = None,
    *,
    data_dir: str | None = None,
    normalization: str | None = None,
    count: int = SAMPLES,
    file: Path | None = None,
) -> SourceData:
    """Return the first samples of each part of the data set that a model was trained on, or of the one named.

    Test samples (validation samples, where there are none) are reported, validation samples choose, training samples
    calibrate. Of a file of the caller's own all samples are taken as they are.

    Args:
        source: the model.
        dataset: a data set by name, instead of the one of the model's configuration; or a folder of images, which
            are resized to the model's input where that is square.
        data_dir: where data sets are.
        normalization: how `dataset` is scaled. By default as the run's; for another model "unit", or "none" where its
            input takes whole numbers.
        count: how many samples of each part of a data set at most.
        file: a `.npz` file, instead of a data set, see `sample_file.read_sample_file`.

    Raises:
        UsageError: a normalization without a data set, or one whose numbers the model's input can't hold; a file
            beside a data set, or one without the arrays that are expected.
        UnfitError: the data have another shape, or other classes, than the model's.

    Example:
        `export(source.model, "app", **load_source_data(source).arguments())`
    """
    from tf_lottery import data
    from tf_lottery.data.locations import is_path
    from tf_lottery.experiment.config import Config
    from tf_lottery.experiment.problem import load_dataset
    from tf_lottery.exporting.plain_model import make_deployable

    if file is not None:
        if dataset or normalization:
            raise UsageError(
                f"The samples are those of {file}, as they are; received `dataset={dataset!r}` and "
                f"`normalization={normalization!r}` too.",
                "Drop them, or the file.",
            )
        return SourceData(**read_sample_file(file), data={"samples": file.name})
    config = {} if source.config.get("dataset") == "user" else source.config
    if normalization and not dataset:
        raise UsageError(
            "`normalization` says how the data of `dataset` are scaled.",
            "Add `dataset`, or drop it: the data of a run are scaled as in its training.",
        )
    if not dataset and not config:
        remark = "No data set is known for this model: random samples are compared, and int8 is left out. "
        return SourceData(remarks=(f"{remark}`dataset` takes real ones.",))
    model = source.model
    if not hasattr(model, "inputs"):  # a subclassed one: what its layers make, as it is exported
        model, _ = make_deployable(model)
    remarks: tuple[str, ...] = ()
    shape = tuple(model.inputs[0].shape[1:])
    if config and dataset in (None, config.get("dataset")):
        document = {key: value for key, value in config.items() if key not in NOT_CONFIGURATION}
        changes = {"data_dir": data_dir, "normalization": normalization}
        loaded = load_dataset(Config.from_json(document | {key: value for key, value in changes.items() if value}))
    else:
        scale, remarks = choose_normalization(model, normalization, run=config.get("normalization"))
        # Images of a folder may have any size, even several.
        size = shape[0] if is_path(str(dataset)) and len(shape) == 3 and shape[0] == shape[1] else None
        loaded = data.load(str(dataset), data_dir=data_dir, normalization=scale, image_size=size)
    data.check_fits(loaded, input_shape=shape, outputs=model.outputs[0].shape[-1], sparse_labels=True)
    validation = loaded.validation
    reported = loaded.test if loaded.test is not None else validation
    return SourceData(
        reported.x[:count],
        reported.y[:count],
        None if validation is None else (validation.x[:count], validation.y[:count]),
        loaded.train.x[:CALIBRATION],
        loaded.class_names or None,
        None if loaded.normalization is None else loaded.normalization.of_raw_values(),
        {"dataset": loaded.name, **_scaling(loaded.normalization)},
        remarks,
    )


def _scaling(normalization: "Normalization | None") -> dict[str, Any]:
    """What was done to raw values: by name, and as a formula in which `x` is a raw value."""
    if normalization is None or normalization.mode == "none":
        return {"normalization": None if normalization is None else "none"}
    formula = f"x / {normalization.scale:g}"
    if normalization.mode == "standard":
        mean, std = ([round(float(value), 6) for value in part] for part in (normalization.mean, normalization.std))
        formula = f"({formula} - {mean}) / {std}"
    return {"normalization": normalization.mode, "scaling": formula}

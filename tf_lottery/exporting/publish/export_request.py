"""What an export is asked for, checked: formats, precisions, encodings, folder and file names."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path

from tf_lottery.errors import UsageError
from tf_lottery.exporting.candidate_file import WantedFiles, encoding_name, file_suffix
from tf_lottery.exporting.checks.checksums import read_manifest
from tf_lottery.exporting.export_report import REPORT, is_report
from tf_lottery.exporting.file_formats import BASES, ENCODINGS, FORMATS
from tf_lottery.exporting.file_metadata import FileMetadata
from tf_lottery.exporting.input_shapes import InputShape
from tf_lottery.exporting.precision_names import BY_QUANTIZER, IN_ALL, PRECISIONS
from tf_lottery.exporting.publish.c_array import c_names
from tf_lottery.exporting.publish.export_target import for_target, select, with_whole_numbers
from tf_lottery.exporting.publish.file_description import describe_metadata
from tf_lottery.exporting.tflite.weight_quantization import INSTALL, is_installed
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP
from tf_lottery.utils import staging
from tf_lottery.utils.regular_files import read_regular
from tf_lottery.utils.text import suggestion


@dataclass(frozen=True)
class ExportRequest:
    """What an export is asked for, checked.

    Attributes:
        formats: some of `file_formats.FORMATS`.
        precisions: those of TFLite files.
        encodings: some of `file_formats.ENCODINGS`.
        explicit: whether the formats were given by name, so that each must succeed.
        folder: where the files go.
        file_name: the name of the only file, None for names made from `name`.
        name: the beginning of file names.
        io: what int8 files take and give, "float32" or "int8".
        target: "micro", or empty for any.
        batch: how many samples a TFLite file takes at a time.
        max_drop: the accuracy budget.
        metadata: what TFLite files say of their inputs and outputs, but for microcontrollers, which read none.
    """

    formats: tuple[str, ...]
    precisions: tuple[str, ...]
    encodings: tuple[str, ...]
    explicit: bool
    folder: Path
    file_name: str | None
    name: str
    io: str = "float32"
    target: str = ""
    batch: int = 1
    max_drop: float = DEFAULT_MAX_DROP
    metadata: FileMetadata | None = None

    def bases(self, *, slim: bool) -> list[str]:
        """Return which of "dense" and "sparse" are wanted, of the whole or of the slimmed model."""
        return [base for base in BASES if encoding_name(base, slim=slim) in self.encodings]

    def wanted(self, format_name: str, *, slim: bool) -> WantedFiles:
        """Return which files of a format are wanted, of those that it has.

        Args:
            format_name: one of `formats`.
            slim: of the slimmed or of the whole model.
        """
        file_format = FORMATS[format_name]
        bases = tuple(base for base in self.bases(slim=slim) if base in file_format.bases)
        if len(file_format.precisions) == 1:
            return WantedFiles(slim, bases, file_format.precisions)
        precisions = tuple(name for name in self.precisions if name in file_format.precisions)
        return WantedFiles(
            slim,
            bases,
            precisions,
            io=self.io,
            target=self.target,
            batch=self.batch,
            max_drop=self.max_drop,
            metadata=None if self.target else self.metadata,
        )

    def metadata_notes(self) -> list[str]:
        """Return what the metadata of the files says that an app needs, or that they have none."""
        if self.metadata is None:
            return []
        if "tflite" not in self.formats:
            named = bool(self.metadata.label_files())
            return ["The names of classes are in TFLite files alone, of which none was asked for."] * named
        if self.target:
            return ["The files carry no metadata and no names of classes: on a microcontroller nothing reads them."]
        return describe_metadata(self.metadata)

    def destination(self, suffix: str) -> Path:
        """Return where a candidate with that suffix goes."""
        return self.folder / (self.file_name or f"{self.name}{suffix}")

    def possible_files(self) -> list[str]:
        """Return every name that a file of a candidate may get."""
        if self.file_name is not None:
            return [self.file_name]
        names = []
        for format_name in self.formats:
            file_format = FORMATS[format_name]
            precisions = self.precisions if file_format.named_by_precision else ("",)
            for encoding in self.encodings:
                shown = encoding if file_format.named_by_precision or encoding != "dense" else ""
                names += [
                    f"{self.name}{file_suffix(precision, shown, layout)}{file_format.ending}"
                    for precision in precisions
                    for layout in file_format.layouts
                ]
        return names

    def possible_names(self) -> list[str]:
        """Return every name that a file of the export may get, those of the cards and C++ arrays too."""
        files = self.possible_files()
        arrays = [item for name in files for item in c_names(name)] if self.target else []
        return [*files, *(card for name in files for card in card_names(name)), *arrays]


IO = ("float32", "int8")
"""What int8 files may take and give."""


def card_names(name: str) -> tuple[str, str]:
    """Return the names of the model card of the file `name`, as JSON and as Markdown.

    Example:
        >>> card_names("app.tflite")
        ('app.tflite.card.json', 'app.tflite.card.md')
    """
    return f"{name}.card.json", f"{name}.card.md"


def check_request(
    path: Path,
    *,
    format: str | Sequence[str],
    precision: str | Sequence[str],
    encoding: str | Sequence[str],
    name: str,
    io: str | None = None,
    target: str | None = None,
    goal: str = "balanced",
    batch: int = 1,
    input_shape: InputShape = None,
    max_drop: float = DEFAULT_MAX_DROP,
) -> ExportRequest:
    """Check what `export` was asked for.

    Args:
        path: a folder, or a file name for one format.
        format: as of `export`.
        precision: as of `export`.
        encoding: as of `export`.
        name: the beginning of file names.
        io: as of `export`.
        target: as of `export`.
        goal: the goal for the best file.
        batch: as of `export`.
        input_shape: as of `export`.
        max_drop: as of `export`.

    Raises:
        UsageError: something is unknown, empty, or does not fit the rest, or needs a package that is missing.
    """
    in_all = [name for name, file_format in FORMATS.items() if file_format.in_all]
    formats = select("format", in_all if format == "all" else format, tuple(FORMATS))
    folder, file_name = _destination(path, formats, name)
    precisions = _precisions(precision)
    encodings = select("encoding", encoding, ENCODINGS)
    _check_sizes(formats, batch, input_shape)
    if (chosen := [name for name in precisions if name in BY_QUANTIZER]) and not is_installed():
        raise UsageError(f"`precision={chosen[0]}` needs the package ai-edge-quantizer, which is missing.", INSTALL)
    if io not in (None, *IO):
        raise UsageError(f"Unknown export io {io!r}.", suggestion(str(io), IO))
    if target is not None:
        precisions, encodings = for_target(
            target, formats=formats, precision=precision, encoding=encoding, io=io, goal=goal
        )
        io = "int8"
    elif io == "int8":
        precisions = with_whole_numbers(formats, precision, precisions)
    return ExportRequest(
        tuple(formats),
        tuple(precisions),
        tuple(encodings),
        format != "all",
        folder,
        file_name,
        name,
        io or "float32",
        target or "",
        int(batch),
        max_drop,
    )


def quantization_aware_request(request: ExportRequest) -> ExportRequest:
    """Return what is wanted of a quantization-aware model: its int8 TFLite files, which are not slimmed.

    Raises:
        UsageError: other files alone are asked for.
    """
    asked = {"format": request.formats, "precision": request.precisions, "encoding": request.encodings}
    for argument, known in {"format": ("tflite",), "precision": ("int8",), "encoding": BASES}.items():
        if not set(asked[argument]) & set(known):
            raise UsageError(
                f"A quantization-aware model has {argument} {' or '.join(known)}, received `{argument}` "
                f"{', '.join(asked[argument])}.",
                f"Leave `{argument}` out, or export the float32 model.",
            )
    encodings = tuple(name for name in request.encodings if name in BASES)
    return replace(request, formats=("tflite",), precisions=("int8",), encodings=encodings)


def _precisions(precision: str | Sequence[str]) -> list[str]:
    names = [precision] if isinstance(precision, str) else list(precision)
    if "all" in names:  # which stands for fewer than there are: others may be beside it
        names = [*IN_ALL, *(name for name in names if name != "all")]
    return select("precision", names, PRECISIONS)


def _check_sizes(formats: list[str], batch: int, input_shape: InputShape) -> None:
    if isinstance(batch, bool) or not isinstance(batch, Integral) or batch < 1:
        raise UsageError(f"`batch` must be a positive whole number. Received: {batch!r}.", "Pass e.g. batch=4.")
    for argument, given in (("batch", batch != 1), ("input_shape", input_shape is not None)):
        if given and "tflite" not in formats:
            raise UsageError(
                f"`{argument}` is of TFLite files, received `format={formats!r}`.",
                f"Add tflite to the formats, or drop `{argument}`: other formats take any size that the model takes.",
            )


def check_destination(request: ExportRequest, *, force: bool) -> None:
    """Check, before the work, that no file of another origin would be replaced.

    What an export that was killed moved aside is put back first.

    Args:
        request: names and folder.
        force: whether files may be replaced that exist.

    Raises:
        ResourceError: putting back fails.
        UsageError: a file exists, or an `export.json` that is no report of an export.
        DamagedError: the manifest in the folder is damaged.
    """
    if request.folder.is_dir():
        staging.recover(request.folder)
    taken = [request.folder / item for item in request.possible_names() if os.path.lexists(request.folder / item)]
    if taken and not force:
        raise UsageError(f"{taken[0]} exists already.", "Choose another place, or replace it with `force=True`.")
    if not request.folder.is_dir():
        return
    read_manifest(request.folder)
    earlier = request.folder / REPORT
    if earlier.exists() and not force and not _is_report(earlier):
        raise UsageError(
            f"{earlier} is not the report of an export.", "Choose another folder, or replace it with `force=True`."
        )


def _is_report(path: Path) -> bool:
    try:
        return is_report(read_regular(path))
    except OSError:
        return False


def _destination(path: Path, formats: list[str], name: str) -> tuple[Path, str | None]:
    if not name or Path(name).name != name or name.startswith("."):
        raise UsageError(f"`name` must be the beginning of a file name, received {name!r}.", "Use e.g. 'model'.")
    suffix_format = {".keras": "keras", ".onnx": "onnx", ".tflite": "tflite"}.get(path.suffix)
    if path.name.endswith("saved_model") and formats == ["saved_model"]:
        suffix_format = "saved_model"
    if suffix_format is None or (path.is_dir() and suffix_format != "saved_model"):
        if path.exists() and not path.is_dir():
            raise UsageError(
                f"{path} is a file.", "Give a folder, or a new file name ending in .keras, .onnx or .tflite."
            )
        return path, None
    if formats != [suffix_format]:
        raise UsageError(
            f"The file name {path.name} is for the format {suffix_format}, received format {', '.join(formats)}.",
            "Give a folder, or a file name that fits the one format.",
        )
    return path.parent, path.name

"""What an export is asked for: formats, precisions, encodings, where to, under which names."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tf_lottery.errors import UsageError
from tf_lottery.exporting.checks import checksums as integrity
from tf_lottery.exporting.checks.candidate import encoding_name, file_suffix
from tf_lottery.exporting.export_report import REPORT, is_report
from tf_lottery.exporting.publish import staging
from tf_lottery.exporting.tflite.tflite_writer import PRECISIONS
from tf_lottery.utils.text import suggestion

FORMATS = ("keras", "saved_model", "tflite")
ENCODINGS = ("dense", "sparse", "slim", "slim-sparse")
# How a format's files are called, after the export's name, its precision and its encoding.
_ENDINGS = {"keras": ".keras", "saved_model": "_saved_model", "tflite": ".tflite"}
_LAYOUTS = ("", "1x4", "1x16")
_BASES = ("dense", "sparse")


@dataclass(frozen=True)
class Request:
    """A checked request.

    Attributes:
        formats, precisions, encodings: what is wanted.
        explicit: whether the formats were asked for by name, so that each must succeed.
        folder: where the files go.
        file_name: the name of the only file, None for names made from `name`.
        name: the beginning of file names.
    """

    formats: tuple[str, ...]
    precisions: tuple[str, ...]
    encodings: tuple[str, ...]
    explicit: bool
    folder: Path
    file_name: str | None
    name: str

    def bases(self, *, slim: bool) -> list[str]:
        """Which of "dense" and "sparse" are wanted, of the whole or of the slimmed model."""
        return [base for base in _BASES if encoding_name(base, slim=slim) in self.encodings]

    def target(self, suffix: str) -> Path:
        """Where a candidate goes."""
        return self.folder / (self.file_name or f"{self.name}{suffix}")

    def possible_files(self) -> list[str]:
        """Every name that a file of a candidate may get."""
        if self.file_name is not None:
            return [self.file_name]
        names = []
        for item in self.formats:
            precisions, layouts = (self.precisions, _LAYOUTS) if item == "tflite" else (("",), ("",))
            for encoding in self.encodings:
                shown = "" if item != "tflite" and encoding == "dense" else encoding
                names += [
                    f"{self.name}{file_suffix(precision, shown, layout)}{_ENDINGS[item]}"
                    for precision in precisions
                    for layout in layouts
                ]
        return names

    def possible_names(self) -> list[str]:
        """Every name that a file of the export may get, those of the cards too."""
        files = self.possible_files()
        return [*files, *(card for name in files for card in cards(name))]


def cards(name: str) -> tuple[str, str]:
    """The names of the model card of the file `name`, as JSON and as Markdown.

    Example:
        >>> cards("app.tflite")
        ('app.tflite.card.json', 'app.tflite.card.md')
    """
    return f"{name}.card.json", f"{name}.card.md"


def make_request(
    path: Path,
    *,
    format: str | Sequence[str],
    precision: str | Sequence[str],
    encoding: str | Sequence[str],
    name: str,
) -> Request:
    """Check the names and the place.

    Raises:
        UsageError: something is unknown, empty, or does not fit the rest.
    """
    formats = _chosen("format", format, FORMATS)
    folder, file_name = _destination(path, formats, name)
    return Request(
        tuple(formats),
        tuple(_chosen("precision", precision, PRECISIONS)),
        tuple(_chosen("encoding", encoding, ENCODINGS)),
        format != "all",
        folder,
        file_name,
        name,
    )


def check_place(request: Request, *, force: bool) -> None:
    """Check, before the work, that nothing of somebody else's is in the way.

    What an export that was killed moved aside is put back first.

    Raises:
        ResourceError: that fails.
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
    integrity.read_manifest(request.folder)
    earlier = request.folder / REPORT
    if earlier.exists() and not force and not is_report(earlier.read_bytes()):
        raise UsageError(
            f"{earlier} is not the report of an export.", "Choose another folder, or replace it with `force=True`."
        )


def _chosen(what: str, given: str | Sequence[str], known: Sequence[str]) -> list[str]:
    """The names that an option stands for, in their order."""
    if given == "all":
        return list(known)
    names = [given] if isinstance(given, str) else list(given)
    for item in names:
        if item not in known:
            raise UsageError(f"Unknown export {what} {item!r}.", suggestion(str(item), [*known, "all"]))
    if not names:
        raise UsageError(f"`{what}` is empty.", f"Valid: {', '.join([*known, 'all'])}.")
    return [item for item in known if item in names]


def _destination(path: Path, formats: list[str], name: str) -> tuple[Path, str | None]:
    if not name or Path(name).name != name or name.startswith("."):
        raise UsageError(f"`name` must be the beginning of a file name, received {name!r}.", "Use e.g. 'model'.")
    suffix_format = {".keras": "keras", ".tflite": "tflite"}.get(path.suffix)
    if path.name.endswith("saved_model") and formats == ["saved_model"]:
        suffix_format = "saved_model"
    if suffix_format is None or (path.is_dir() and suffix_format != "saved_model"):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file.", "Give a folder, or a new file name ending in .keras or .tflite.")
        return path, None
    if formats != [suffix_format]:
        raise UsageError(
            f"The file name {path.name} is for the format {suffix_format}, received format {', '.join(formats)}.",
            "Give a folder, or a file name that fits the one format.",
        )
    return path.parent, path.name

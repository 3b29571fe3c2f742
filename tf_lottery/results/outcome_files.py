"""The folders of outcomes: figures as PNG and SVG, tables as CSV and Parquet, and a document that comes last."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_lottery.experiment.directory import manifest
from tf_lottery.experiment.directory.outcome_folder import outcome_manifest
from tf_lottery.results.tables.data_files import csv_bytes, parquet_bytes
from tf_lottery.utils.files import resources
from tf_lottery.utils.staging import publish, staging_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = ("png", "svg")


def outcome_files(
    *, figures: Mapping[str, "Figure"] | None = None, tables: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> dict[str, bytes]:
    """Return the files of figures and tables, by name; equal input gives equal bytes.

    Args:
        figures: figures by name, each for `<name>.png` and `<name>.svg`.
        tables: rows by the table's name, each for `<name>.csv` and `<name>.parquet`.

    Raises:
        UsageError: PyArrow is not installed, or a row is no dictionary.
    """
    contents = {}
    for name, figure in (figures or {}).items():
        for kind in IMAGES:
            contents[f"{name}.{kind}"] = image_bytes(figure, kind)
    for name, rows in (tables or {}).items():
        contents[f"{name}.csv"], contents[f"{name}.parquet"] = csv_bytes(rows), parquet_bytes(rows)
    return contents


def image_bytes(figure: "Figure", kind: str) -> bytes:
    """Return a figure as a file, without a date, a program version or a random id in it.

    Args:
        figure: the figure.
        kind: "png" or "svg".
    """
    from tf_lottery.results.figures.style import styled

    buffer = io.BytesIO()
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    with styled():
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def write_files(
    contents: Mapping[str, bytes],
    folder: str | Path,
    *,
    owner: Mapping[str, str] | None = None,
    made_from: Mapping[str, str] | None = None,
) -> dict[str, Path]:
    """Write files with their `manifest.json`: all of them, or none.

    Args:
        contents: the content of each file by name.
        folder: where to write; it is made if need be.
        owner: the run that they are of, as `run_owner` of a run gives it.
        made_from: digests of what they show, as `made_from` of a run gives them.

    Returns:
        The paths by name, without the manifest's.

    Raises:
        UsageError: the folder has a `manifest.json` of something else.
        ResourceError: the folder can't be written, or the disk is full.
    """
    folder = Path(folder)
    with staging_folder(folder) as stage:
        listed = outcome_manifest(folder, contents, owner=owner or {}, made_from=made_from or {})
        everything = {**contents, manifest.NAME: listed.content()}
        for name, content in everything.items():
            with resources(folder / name):
                (stage / name).write_bytes(content)
        publish({stage / name: folder / name for name in everything}, aside=stage)
    return {name: folder / name for name in contents}

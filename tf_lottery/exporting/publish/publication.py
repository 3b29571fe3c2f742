"""Put the files of an export in place, with their report, model card and manifest: all of them, or none."""

import dataclasses
import logging
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from tf_lottery.exporting.candidate_file import CandidateFile
from tf_lottery.exporting.checks import checksums
from tf_lottery.exporting.export_report import REPORT, ExportReport, FileRecord
from tf_lottery.exporting.publish.c_array import c_header, c_names, c_source
from tf_lottery.exporting.publish.export_findings import describe_gains
from tf_lottery.exporting.publish.export_request import ExportRequest, card_names
from tf_lottery.exporting.publish.model_card import card_json, card_markdown, make_card
from tf_lottery.exporting.tflite.micro_operators import operators_of
from tf_lottery.utils import staging

logger = logging.getLogger(__name__)


def publish(
    candidates: list[CandidateFile],
    report: ExportReport,
    request: ExportRequest,
    *,
    chosen: int,
    only_best: bool,
    stage: Path,
    origin: dict[str, Any],
    force: bool,
) -> ExportReport:
    """Move verified candidates from the staging folder to their names.

    Args:
        candidates: all of them.
        report: what is known but for the files.
        request: names and folder.
        chosen: the place of the best candidate.
        only_best: whether it alone is published.
        stage: the staging folder.
        origin: entries on where the model is from, for its card.
        force: whether files may be replaced that exist, or that appeared since the export began.

    Returns:
        The whole report.

    Raises:
        ResourceError: if the disk is full or the folder cannot be written to.
        UsageError: if a file has appeared at one of the names, without `force`.
    """
    records: list[dict[str, Any]] = []
    moves: dict[Path, Path] = {}
    listed: dict[str, dict[str, Any]] = {}
    try:
        for place, candidate in enumerate(candidates):
            if only_best and place != chosen:
                records.append({**candidate.record(candidate.file), "path": None})
                continue
            target = request.destination(candidate.suffix)
            renamed = candidate.file.rename(candidate.file.with_name(target.name))
            records.append(dataclasses.replace(candidate, file=renamed).record(target))
            listed |= checksums.entries(renamed)
            moves[renamed] = target
        written = tuple(record for record in records if record["path"] is not None)
        earlier = checksums.read_manifest(request.folder)
        report = dataclasses.replace(
            report,
            files=written,
            best=records[chosen]["path"],
            candidates=tuple(records),
            findings=tuple(describe_gains(records, records[chosen], goal=report.goal, max_drop=report.max_drop)),
            notes=(*report.notes, *_left_over(request, earlier, moves.values())),
        )
        takes = request.batch if records[chosen]["format"] == "tflite" else 1
        card = make_card(report, records[chosen], origin=origin, batch=takes)
        names = card_names(Path(records[chosen]["path"]).name)
        texts = dict(zip(names, (card_json(card), card_markdown(card)), strict=True))
        if request.target:
            texts |= _c_arrays(written, moves)
        for item, text in texts.items():
            listed |= checksums.text_entry(item, text)
        new = [] if force else [*moves.values(), *(request.folder / item for item in texts)]
        # The card and the C++ array of a file that is replaced are those of the old one.
        beside = [item for target in moves.values() for item in (*card_names(target.name), *c_names(target.name))]
        stale = [item for item in beside if item in earlier]
        gone = [item for item in stale if item not in texts and os.path.lexists(request.folder / item)]
        texts[REPORT] = report.dumps()
        listed |= checksums.text_entry(REPORT, texts[REPORT])
        replaced = [*(target.name for target in moves.values()), *texts, *gone]
        texts[checksums.MANIFEST] = checksums.merge_manifest(request.folder, listed, replaced=replaced)
        for item, text in texts.items():
            (stage / item).write_text(text, encoding="utf-8")
            moves[stage / item] = request.folder / item
    except OSError as error:
        raise staging.disk_trouble(request.folder, error) from error
    staging.publish(moves, aside=stage, new=new, gone=[request.folder / item for item in gone])
    logger.info("Exported %s to %s", ", ".join(record["path"] for record in written), request.folder)
    return report


def _c_arrays(written: Collection[FileRecord], moves: Mapping[Path, Path]) -> dict[str, str]:
    """The texts of the C++ arrays of all written files, by the names of sources and headers."""
    staged = {str(target): source for source, target in moves.items()}
    texts: dict[str, str] = {}
    for record in written:
        name, content = Path(record["path"]).name, staged[record["path"]].read_bytes()
        contents = (c_source(name, content), c_header(name, record, operators_of(content)))
        texts |= dict(zip(c_names(name), contents, strict=True))
    return texts


def _left_over(request: ExportRequest, earlier: Mapping[str, Any], targets: Collection[Path]) -> Iterator[str]:
    """A note on files of an earlier export that this one could have replaced, and did not make."""
    made = {target.name for target in targets}
    listed = {name.split("/", 1)[0] for name in earlier}
    names = [
        name for name in request.possible_files() if name in listed - made and os.path.lexists(request.folder / name)
    ]
    if names:
        yield f"Of an earlier export, and not replaced by this one, the folder still holds: {', '.join(names)}."

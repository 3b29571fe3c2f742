"""Put the files of an export in place, with their report, model card and manifest: all of them, or none."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

from tf_lottery.export import card, integrity, staging
from tf_lottery.export.candidate import Candidate
from tf_lottery.export.findings import findings
from tf_lottery.export.report import REPORT, ExportReport
from tf_lottery.export.request import Request

logger = logging.getLogger(__name__)


def publish(
    candidates: list[Candidate],
    report: ExportReport,
    request: Request,
    *,
    chosen: int,
    only_best: bool,
    stage: Path,
    origin: dict[str, Any],
) -> ExportReport:
    """Move verified candidates from the staging folder to their names.

    Args:
        candidates: all of them.
        report: what is known but for the files.
        request: names and folder.
        chosen: the place of the best candidate.
        only_best: whether it alone is published.
        stage: the staging folder.
        origin: where the model is from, for its card.

    Returns:
        The whole report.

    Raises:
        ResourceError: if the disk is full or the folder cannot be written to.
    """
    records: list[dict[str, Any]] = []
    moves: dict[Path, Path] = {}
    listed: dict[str, dict[str, Any]] = {}
    try:
        for place, candidate in enumerate(candidates):
            if only_best and place != chosen:
                records.append({**candidate.record(candidate.file), "path": None})
                continue
            target = request.target(candidate.suffix)
            renamed = candidate.file.rename(candidate.file.with_name(target.name))
            records.append(dataclasses.replace(candidate, file=renamed).record(target))
            listed |= integrity.entries(renamed)
            moves[renamed] = target
        written = tuple(record for record in records if record["path"] is not None)
        report = dataclasses.replace(
            report,
            files=written,
            best=records[chosen]["path"],
            candidates=tuple(records),
            findings=tuple(findings(records, records[chosen])),
        )
        about = card.describe(report, records[chosen], origin=origin)
        texts = dict(zip(request.cards, (card.dumps(about), card.markdown(about)), strict=True))
        for item, text in texts.items():
            listed |= integrity.text_entry(item, text)
        texts[REPORT] = report.dumps()
        replaced = [*(target.name for target in moves.values()), *texts]
        texts[integrity.MANIFEST] = integrity.merge_manifest(request.folder, listed, replaced=replaced)
        for item, text in texts.items():
            (stage / item).write_text(text, encoding="utf-8")
            moves[stage / item] = request.folder / item
    except OSError as error:
        raise staging.disk_trouble(request.folder, error) from error
    staging.publish(moves, aside=stage)
    logger.info("Exported %s to %s", ", ".join(record["path"] for record in written), request.folder)
    return report

"""`ClaimOutcome`: the finding of a claim with its runs, and its files: JSON, figure, CSV and Parquet."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tf_lottery.experiment.config import Config
from tf_lottery.results.outcome_files import outcome_files, write_files
from tf_lottery.studies.claims.claim import Claim
from tf_lottery.studies.claims.measures import ClaimFinding, ClaimVerdict, format_value
from tf_lottery.utils.files import dump_json, load_json

SCHEMA = "tf-lottery.claim/1"
VERDICTS: Mapping[ClaimVerdict, str] = {True: "passed", False: "failed", None: "inconclusive"}


@dataclass(frozen=True)
class ClaimOutcome:
    """The finding of a claim, with the runs that it is based on.

    Attributes:
        claim: the claim.
        quick: whether its runs are of the quick size.
        finding: its measures and verdict.
        runs: for each key of a run, its configuration, its directory and the versions of the packages that made it.
        rows: the rows that were compared.
        seconds: the time of all its trainings; those of a shared run count for each claim.
        date: the day of the verdict, ISO 8601.
    """

    claim: Claim
    quick: bool
    finding: ClaimFinding
    runs: dict[str, dict[str, Any]]
    rows: list[dict[str, Any]]
    seconds: float
    date: str = field(default_factory=lambda: datetime.date.today().isoformat())

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON values.

        `measured` and `interval` are those of the measure that decides; `measures` has all of them.
        """
        deciding = self.finding.deciding_measure()
        return {
            "name": self.claim.name,
            "title": self.claim.title,
            "source": self.claim.source,
            "published": self.claim.published,
            "measure": deciding.text if deciding else None,
            "measured": deciding.value if deciding else None,
            "interval": [deciding.low, deciding.high] if deciding else None,
            "unit": deciding.unit if deciding else None,
            "wanted": deciding.wanted if deciding else None,
            "passed": self.finding.passed,
            "reason": self.finding.reason,
            "measures": [measure.to_json() for measure in self.finding.measures],
            "seconds": self.seconds,
            "quick": self.quick,
            "date": self.date,
            "replicates": {key: run["config"]["replicates"] for key, run in self.runs.items()},
            "runs": self.runs,
        }


def outcomes_folder(out: str | Path, *, quick: bool) -> Path:
    """Return the folder of the outcomes of claims, below that of the runs.

    Args:
        out: the folder of the runs.
        quick: whether the runs are of the quick size.
    """
    return Path(out) / ("claims-quick" if quick else "claims")


def write_claim_outcome(outcome: ClaimOutcome, out: str | Path) -> Path:
    """Write the files of a claim's outcome, `outcome.json` last, and return their folder.

    Args:
        outcome: the outcome to write.
        out: the folder of the runs.
    """
    from tf_lottery.studies.claims.claim_figure import plot_claim

    folder = outcomes_folder(out, quick=outcome.quick) / outcome.claim.name
    measures = [measure.to_json() for measure in outcome.finding.measures]
    figure = plot_claim(
        outcome.rows,
        outcome.claim.columns,
        outcome.finding.measures,
        title=outcome.claim.name,
        verdict=VERDICTS[outcome.finding.passed],
    )
    contents = outcome_files(figures={"figure": figure}, tables={"compared": outcome.rows, "measures": measures})
    contents["outcome.json"] = dump_json({"schema": SCHEMA, **outcome.to_json(), "files": sorted(contents)})
    write_files(contents, folder)
    return folder


def read_outcomes(out: str | Path, names: Sequence[str], *, quick: bool) -> list[dict[str, Any]]:
    """Return the documents of the outcomes that are written, in the order of `names`.

    Args:
        out: the folder of the runs.
        names: the names of claims; those without an outcome are left out.
        quick: whether the runs are of the quick size.

    Raises:
        DamagedError: a document can't be read.
    """
    paths = [outcomes_folder(out, quick=quick) / name / "outcome.json" for name in names]
    return [load_json(path) for path in paths if path.is_file()]


def summary_rows(documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per claim: published, measured, interval, verdict."""
    rows = []
    for document in documents:
        low, high = document["interval"] or (None, None)
        rows.append(
            {
                **{
                    key: document[key]
                    for key in ("name", "title", "source", "published", "measure", "unit", "measured")
                },
                **{"low": low, "high": high, "wanted": document["wanted"], "verdict": VERDICTS[document["passed"]]},
                **{"reason": document["reason"], "seconds": document["seconds"], "quick": document["quick"]},
            }
        )
    return rows


def describe_measured(document: Mapping[str, Any]) -> str:
    """Return the deciding measure of an outcome, e.g. `+0.21 points (+0.05 to +0.40)`; `-` where there is none."""
    if document["measured"] is None:
        return "-"
    low, high = (format_value(part, document["unit"]).split(" ")[0] for part in document["interval"])
    return f"{format_value(document['measured'], document['unit'])} ({low} to {high})"


def markdown_table(documents: Sequence[Mapping[str, Any]]) -> str:
    """Return the overall table as Markdown."""
    lines = ["| Claim | Published | Measured | Ours | Verdict |", "|---|---|---|--:|---|"]
    for document in documents:
        cells = [
            f"`{document['name']}`",
            document["published"],
            document["measure"] or "-",
            describe_measured(document),
            VERDICTS[document["passed"]],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_summary(out: str | Path, names: Sequence[str], *, quick: bool) -> Path:
    """Write the overall table as CSV, Parquet and Markdown, and return the path of the Markdown file.

    Args:
        out: the folder of the runs.
        names: the names of claims; those without an outcome are left out.
        quick: whether the runs are of the quick size.
    """
    documents = read_outcomes(out, names, quick=quick)
    contents = outcome_files(tables={"claims": summary_rows(documents)}) | {
        "claims.md": markdown_table(documents).encode()
    }
    return write_files(contents, outcomes_folder(out, quick=quick))["claims.md"]


def describe_run(config: Config, path: Path, environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a run in an outcome: its directory, configuration and package versions.

    Args:
        config: the configuration that the claim asks for.
        path: the run directory.
        environment: the versions that the run directory has stored, by package.
    """
    versions = {key: environment.get(key) for key in ("tf-lottery", "tensorflow", "keras", "numpy", "python")}
    return {"run_dir": str(path), "config": config.to_json(), "versions": versions}

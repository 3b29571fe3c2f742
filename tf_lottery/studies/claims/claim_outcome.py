"""What a claim came to, and its files: JSON, figure, and what was compared as CSV and Parquet."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tf_lottery.experiment.config import Config
from tf_lottery.results.outcome_files import outcome_files, write_files
from tf_lottery.studies.claims.claim import Claim
from tf_lottery.studies.claims.measures import Finding, Verdict, written
from tf_lottery.utils.files import dump_json, load_json

SCHEMA = "tf-lottery.claim/1"
VERDICTS: Mapping[Verdict, str] = {True: "passed", False: "failed", None: "inconclusive"}


@dataclass(frozen=True)
class Outcome:
    """What a claim came to.

    Attributes:
        claim, quick: which, in which size.
        finding: its measures and verdict.
        runs: for each run's key its configuration, its directory and the versions it was made with.
        rows: what was compared.
        seconds: the time of all its trainings; those of a run that other claims share count for each of them.
        date: the day on which it was judged.
    """

    claim: Claim
    quick: bool
    finding: Finding
    runs: dict[str, dict[str, Any]]
    rows: list[dict[str, Any]]
    seconds: float
    date: str = field(default_factory=lambda: datetime.date.today().isoformat())

    def to_json(self) -> dict[str, Any]:
        """One claim of the report, as JSON values.

        `measured` and `interval` are those of the measure that decides; `measures` has all of them.
        """
        headline = self.finding.headline()
        return {
            "name": self.claim.name,
            "title": self.claim.title,
            "source": self.claim.source,
            "published": self.claim.published,
            "measure": headline.text if headline else None,
            "measured": headline.value if headline else None,
            "interval": [headline.low, headline.high] if headline else None,
            "unit": headline.unit if headline else None,
            "wanted": headline.wanted if headline else None,
            "passed": self.finding.passed,
            "reason": self.finding.reason,
            "measures": [measure.to_json() for measure in self.finding.measures],
            "seconds": self.seconds,
            "quick": self.quick,
            "date": self.date,
            "replicates": {key: run["config"]["replicates"] for key, run in self.runs.items()},
            "runs": self.runs,
        }


def folder(out: str | Path, *, quick: bool) -> Path:
    """Where the outcomes of claims are, below the folder of the runs."""
    return Path(out) / ("claims-quick" if quick else "claims")


def write(outcome: Outcome, out: str | Path) -> Path:
    """Write the files of a claim's outcome, `outcome.json` last; the folder that holds them."""
    from tf_lottery.studies.claims.claim_figure import figure

    place = folder(out, quick=outcome.quick) / outcome.claim.name
    measures = [measure.to_json() for measure in outcome.finding.measures]
    drawn = figure(
        outcome.rows,
        outcome.claim.columns,
        outcome.finding.measures,
        title=outcome.claim.name,
        verdict=VERDICTS[outcome.finding.passed],
    )
    contents = outcome_files(figures={"figure": drawn}, tables={"compared": outcome.rows, "measures": measures})
    contents["outcome.json"] = dump_json({"schema": SCHEMA, **outcome.to_json(), "files": sorted(contents)})
    write_files(contents, place)
    return place


def read_all(out: str | Path, names: Sequence[str], *, quick: bool) -> list[dict[str, Any]]:
    """The outcomes that are written, of this call or of an earlier one, in the order of `names`.

    Raises:
        DamagedError: one can't be read.
    """
    paths = [folder(out, quick=quick) / name / "outcome.json" for name in names]
    return [load_json(path) for path in paths if path.is_file()]


def table(documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per claim: published, measured, interval, verdict."""
    rows = []
    for each in documents:
        low, high = each["interval"] or (None, None)
        rows.append(
            {
                **{key: each[key] for key in ("name", "title", "source", "published", "measure", "unit", "measured")},
                **{"low": low, "high": high, "wanted": each["wanted"], "verdict": VERDICTS[each["passed"]]},
                **{"reason": each["reason"], "seconds": each["seconds"], "quick": each["quick"]},
            }
        )
    return rows


def ours(each: Mapping[str, Any]) -> str:
    """The deciding measure in words, e.g. `+0.21 points (+0.05 to +0.40)`; `-` where nothing was measured."""
    if each["measured"] is None:
        return "-"
    low, high = (written(part, each["unit"]).split(" ")[0] for part in each["interval"])
    return f"{written(each['measured'], each['unit'])} ({low} to {high})"


def markdown(documents: Sequence[Mapping[str, Any]]) -> str:
    """The overall table as Markdown."""
    lines = ["| Claim | Published | Measured | Ours | Verdict |", "|---|---|---|--:|---|"]
    for each in documents:
        cells = [f"`{each['name']}`", each["published"], each["measure"] or "-", ours(each), VERDICTS[each["passed"]]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_table(out: str | Path, names: Sequence[str], *, quick: bool) -> Path:
    """Write the overall table of all outcomes that are there, as CSV, Parquet and Markdown; the Markdown file."""
    documents = read_all(out, names, quick=quick)
    place = folder(out, quick=quick)
    contents = outcome_files(tables={"claims": table(documents)}) | {"claims.md": markdown(documents).encode()}
    return write_files(contents, place)["claims.md"]


def describe_run(config: Config, path: Path, environment: Mapping[str, Any]) -> dict[str, Any]:
    """What an outcome tells of a run: where it is, its configuration, and what it was made with."""
    versions = {key: environment.get(key) for key in ("tf-lottery", "tensorflow", "keras", "numpy", "python")}
    return {"run_dir": str(path), "config": config.to_json(), "versions": versions}

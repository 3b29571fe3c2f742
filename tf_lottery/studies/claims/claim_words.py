"""Claims in words: their cost, their measures, and their outcomes as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery.results.tables.summary import Table
from tf_lottery.studies.claims.claim_outcome import VERDICTS, describe_measured
from tf_lottery.utils.text import duration


def describe_claims_cost(cost: Mapping[str, Any]) -> str:
    """Return in a sentence what claims cost, from `ClaimPlan.cost`."""
    done = cost["trainings"] - cost["waiting"]
    text = f"{cost['trainings']} trainings in {cost['runs']} runs, {done} of them done already"
    if cost["without_data"]:
        text += f" (without data, not judged: {', '.join(cost['without_data'])})"
    if not cost["waiting"]:
        return f"{text}: nothing is to be trained."
    length = "an unknown time" if cost["seconds"] is None else f"about {duration(cost['seconds'])}"
    return f"{text}; the other {cost['waiting']} take {length}."


def describe_measure(measure: Mapping[str, Any]) -> str:
    """Return a measure of a claim in a line: its value with its interval, the bound, and the verdict."""
    value = describe_measured({**measure, "measured": measure["value"], "interval": [measure["low"], measure["high"]]})
    if not measure["judged"]:
        return f"{measure['text']}: {value}, not judged"
    return f"{measure['text']}: {value}, wanted {measure['wanted']}: {VERDICTS[measure['passed']]}"


def render_outcomes(documents: Sequence[Mapping[str, Any]]) -> Table:
    """Return the outcomes of claims, as JSON values, as a table: one row per claim."""
    rows = (
        (
            claim["name"],
            claim["published"],
            claim["measure"] or "-",
            describe_measured(claim),
            VERDICTS[claim["passed"]],
        )
        for claim in documents
    )
    headers = ("Claim", "Published", "Measured", "Ours (95 % interval)", "Verdict")
    return Table(headers, tuple(rows), right=(False,) * len(headers))

"""What a run showed, as data for scripts: the verdict, the selected ticket, and the answers."""

from collections.abc import Sequence
from typing import Any

from tf_lottery.results.report.answers import answers
from tf_lottery.results.report.verdict import verdict
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP, select_ticket
from tf_lottery.results.statistics.values import Row


def conclusions(rows: Sequence[Row], *, max_drop: float = DEFAULT_MAX_DROP, rewind: str = "init") -> dict[str, Any]:
    """Return the fields `verdict`, `selected` and `answers` of a JSON document.

    Args:
        rows: result rows with the columns of `results.csv`.
        max_drop: validation accuracy that the selected ticket may lose, a fraction.
        rewind: the rewind point of the run.

    Returns:
        `verdict`: plain sentences. `selected`: the round and the replicate that exports take by default; round 0, the
        dense network, where no pruned round qualifies. `answers`: a dictionary per question (see `Answer.to_json`).

    Raises:
        UsageError: `max_drop` is negative or not finite.
        UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.
    """
    job = select_ticket(rows, max_drop=max_drop)
    return {
        "verdict": verdict(rows, max_drop=max_drop, rewind=rewind),
        "selected": {"round": job.round, "replicate": job.replicate},
        "answers": [answer.to_json() for answer in answers(rows, max_drop=max_drop, rewind=rewind)],
    }

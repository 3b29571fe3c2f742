"""Write docs/claims.md and its figures from the outcomes of `tf-lottery reproduce`.

tf-lottery reproduce all --quick
python docs/refresh_claims.py runs
"""

import argparse
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tf_lottery.experiment.config import Config
from tf_lottery.results.tables.formats import plural
from tf_lottery.studies.claims.claim import Claim
from tf_lottery.studies.claims.claim_outcome import VERDICTS, describe_measured, markdown_table, read_outcomes
from tf_lottery.studies.claims.claim_registry import CLAIMS
from tf_lottery.studies.claims.claim_runs import required_runs

ROOT = Path(__file__).resolve().parent.parent
IMAGES = Path("images") / "claims"
COLORS = 200  # of a figure in the docs: enough to keep the lines distinct, at half the size
# Explanations of results, where there is more to say than the figures, by the name of the claim; written by hand.
NOTES: dict[str, str] = {
    "random-reinit-worse": "Below a quarter of the weights everything passes. At 41 % these replicates show no "
    "difference at the end of training, and ten of them (`--replicates 10`) do not either: +0.08 points (-0.08 to "
    "+0.24). If there is one, it is about a tenth of a point. The reinitialized network learns slower there already.",
    "fc1-35-rounds": "Three replicates left both densities open (+0.29 points, -0.89 to +1.18, and +0.36 points, "
    "-0.55 to +1.04), so the run was extended to five, as many as of the other fully connected networks, once.",
    "large-learning-rate": "A pilot run (two replicates, another seed) came before this protocol: Adam at 0.1 reaches "
    "about 90 % and then loses it again, the dense network nearly down to chance, and results scatter by more than a "
    "point. So the claim is judged at the step of least validation loss, where the paper judges too, with 20 "
    "replicates of a seed that the pilot did not use.",
}

INTRODUCTION = """# Claims

Claims of the literature, each rerun and judged by this library. {command}

A claim fixes its runs, the rounds that it looks at and its bounds before any result is seen; where that was not so, its
chapter says it. Every figure is a mean
over replicates with its 95 % interval; differences are paired by replicate, which share initial weights and data order.
A measure passes where its whole interval is on the wanted side of the bound, fails where all of it is on the other, and
is inconclusive where the interval holds the bound. A claim passes if all its measures do, and fails if one does. Test
data are only reported: nothing is chosen by them. A claim about convolutional networks is inconclusive where the dense
network is not as good as the published ones, whatever the measures say.

```sh
tf-lottery reproduce --list
tf-lottery reproduce all --quick            # about 75 minutes on two cores; the same command again resumes
tf-lottery reproduce early-stop --dry-run   # what the full size would take
```
"""

ADDING = """## Adding a claim

A claim is a function that judges, of a few lines, and an entry of `CLAIMS` in
`tf_lottery/studies/claims/claim_registry.py`: name, title, source, published figure, the runs that it needs for the
quick and the full size (`tf_lottery/studies/claims/recipes.py` has those of the claims above; equal configurations are
one run), and the function. A side of a comparison is a run's key, a variant, and a round (an integer) or a density (a
fraction). `Evidence` also has `mean` (the mean of a column), `error_barriers` (of a ticket under two data orders) and
`estimate` (for values of your own). Measures are `at_least`, `more_than`, `at_most`, and `reported` for
what decides nothing; `conclude` puts them together, from the mildest to the most demanding. Fix the bound before you
look. A claim that is added at run time, as here, holds for this process:

```python
from tf_lottery.studies.claims import CLAIMS, Claim, at_least, conclude, plan_claims, reproduce
from tf_lottery.experiment.config import Config


def half_holds(evidence):
    \"\"\"Half of the network is at most 20 points of test accuracy below all of it.\"\"\"
    half, dense = ("digits", "ticket", 1), ("digits", "ticket", 0)
    return conclude([at_least(evidence.difference(half, dense), -0.2)])


DIGITS = Config(steps=200, rounds=1, rate=0.5, replicates=3, variants=("ticket",))
CLAIMS["half-holds"] = Claim(
    "half-holds", "Half of a small network holds", "this page", "-", lambda quick: {"digits": DIGITS}, half_holds
)

report = reproduce(plan_claims(["half-holds"], quick=True, jobs=1))
print(report.outcomes[0].finding.passed)  # True
```
"""


def page(documents: list[dict[str, Any]], *, quick: bool) -> str:
    """Return the whole page.

    Args:
        documents: the documents of the outcomes, one per claim.
        quick: whether the runs are of the quick size.
    """
    runs = [run for document in documents for run in document["runs"].values()]
    names = [document["name"] for document in documents]
    called = " ".join(["tf-lottery reproduce", *(["all"] if names == list(CLAIMS) else names)])
    called = f"`{called}{' --quick' if quick else ''}`"
    dates = sorted({document["date"] for document in documents})
    date = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    seeds = sorted({run["config"]["seed"] for run in runs})
    made = f"{called} on {date}; {versions(runs)}; seed {', '.join(map(str, seeds))}."
    parts = [INTRODUCTION.format(command=f"The table and the figures are those of {called}, {date}.")]
    parts += [f"## Results\n\n{made}\n\n{markdown_table(documents)}"]
    parts += [chapter(document) for document in documents]
    return "\n".join([*parts, ADDING])


def versions(runs: list[dict[str, Any]]) -> str:
    """Return the package versions of the runs; several of a package where runs differ.

    Example:
        >>> versions([{"versions": {"keras": "3.9", "numpy": "2.1"}}, {"versions": {"keras": "3.10", "numpy": "2.1"}}])
        'keras 3.9 and 3.10, numpy 2.1'
    """
    by_package: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, version in run["versions"].items():
            by_package.setdefault(name, {})[version or "unknown"] = None
    return ", ".join(f"{name} {' and '.join(numbers)}" for name, numbers in by_package.items())


def chapter(document: Mapping[str, Any]) -> str:
    """Return the chapter of a claim."""
    claim = CLAIMS[document["name"]]
    lines = [f"## {claim.name}", "", f"{claim.title}.", ""]
    lines += [f"- Source: {claim.source}.", f"- Published: {claim.published}."]
    for quick in (True, False):
        lines.append(f"- {'Quick' if quick else 'Full'} size: {cost(claim, quick=quick)}")
        lines += [f"  - {key}: {protocol(config)}" for key, config in claim.configs(quick=quick).items()]
    replicates = ", ".join(f"{key} {count}" for key, count in document["replicates"].items()) or "none"
    lines.append(f"- Judged on {document['date']}; replicates: {replicates}.")
    lines += ["", f"**{VERDICTS[document['passed']].capitalize()}.** {document['reason']}".rstrip(), ""]
    lines += [NOTES[claim.name], ""] if claim.name in NOTES else []
    lines += ["| Measure | Ours (95 % interval) | Replicates | Wanted | |", "|---|--:|--:|---|---|"]
    for measure in document["measures"]:
        value = describe_measured(
            {**measure, "measured": measure["value"], "interval": [measure["low"], measure["high"]]}
        )
        verdict = VERDICTS[measure["passed"]] if measure["judged"] else "not judged"
        lines.append(f"| {measure['text']} | {value} | {measure['count']} | {measure['wanted'] or '-'} | {verdict} |")
    lines += ["", f"![{claim.title}]({(IMAGES / claim.name).as_posix()}.png)", ""]
    return "\n".join(lines)


def cost(claim: Claim, *, quick: bool) -> str:
    """Return how many trainings a claim needs and how long they take on two cores; other claims may share them.

    Args:
        claim: the claim.
        quick: whether the runs are of the quick size.
    """
    configs = {key: config.updated(jobs=2) for key, config in claim.configs(quick=quick).items()}
    runs = required_runs({claim.name: configs}, out=ROOT / "no such folder")
    times = [run.seconds() for run in runs]
    count = sum(len(run.jobs()) for run in runs)
    seconds = None if None in times else sum(time or 0.0 for time in times)
    return f"{count} trainings, {'of unknown length' if seconds is None else about(seconds)} on two cores."


def about(seconds: float) -> str:
    """Return a time in round words.

    Example:
        >>> about(95), about(6000), about(180000)
        ('about 2 minutes', 'about 1.7 hours', 'about 2.1 days')
    """
    units = ((86400, "days", 1), (3600, "hours", 1), (60, "minutes", 0))
    size, noun, digits = next((unit for unit in units if seconds >= 1.5 * unit[0]), units[-1])
    number = round(seconds / size, digits)
    return f"about {plural(int(number), noun[:-1]) if number == int(number) else f'{number} {noun}'}"


def protocol(config: Config) -> str:
    """Return a configuration in words."""
    if config.densities:
        pruned = f"densities {', '.join(f'{100 * density:g} %' for density in config.densities[1:])}"
    else:
        output = config.rate / 2 if config.output_rate is None else config.output_rate
        pruned = f"{plural(config.rounds, 'round')} of rate {config.rate:.4g} (output layer {output:.4g})"
    rate = f"{config.optimizer} at {config.learning_rate:g}"
    rate += f" with {config.warmup:,} steps of warm-up" if config.warmup else ""
    how = "" if config.pruning == "iterative" else f", {config.pruning.replace('_', ' ')}"
    parts = [f"{config.model} on {config.dataset}", rate, f"batch {config.batch_size}", f"{config.steps:,} steps"]
    parts += [f"{pruned}, {config.scope}, by {config.criterion}{how}", f"rewind {config.rewind}"]
    parts += [f"{plural(config.replicates, 'replicate')} of {', '.join(config.variants)}".replace("_", " ")]
    return "; ".join(parts) + "."


def small(png: bytes) -> bytes:
    """Return a figure with few colors."""
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image = image.resize((round(image.width * 0.72), round(image.height * 0.72)), Image.Resampling.LANCZOS)
    image.quantize(COLORS, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def main(arguments: list[str] | None = None) -> None:
    """Write the page and its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the runs")
    parser.add_argument("--full", action="store_true", help="the outcomes of the full size")
    parser.add_argument("--partial", action="store_true", help="also where claims of the list have no outcome yet")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder to write to")
    options = parser.parse_args(arguments)
    documents = read_outcomes(options.out, list(CLAIMS), quick=not options.full)
    if not documents:
        parser.error(f"no outcomes below {options.out}: run `tf-lottery reproduce` first")
    lacking = [name for name in CLAIMS if name not in {document["name"] for document in documents}]
    if lacking and not options.partial:
        parser.error(f"no outcome of {', '.join(lacking)} below {options.out}: run them, or pass --partial")
    if undated := [document["name"] for document in documents if "date" not in document]:
        parser.error(f"no date in the outcome of {', '.join(undated)}: the same `tf-lottery reproduce` judges it again")
    (options.docs / IMAGES).mkdir(parents=True, exist_ok=True)
    for document in documents:
        figure = options.out / ("claims" if options.full else "claims-quick") / document["name"] / "figure.png"
        (options.docs / IMAGES / f"{document['name']}.png").write_bytes(small(figure.read_bytes()))
    (options.docs / "claims.md").write_text(page(documents, quick=not options.full))


if __name__ == "__main__":
    main()

"""Put the demo's table, verdict and plot into the README.

make demo
python docs/refresh_demo.py runs/digits-mlp-<hash>
"""

import argparse
import shutil
from pathlib import Path

from tf_lottery_cli.wording import in_flags

from tf_lottery.experiment.presets import PRESETS
from tf_lottery.results.report.verdict import verdict
from tf_lottery.results.result import open_run
from tf_lottery.results.tables.summary import Table, render_rows

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- demo table: written by docs/refresh_demo.py -->\n", "<!-- end of demo table -->\n"
EVERY = 3  # rounds; the report of the run has them all
COLUMNS = ("Round", "Variant", "Weights left", "Weights kept", "Test accuracy", "Early-stop step")


def markdown(table: Table) -> str:
    """The table as Markdown: `COLUMNS`, and every third round."""
    chosen = [table.headers.index(header) for header in COLUMNS]
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "|".join("--:" if table.right[i] else "---" for i in chosen) + "|",
    ]
    rows = [row for row in table.rows if int(row[table.headers.index("Round")]) % EVERY == 0]
    return "\n".join(lines + ["| " + " | ".join(row[i] for i in chosen) + " |" for row in rows]) + "\n"


def presets_markdown() -> str:
    """The body of the table of presets."""
    return "".join(
        f"| `{preset.name}` | {preset.source} | {in_flags(preset.cost)} | {preset.expect} |\n"
        for preset in PRESETS.values()
    )


def refreshed(readme: str, content: str) -> str:
    """The README with other content between its marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise ValueError(f"The README must hold the lines {BEGIN.strip()!r} and {END.strip()!r}.")
    return before + BEGIN + "\n" + content + "\n" + END + after


def main(arguments: list[str] | None = None) -> None:
    """Rewrite README.md and docs/images/demo_accuracy.png from a run and its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    run = parser.parse_args(arguments).run
    readme = ROOT / "README.md"
    rows = open_run(run).rows
    shown = f"{markdown(render_rows(rows))}\nThe verdict of `tf-lottery run`:\n\n> {verdict(rows)}\n"
    readme.write_text(refreshed(readme.read_text(), shown))
    shutil.copyfile(run / "report" / "accuracy.png", ROOT / "docs" / "images" / "demo_accuracy.png")


if __name__ == "__main__":
    main()

"""How long an experiment takes with more workers: its plan, gone through without training, in one command.

    python benchmarks/scaling.py                                    mnist-lenet-300-100, 20 rounds, 10 replicates
    python benchmarks/scaling.py --rounds 10 --replicates 100 --workers 1 100 1000
    python benchmarks/scaling.py --seconds 120 --start-up 60        slower trainings, and workers that start slower

Nothing is trained, so nothing is measured: each training takes as long as any other, and a worker trains from
`--start-up` on. What it shows is what the order of the plan allows: rounds of a replicate follow each other.
"""

import argparse
import json
import sys
from pathlib import Path

GOAL = 0.9


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mnist-lenet-300-100")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--replicates", type=int, default=10)
    parser.add_argument("--variants", default="ticket,random_reinit")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 10, 20, 100, 1000])
    parser.add_argument("--seconds", type=float, default=20.0, help="of one training")
    parser.add_argument("--start-up", type=float, default=10.0, help="seconds until a worker trains")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Print a row for each number of workers, and what limits them."""
    from tf_lottery.experiment import plan, presets
    from tf_lottery.experiment.timetable import timetable

    options = parse(arguments)
    changes = {"rounds": options.rounds, "replicates": options.replicates}
    config = presets.get(options.preset).config().updated(**changes, variants=tuple(options.variants.split(",")))
    jobs = plan.jobs(config)
    rows = [
        timetable(config, jobs, lambda job: options.seconds, workers, start_up=options.start_up)
        for workers in options.workers
    ]
    first = rows[0]
    print(f"{len(jobs)} trainings of {options.seconds:g} s; {first.chain_length} of them follow each other")
    print(" workers      time  faster than one  efficiency  limited by")
    for row in rows:
        limit = "the chain of rounds" if row.seconds - options.start_up <= row.longest_chain * 1.1 else "the workers"
        faster = row.work / row.seconds
        print(f"{row.workers:8d} {row.seconds / 60:6.1f} min {faster:16.1f} {row.efficiency:11.0%}  {limit}")
    most = first.work / first.longest_chain
    print(
        f"no number of workers is more than {most:.1f} times faster than one; {GOAL:.0%} of the time of at most "
        f"{most / GOAL:.0f} can be training"
    )
    if options.json:
        options.json.write_text(json.dumps([vars(row) | {"efficiency": row.efficiency} for row in rows], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

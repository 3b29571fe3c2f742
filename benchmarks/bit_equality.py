"""Shows that a change of the code changes no result: masks, weights, optimizer states, rewind states, rows, histories.

    python benchmarks/bit_equality.py                            print the digests of this checkout
    python benchmarks/bit_equality.py --against ../before        compare with another checkout, array by array
    python benchmarks/bit_equality.py --digests benchmarks/bit_equality.json     compare with stored digests
    python benchmarks/bit_equality.py --write benchmarks/bit_equality.json       store the digests of this checkout

Each configuration runs in a process of its own, on the embedded digits or on arrays made here, and only by what a user
calls: the command line and `find_ticket`. Run directories are read without the package, so that one script serves the
code before and after a change. A checkout of an earlier commit: `git worktree add ../before COMMIT`.

Exit codes: 0 equal; 1 something differs, and the first of it is named; 2 the comparison is impossible, because stored
digests come from other library versions or another instruction set, or differ on another processor.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bit_arrays import ArraysByJob, differences, digest_arrays, digest_jobs, read_npz, read_run
from bit_child import IMPORTED
from bit_environment import describe_environment, held_environment, obstacles, processor

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = "tf-lottery.bit-equality/1"
SHOWN = 20  # differences per configuration
COMMON = ("--dataset", "digits", "--threads", "1", "--jobs", "1", "--device", "cpu", "--quiet")
COMMANDS = {
    "mlp": (
        *("--model", "mlp", "--rounds", "3", "--rate", "0.3", "--steps", "150", "--batch-size", "32"),
        *("--eval-every", "50", "--replicates", "2", "--seed", "5"),
        *("--variants", "ticket,random_reinit,shuffled_masks"),
    ),
    "conv": (
        *("--model", "bit_models:convolutional", "--rounds", "2", "--rate", "0.4", "--rewind", "step:20"),
        *("--steps", "70", "--batch-size", "32", "--eval-every", "35", "--scope", "global", "--pad-crop", "1"),
        *("--optimizer", "sgd", "--learning-rate", "0.05", "--momentum", "0.9", "--weight-decay", "0.001"),
        *("--lr-schedule", "cosine", "--warmup", "5", "--replicates", "1", "--variants", "ticket,random_reinit"),
    ),
    "one_shot": (
        *("--model", "mlp", "--pruning", "one_shot", "--criterion", "snip", "--score-examples", "200"),
        *("--densities", "0.5,0.2,0.05", "--scope", "global", "--steps", "100", "--batch-size", "32"),
        *("--eval-every", "50", "--replicates", "1", "--variants", "ticket,random_masks,reshuffled_weights"),
    ),
    "channel": (
        *("--model", "bit_models:channels", "--granularity", "channel", "--rounds", "2", "--rate", "0.25"),
        *("--steps", "60", "--batch-size", "32", "--eval-every", "30", "--replicates", "1"),
        *("--variants", "ticket,shuffled_masks,small_dense"),
    ),
}
CALLS = {"find_ticket_model": "model", "find_ticket_function": "function"}
CONFIGURATIONS = (*COMMANDS, *CALLS)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    Args:
        arguments: those of the command line; by default this process's.
    """
    options = parse(arguments)
    stored: dict[str, Any] | None = json.loads(options.digests.read_text()) if options.digests else None
    here = describe_environment()
    if stored and (reasons := obstacles(stored["environment"], here)):
        print(f"The comparison with {options.digests} is impossible: it was written with", file=sys.stderr)
        print("\n".join(f"  {reason}" for reason in reasons), file=sys.stderr)
        print("Compare with a checkout instead: --against CHECKOUT.", file=sys.stderr)
        return 2
    document: dict[str, Any] = {"schema": SCHEMA, "environment": here, "processor": processor(), "configurations": {}}
    unequal = False
    for name in options.only or CONFIGURATIONS:
        with tempfile.TemporaryDirectory() as folder:
            after = run_configuration(name, ROOT, Path(folder) / "after")
            before = run_configuration(name, options.against, Path(folder) / "before") if options.against else after
        record = document["configurations"][name] = summarize(after)
        lines = differing_jobs(stored["configurations"].get(name), record) if stored else [*differences(before, after)]
        unequal = unequal or bool(lines)
        compared = {"equal": not lines} if options.against or stored else {}
        counts = {"jobs": len(after), "arrays": sum(map(len, after.values()))}
        print(json.dumps({"configuration": name, **counts, "digest": record["digest"], **compared}), flush=True)
        for line in shorten(lines):
            print(f"  {line}", flush=True)
    if options.write:
        options.write.write_text(json.dumps(document, indent=1) + "\n")
    if unequal and stored and stored["processor"] != document["processor"]:
        # Block sizes may follow the caches of a processor: another one can prove equality, but no difference.
        print(
            f"{options.digests} was written on {stored['processor']}, and this is {document['processor']}: the "
            "difference may be the processor's. Compare with a checkout instead: --against CHECKOUT.",
            file=sys.stderr,
        )
        return 2
    return int(unequal)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Returns the options of the command.

    Args:
        arguments: those of the command line.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare with this checkout of the project")
    other.add_argument("--digests", type=Path, metavar="FILE", help="compare with the digests of this file")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the digests of this checkout there")
    parser.add_argument(
        "--only", action="append", choices=CONFIGURATIONS, metavar="NAME", help="this configuration only; repeatable"
    )
    options = parser.parse_args(arguments)
    if options.against and not (options.against / "tf_lottery").is_dir():
        parser.error(f"{options.against} is not a checkout of the project: it has no folder tf_lottery.")
    if options.digests and not options.digests.is_file():
        parser.error(f"{options.digests} is not there: write it with --write.")
    return options


def run_configuration(name: str, checkout: Path, folder: Path) -> ArraysByJob:
    """Runs a configuration with the package of a checkout, and reads what it wrote.

    Args:
        name: one of `CONFIGURATIONS`.
        checkout: folder of the checkout.
        folder: a folder to make, where everything is written.

    Returns:
        Arrays by job and key.

    Raises:
        SystemExit: the run failed, or imported the package from elsewhere.
    """
    links = link_packages(checkout, folder / "imports")
    if name in COMMANDS:
        child = ("command", "run", *COMMANDS[name], *COMMON, "--out", str(folder / "runs"))
    else:
        child = ("find_ticket", CALLS[name], str(folder))
    # -P: the folder of the script, with the other benchmarks in it, is not importable.
    command = [sys.executable, "-P", str(ROOT / "benchmarks/bit_child.py"), str(checkout.resolve()), *child]
    done = subprocess.run(
        command, cwd=folder, env=held_environment(links, folder), capture_output=True, text=True, check=False
    )
    if done.returncode or IMPORTED not in done.stderr:
        raise SystemExit(f"{name} failed in {checkout}, with exit code {done.returncode}:\n{done.stderr[-4000:]}")
    if name in CALLS:
        return read_run(folder / "run") | {"tickets": read_npz(folder / "tickets.npz")}
    (config,) = folder.glob("runs/*/config.json")
    return read_run(config.parent)


def link_packages(checkout: Path, folder: Path) -> Path:
    """Makes a folder from which Python imports the package of a checkout, its command line and our models.

    Args:
        checkout: folder of the checkout, whose folder `cli` is imported as `tf_lottery_cli`.
        folder: the folder to make.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True)
    targets = {
        "tf_lottery": checkout / "tf_lottery",
        "tf_lottery_cli": checkout / "cli",
        "bit_models.py": ROOT / "benchmarks/bit_models.py",
    }
    for link, target in targets.items():
        (folder / link).symlink_to(target.resolve(strict=True))
    return folder


def summarize(jobs: ArraysByJob) -> dict[str, Any]:
    """Returns the digest of a configuration and those of its jobs.

    Args:
        jobs: arrays by job and key.
    """
    digests = {job: digest_arrays(arrays) for job, arrays in sorted(jobs.items())}
    return {"digest": digest_jobs(digests), "jobs": digests}


def differing_jobs(stored: Mapping[str, Any] | None, record: Mapping[str, Any]) -> list[str]:
    """Returns the jobs whose digest is not the stored one.

    Args:
        stored: what `summarize` returned for the configuration when the digests were stored; None: nothing is stored.
        record: what it returns now.
    """
    before, after = (stored or {"jobs": {}})["jobs"], record["jobs"]
    return [
        f"{job}: {before.get(job, 'nothing')[:12]} stored, {after.get(job, 'nothing')[:12]} here"
        for job in sorted(before.keys() | after.keys())
        if before.get(job) != after.get(job)
    ]


def shorten(lines: list[str]) -> list[str]:
    """Returns the first lines, and how many more there are.

    Args:
        lines: any number of lines.
    """
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f"and {more} more"] if more > 0 else [])


if __name__ == "__main__":
    sys.exit(main())

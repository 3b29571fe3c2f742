"""`tf-lottery run`: the main job."""

import contextlib
import os
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from tf_lottery.errors import LotteryError
from tf_lottery.experiment import plan
from tf_lottery.experiment import run as experiment
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.effective_config import effective_config
from tf_lottery.experiment.step_counts import rewind_step
from tf_lottery.results.run_lookup import find_run

from . import options
from .command import Command
from .names import DEFAULT_OUT, PRESET
from .output import print_json, print_line, print_table, remark, set_up_logging
from .process import clean_output
from .progress import duration, shown
from .shared_options import out_option

SCHEMA = "tf-lottery.run/1"
EXAMPLES = {
    "tf-lottery run --rounds 2 --steps 100 --replicates 1": "A first look: two rounds of the embedded digits.",
    "tf-lottery run --rounds 3 --steps 100 --replicates 1": "One round more: what is done is not done again.",
    "tf-lottery run mnist-lenet-300-100 --steps 10000 --replicates 2 --dry-run": "What the paper's LeNet would take.",
    "tf-lottery run --dataset digits --densities 1,0.5,0.2 --steps 100 --rewind step:20 --json": "Chosen densities, "
    "late rewinding, and the result as JSON.",
}


@click.command(cls=Command, examples=EXAMPLES, arguments={"run_dir": "out"})
@click.argument("preset", type=PRESET, required=False)
@click.option("--config", "config_file", type=click.Path(), help="TOML or JSON file; a run's config.json is one.")
@options.configuration_options
@out_option
@click.option("--fresh", is_flag=True, help="Start over in a new directory instead of going on.")
@click.option("--dry-run", is_flag=True, help="Tell trainings, weights, disk and time; write nothing.")
@click.option("--checkpoint-every", type=click.FloatRange(0), help="Seconds between states saved in mid-training.")
@click.option("--tensorboard", is_flag=True, help="Write learning curves for TensorBoard into the run directory.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--quiet", is_flag=True, help="No progress and no hints.")
@click.pass_context
def command(
    context: click.Context,
    preset: str | None,
    config_file: str | None,
    out: Path,
    fresh: bool,
    dry_run: bool,
    checkpoint_every: float | None,
    tensorboard: bool,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Find lottery tickets: train, prune, rewind, repeat; with controls beside them.

    PRESET is a named experiment (see `tf-lottery presets`); without one it is digits-mlp. Options win over the file of
    --config, and that over the preset. The same command again goes on where it stopped; more --rounds, --replicates or
    --variants extend a run.
    """
    set_up_logging(context, quiet=quiet)
    if given["tickets_from"]:
        given["tickets_from"] = find_run(given["tickets_from"], out).path
    config = effective_config(preset, config_file, options.given(given))
    if dry_run:
        _dry_run(config, out, fresh=fresh, as_json=as_json, quiet=quiet)
        return
    with clean_output():
        model_hash = _check(config)
        store = experiment.locate(config, out, fresh=fresh, model_hash=model_hash)
        with _nothing_empty_left(store), shown(quiet=quiet) as events:
            if tensorboard:
                events = _with_tensorboard(events, store)
            rows = experiment.run(
                config, store, events=events, model_hash=model_hash, checkpoint_every=checkpoint_every
            )
    effective = store.document()
    for path, why in {} if quiet else store.environment().get("indivisible", {}).items():
        remark(f"{path} is {why}")
    if as_json:
        complete = all(
            store.is_complete(job) for job in plan.jobs(experiment.extended(config, store, model_hash=model_hash))
        )
        print_json(
            {"schema": SCHEMA, "run_dir": str(store.path), "complete": complete, "config": effective, "results": rows}
        )
        return
    _show(rows, store)
    if not quiet:
        name = shlex.quote(str(store.path))
        where = store.path.name if out == Path(DEFAULT_OUT) else name
        remark(f"Next: tf-lottery report {where}   (plots and an HTML page)")
        remark(f"      tf-lottery export {where}   (the ticket as .keras, SavedModel and TFLite)")


def _with_tensorboard(events: experiment.Events, store: RunDirectory) -> experiment.Events:
    """The same events, with a training's curves written for TensorBoard when it is done."""
    from tf_lottery.results.report.tensorboard import write_tensorboard

    write_tensorboard([], store.path / "tensorboard")  # tells at once if TensorBoard is not installed

    def on_done(job: Job, row: dict[str, Any]) -> None:
        events.on_done(job, row)
        identity = {"replicate": job.replicate, "round": job.round, "variant": job.variant}
        curves = [{**identity, **record} for record in store.metrics(job)["history"]]
        write_tensorboard(curves, store.path / "tensorboard")

    return replace(events, on_done=on_done)


def _show(rows: list[dict[str, Any]], store: RunDirectory) -> None:
    from tf_lottery.results.report.verdict import verdict
    from tf_lottery.results.tables.summary import render_rows

    table = render_rows(rows)
    print_table(table.headers, table.rows, right=table.right)
    click.echo()
    print_line(verdict(rows, rewind=store.config().rewind))
    click.echo(f"Run directory: {store.path}")


def _check(config: Config) -> str:
    """Check what can be checked before anything is written, and tell what a user's model adds to the hash.

    Named data that is at hand and named models need no TensorFlow for that; everything else is made for real, once.
    """
    from tf_lottery.data import locations
    from tf_lottery.models.catalog import CATALOG

    if config.steps is not None and config.rewind_point.unit == "step":
        rewind_step(config, None)
    locations.check_name(config.dataset)
    at_hand = config.dataset == "digits" or any(
        find(config.dataset, config.data_dir) for find in (locations.find_prepared, locations.find_raw)
    )
    if config.model in CATALOG and at_hand:
        return ""
    if config.model not in CATALOG and ":" not in config.model and not config.model.endswith(".keras"):
        from tf_lottery.errors import UsageError
        from tf_lottery.utils.text import suggestion

        raise UsageError(
            f"Unknown model {config.model!r}: no architecture, no `package.module:function`, no `.keras` file.",
            suggestion(config.model, CATALOG),
        )
    from tf_lottery.experiment import problem
    from tf_lottery.training.device import configure

    configure(threads=config.threads, device=config.device)  # possible only before TensorFlow computes anything
    problem.from_config(config)
    return problem.model_hash(config)


@contextlib.contextmanager
def _nothing_empty_left(store: RunDirectory) -> Iterator[None]:
    """Where a run fails before its first training is committed or saved, remove the directory that was made for it."""
    missing = [folder for folder in (store.path, *store.path.parents) if not folder.exists()]
    try:
        yield
    except Exception:
        if missing and not store.complete_jobs() and not any(store.path.glob("replicate_*/round_*/**/partial.npz")):
            with contextlib.suppress(LotteryError, OSError), store.lock():
                shutil.rmtree(store.path)
            for folder in missing:
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        raise


def _dry_run(config: Config, out: Path, *, fresh: bool, as_json: bool, quiet: bool) -> None:
    with clean_output():
        model_hash = _check(config)
        from tf_lottery.experiment import problem
        from tf_lottery.experiment.estimate import estimate
        from tf_lottery.training.device import configure

        configure(threads=config.threads, device=config.device)
        store = experiment.locate(config, out, fresh=fresh, model_hash=model_hash)
        if (store.path / "config.json").exists():
            config = experiment.extended(config, store, model_hash=model_hash)
        done = sum(store.is_complete(job) for job in plan.jobs(config))
        found = estimate(config, problem.from_config(config), jobs_done=done)
    for path, why in {} if quiet else found.indivisible.items():
        remark(f"{path} is {why}")
    if as_json:
        document = {"schema": "tf-lottery.dry-run/1", "run_dir": str(store.path), "config": config.to_json()}
        print_json(document | found.to_json())
        return
    total = found.weights_kept[0]
    rows = [
        ("Run directory", f"{store.path} ({'exists' if done else 'nothing is written now'})"),
        ("Trainings", f"{found.jobs} of {found.steps:,} steps, {found.processes} at once"),
        ("Done already", f"{done} of {found.jobs_total}"),
        ("Model", f"{config.model}: {found.parameters:,} parameters, {total:,} maskable weights"),
        ("Step", f"{1e6 * found.seconds_per_step:,.0f} microseconds{' with XLA' if found.xla else ''}"),
        ("Evaluation", f"{1e3 * found.seconds_per_evaluation:,.1f} milliseconds every {config.eval_every} steps"),
        ("Disk", f"{found.disk_bytes / 1e6:,.1f} MB"),
        ("Time", f"about {duration(found.seconds)}"),
    ]
    print_table(("Dry run", ""), rows)
    click.echo()
    kept = [(str(k), f"{n:,}", f"{100 * n / total:.2f} %") for k, n in enumerate(found.weights_kept)]
    print_table(("Round", "Weights kept", "Density"), kept, right=(True, True, True))

"""`tf-lottery run`: the main job."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.experiment.effective_config import effective_config
from tf_lottery.experiment.preflight import DryRun, check_before_run, dry_run, removing_unused_directory
from tf_lottery.experiment.presets import PRESETS
from tf_lottery.experiment.run import locate, run
from tf_lottery.experiment.run_state import read_state
from tf_lottery.results.run_lookup import find_run
from tf_lottery.utils.machine import available_memory
from tf_lottery.utils.text import duration

from . import options
from .command import Command
from .names import DEFAULT_OUT, PRESET
from .output import print_json, print_line, print_path, print_rendered, print_table, remark, set_up_logging
from .process import clean_output
from .progress import show_progress
from .shared_options import checkpoint_every_option, out_option, output_options, trust_option

SCHEMA = "tf-lottery.run/1"
DRY_RUN_SCHEMA = "tf-lottery.dry-run/1"
EXAMPLES = {
    "tf-lottery run --rounds 2 --steps 100 --replicates 1": "A first look: two rounds of the embedded digits.",
    "tf-lottery run --rounds 3 --steps 100 --replicates 1": "One round more: what is done is not done again.",
    "tf-lottery run mnist-lenet-300-100 --steps 10000 --replicates 2 --dry-run": "What the paper's LeNet would take.",
    "tf-lottery run --dataset digits --densities 1,0.5,0.2 --steps 100 --rewind step:20 --json": "Chosen densities, "
    "late rewinding, and the result as JSON.",
}
# Options that arguments of the library have under another name.
ARGUMENTS = {"drop": "lr_drop", "milestones": "lr_milestones", "pad": "pad_crop", "run_dir": "out"}


@click.command(cls=Command, examples=EXAMPLES, arguments=ARGUMENTS, names={"Presets": lambda: PRESETS})
@click.argument("preset", type=PRESET, required=False)
@click.option("--config", "config_file", type=click.Path(), help="TOML or JSON file; a run's config.json is one.")
@options.configuration_options
@out_option
@click.option("--fresh", is_flag=True, help="Start over in a new directory instead of resuming.")
@click.option("--dry-run", "dry", is_flag=True, help="Show trainings, weights, memory, disk and time; write nothing.")
@trust_option
@checkpoint_every_option
@click.option("--tensorboard", is_flag=True, help="Write learning curves for TensorBoard into the run directory.")
@output_options
@click.pass_context
def command(
    context: click.Context,
    /,
    preset: str | None,
    config_file: str | None,
    out: Path,
    fresh: bool,
    dry: bool,
    trust: bool,
    checkpoint_every: float | None,
    tensorboard: bool,
    as_json: bool,
    quiet: bool,
    **configured: Any,
) -> None:
    """Find lottery tickets: train, prune, rewind, repeat; with controls beside them.

    PRESET is a named experiment (see `tf-lottery presets`); without one it is digits-mlp. Options win over the file of
    --config, and that over the preset. The same command again resumes where it stopped; more --rounds, --replicates or
    --variants extend a run.
    """
    set_up_logging(context, quiet=quiet)
    if configured["tickets_from"]:
        configured["tickets_from"] = find_run(configured["tickets_from"], out).path
    config = effective_config(preset, config_file, options.given(configured), trust=trust)
    if dry:
        if not quiet:
            remark(f"Measuring a training step and an evaluation of {config.model} on {config.dataset} ...")
        with clean_output():
            planned = dry_run(config, out, fresh=fresh, trust=trust)
        _print_dry_run(planned, as_json=as_json, quiet=quiet)
        return
    with clean_output():
        model_hash = check_before_run(config)
        store = locate(config, out, fresh=fresh, model_hash=model_hash)
        with removing_unused_directory(store, config), show_progress(quiet=quiet) as events:
            if tensorboard:
                from tf_lottery.results.report.tensorboard import events_with_tensorboard

                events = events_with_tensorboard(events, store)
            rows = run(config, store, events=events, model_hash=model_hash, checkpoint_every=checkpoint_every)
    remark_on_whole_weights(store.environment().get("indivisible", {}), quiet=quiet)
    if as_json:
        from tf_lottery.results.report.conclusions import conclusions

        state = read_state(store.path)
        complete = state.jobs_done == state.jobs_total
        about = {"run_dir": str(store.path), "complete": complete, "config": store.document()}
        print_json({"schema": SCHEMA, **about, "results": rows, **conclusions(rows, rewind=store.config().rewind)})
        return
    _print_results(rows, store)
    if not quiet:
        name = store.path.name if out == Path(DEFAULT_OUT) else shlex.quote(str(store.path))
        remark(f"Next: tf-lottery report {name}   (plots and an HTML page)")
        remark(f"      tf-lottery export {name}   (the ticket as verified files)")


def _print_results(rows: Sequence[dict[str, Any]], store: RunDirectory) -> None:
    from tf_lottery.results.report.verdict import verdict
    from tf_lottery.results.tables.summary import render_rows

    print_rendered(render_rows(rows))
    print_line()
    print_line(verdict(rows, rewind=store.config().rewind))
    print_path(store.path, label="Run directory: ")


def remark_on_whole_weights(reasons: Mapping[str, str], *, quiet: bool) -> None:
    """Say which weights are not pruned in the units that were asked for.

    Args:
        reasons: what they are, by weight path.
        quiet: say nothing.
    """
    for path, reason in {} if quiet else reasons.items():
        remark(f"{path} is {reason}")


def _print_dry_run(planned: DryRun, *, as_json: bool, quiet: bool) -> None:
    config, estimate = planned.config, planned.estimate
    remark_on_whole_weights(estimate.indivisible, quiet=quiet)
    if as_json:
        print_json({"schema": DRY_RUN_SCHEMA, **planned.to_json()})
        return
    total = estimate.weights_kept[0]
    rows = [
        ("Run directory", f"{planned.run_dir} ({'exists' if planned.jobs_done else 'nothing is written now'})"),
        ("Trainings", f"{estimate.jobs} of {estimate.steps:,} steps, {estimate.processes} at once"),
        ("Done already", f"{planned.jobs_done} of {estimate.jobs_total}"),
        ("Model", f"{config.model}: {estimate.parameters:,} parameters, {total:,} maskable weights"),
        ("Step", f"{1e6 * estimate.seconds_per_step:,.0f} microseconds{' with XLA' if estimate.xla else ''}"),
        ("Evaluation", f"{1e3 * estimate.seconds_per_evaluation:,.1f} milliseconds every {config.eval_every} steps"),
        *([("Memory", _memory(estimate.memory_bytes))] if estimate.memory_bytes else []),
        ("Disk", f"{estimate.disk_bytes / 1e6:,.1f} MB"),
        ("Time", f"about {duration(estimate.seconds)}"),
        ("One after the other", f"{estimate.chain_length} trainings, {duration(estimate.chain_seconds)} at least"),
    ]
    print_table(("Dry run", ""), rows)
    print_line()
    kept = [
        (str(number), f"{count:,}", f"{100 * count / total:.2f} %")
        for number, count in enumerate(estimate.weights_kept)
    ]
    print_table(("Round", "Weights kept", "Density"), kept, right=(True, True, True))


def _memory(needed: int) -> str:
    free = available_memory(swap=True)
    known = "" if free is None else f" ({free / 1e9:,.1f} GB free now{'' if needed <= free else ': NOT ENOUGH'})"
    return f"{needed / 1e9:,.2f} GB at the peak, in all processes{known}"

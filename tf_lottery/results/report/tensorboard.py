"""Learning curves for TensorBoard, where wanted: one TensorBoard run per training."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tf_lottery.experiment.directory import Job, RunReader
from tf_lottery.experiment.events import Events
from tf_lottery.utils.files import resources
from tf_lottery.utils.optional import require

IDENTITY = ("replicate", "round", "variant", "step")


def write_tensorboard(curves: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write each training's curves as TensorBoard scalars; what an earlier call wrote for it is replaced.

    Args:
        curves: records of replicate, round, variant, step and numbers, as in `metrics.jsonl`.
        folder: the log directory that TensorBoard is started with.

    Returns:
        One folder per training: `replicate_<r>_round_<kk>_<variant>`.

    Raises:
        UsageError: TensorBoard is not installed.
        ResourceError: the folder can't be written.
    """
    require("tensorboard", "TensorBoard's files")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    trainings: dict[Path, list[Mapping[str, Any]]] = {}
    for record in curves:
        name = f"replicate_{record['replicate']}_round_{record['round']:02d}_{record['variant']}"
        trainings.setdefault(Path(folder) / name, []).append(record)
    for place, records in trainings.items():
        with resources(place):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            writer = EventFileWriter(str(place))
            for record in records:
                numbers = {key: value for key, value in record.items() if key not in IDENTITY and value is not None}
                values = [Summary.Value(tag=key, simple_value=value) for key, value in numbers.items()]
                writer.add_event(Event(step=record["step"], summary=Summary(value=values)))
            writer.close()
    return list(trainings)


def events_with_tensorboard(events: Events, run: RunReader) -> Events:
    """Return the same events, with the curves of each training written for TensorBoard when it is done.

    Args:
        events: what a caller watches.
        run: the run, whose folder `tensorboard/` is written to.

    Raises:
        UsageError: TensorBoard is not installed.
    """
    folder = run.path / "tensorboard"
    write_tensorboard([], folder)  # fails before anything is trained

    def on_done(job: Job, row: dict[str, Any]) -> None:
        events.on_done(job, row)
        identity = {"replicate": job.replicate, "round": job.round, "variant": job.variant}
        write_tensorboard([{**identity, **record} for record in run.metrics(job)["history"]], folder)

    return replace(events, on_done=on_done)

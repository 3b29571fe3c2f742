"""The row of results of a training."""

from collections.abc import Mapping
from typing import Any

from tf_lottery.experiment.directory import Job
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning.masks import Masks
from tf_lottery.training.loop import TrainingProgress


def result_row(job: Job, masks: Masks, progress: TrainingProgress, *, steps: int) -> dict[str, Any]:
    """Return the row of results of a training, its time aside.

    Args:
        job: the training.
        masks: its masks, by weight path.
        progress: its evaluations.
        steps: the number of steps that it took.
    """
    last = progress.history[-1]
    kept, total = mask_tools.kept(masks), mask_tools.total(masks)
    row = {
        "replicate": job.replicate,
        "round": job.round,
        "variant": job.variant,
        "density": kept / total,
        "sparsity": 1 - kept / total,
        "weights_kept": kept,
        "weights_total": total,
        "steps": steps,
        "train_loss": last["train_loss"],
        "val_loss": last["val_loss"],
        "val_accuracy": accuracy(last, "val_"),
        "test_loss": progress.test.get("loss"),
        "test_accuracy": accuracy(progress.test),
        "early_stop_step": progress.best_step,
        "early_stop_val_loss": progress.best_loss,
        "early_stop_test_accuracy": accuracy(progress.best_test),
        "seconds": None,
        "steps_per_second": None,
    }
    others = {key: value for key, value in last.items() if key.startswith("val_")}
    others |= {f"test_{name}": value for name, value in progress.test.items()}
    return row | {key: value for key, value in others.items() if key not in row}


def accuracy(results: Mapping[str, float], prefix: str = "") -> float | None:
    """Return the accuracy among some results: the metric of that name, or the first whose name ends in it.

    Args:
        results: the values of metrics, by name.
        prefix: what stands before the names of the metrics in question, e.g. "val_".
    """
    names = [name for name in results if name.startswith(prefix) and name.endswith("accuracy")]
    exact = f"{prefix}accuracy"
    return results[exact if exact in names else names[0]] if names else None

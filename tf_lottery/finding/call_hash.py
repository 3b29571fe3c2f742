"""What makes the run of one call another run than that of another call."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tf_lottery.experiment.problem import configuration_hash, without_automatic_names
from tf_lottery.finding.training_settings import TrainingSettings
from tf_lottery.training.identity import describe
from tf_lottery.training.optimizers import serialize_optimizer


def call_hash(
    model: keras.Model,
    settings: TrainingSettings,
    maskable: Sequence[str],
    fingerprint: str,
    extras: Mapping[str, Any],
) -> str:
    """Return the SHA-256 of what a call adds to its configuration: another model, loss or data set is another run.

    Args:
        model: the model of the first replicate.
        settings: its loss, optimizer and metrics.
        maskable: the paths of the weights that are masked.
        fingerprint: of the data.
        extras: what else decides the results; None for what was not given, which is left out.
    """
    described = [
        without_automatic_names(serialize_optimizer(settings.optimizer)),
        describe(settings.loss),
        describe(settings.metrics),
        describe(settings.loss_weights),
        list(maskable),
    ]
    more = {**extras, "weighted_metrics": settings.weighted_metrics}
    if stated := {name: describe(value) for name, value in more.items() if value is not None}:
        described.append(stated)
    text = json.dumps([configuration_hash(model), described, fingerprint], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()

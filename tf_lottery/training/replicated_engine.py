"""The training engine under a strategy of TensorFlow: one model, trained by several devices or processes."""

import functools
import logging
from typing import Any

import keras

from tf_lottery.training.batches import Batch
from tf_lottery.training.engine import Engine
from tf_lottery.training.replica_layers import draw_by_replica
from tf_lottery.training.replicas import Replicas
from tf_lottery.training.replicated_steps import ReplicatedSteps

log = logging.getLogger(__name__)
WITHOUT = "no XLA and no sparse kernels under a strategy: neither computes what the replicas exchange"


class ReplicatedEngine(Engine):
    """Trains and evaluates one wrapped model, made in the scope of a strategy, in all of its replicas.

    Steps are compiled without XLA and without the sparse kernels, which know nothing of other replicas.

    Args:
        model: a wrapped model, made in the scope.
        replicas: the replicas.
        **settings: as for `Engine`, without `xla` and `sparse`.
    """

    replicas: Replicas

    def __init__(self, model: keras.Model, replicas: Replicas, **settings: Any) -> None:
        log.info(WITHOUT)
        self.replicas = replicas
        draw_by_replica(model)
        with replicas.scope():
            super().__init__(model, **settings, xla="off", sparse="off")

    def _compile(self) -> None:
        self.sparse = None
        make = functools.partial(ReplicatedSteps, replicas=self.replicas, augment=self.augment, traces=self.traces)
        self._dense = make(self._steps)

    def prepare(self, example: Batch) -> None:
        """Create the variables of the metrics, for all replicas; as `Engine.prepare`."""
        with self.replicas.scope():
            self._steps.create_metrics(example)
        super().prepare(example)

    def chunk_size(self) -> int:
        """How many steps take about a second; the same in all processes."""
        return self.replicas.chosen(super().chunk_size())

"""What a server of processes loads once, for workers that need not load TensorFlow again: see `use_forked_workers`."""

import multiprocessing as mp
import multiprocessing.forkserver
import os
from pathlib import Path

from tf_lottery.experiment.workers import worker_pool

SERVER = "TF_LOTTERY_TEST_SERVER"


class _ForkedWorkers:
    """Stands for `multiprocessing` in `worker_pool`."""

    @staticmethod
    def get_context(method):
        return mp.get_context("forkserver")


def use_forked_workers(patch, variables):
    """Let workers be forked, for the rest of a test module, from a process that has loaded TensorFlow.

    Args:
        patch: a `MonkeyPatch`.
        variables: what their environment has beside this process's.
    """
    mp.set_forkserver_preload([__name__])
    for name, value in {"PYTHONPATH": str(Path(__file__).parent), SERVER: "1", **variables}.items():
        patch.setenv(name, value)
    mp.forkserver.ensure_running()
    patch.setattr(worker_pool, "mp", _ForkedWorkers)


if SERVER in os.environ:
    worker_pool._exit_with = lambda parent: None  # the parent of a worker is the server, which ends with the test
    import tf_lottery.experiment.problem
    import tf_lottery.experiment.workers.trainer  # noqa: F401

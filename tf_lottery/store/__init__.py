"""The run directory: atomic commits, manifests, lock and resume. No TensorFlow."""

from tf_lottery.store.rundir import COLUMNS, SEARCH, TICKET, Job, RunDirectory

__all__ = ["COLUMNS", "SEARCH", "TICKET", "Job", "RunDirectory"]

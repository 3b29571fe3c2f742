"""The run directory: atomic commits, manifests, lock and resume. No TensorFlow."""

from tf_lottery.experiment.directory.run_directory import COLUMNS, SEARCH, TICKET, Job, RunDirectory

__all__ = ["COLUMNS", "SEARCH", "TICKET", "Job", "RunDirectory"]

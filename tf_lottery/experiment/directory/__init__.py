"""The run directory: one reader, atomic commits, manifests, lock and resume. No TensorFlow."""

from tf_lottery.experiment.directory.job import SEARCH, TICKET, Job
from tf_lottery.experiment.directory.result_files import COLUMNS
from tf_lottery.experiment.directory.run_directory import RunDirectory
from tf_lottery.experiment.directory.run_reader import RunReader

__all__ = ["COLUMNS", "SEARCH", "TICKET", "Job", "RunDirectory", "RunReader"]

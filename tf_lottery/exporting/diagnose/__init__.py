"""Diagnosis: what a pruned model's zeros will be worth at run time, operation by operation, and what to change."""

from tf_lottery.exporting.diagnose.diagnosis import SCHEMA as SCHEMA
from tf_lottery.exporting.diagnose.diagnosis import Diagnosis as Diagnosis
from tf_lottery.exporting.diagnose.diagnosis import diagnose as diagnose

__all__ = ["SCHEMA", "Diagnosis", "diagnose"]

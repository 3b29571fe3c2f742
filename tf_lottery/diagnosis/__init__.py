"""Diagnosis: what a pruned model's zeros will be worth at run time, operation by operation, and what to change."""

from tf_lottery.diagnosis.diagnose import SCHEMA as SCHEMA
from tf_lottery.diagnosis.diagnose import Diagnosis as Diagnosis
from tf_lottery.diagnosis.diagnose import diagnose as diagnose

__all__ = ["SCHEMA", "Diagnosis", "diagnose"]

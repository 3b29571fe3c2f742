"""Slimming: what zeros made dead is taken out of a model, exactly."""

from tf_lottery.exporting.slim.removing import slim
from tf_lottery.exporting.slim.slim_report import LayerSlimming, SlimReport

__all__ = ["LayerSlimming", "SlimReport", "slim"]

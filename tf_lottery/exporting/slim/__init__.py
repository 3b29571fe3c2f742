"""Slimming: units and channels that zeros made dead are removed from a model, exactly."""

from tf_lottery.exporting.slim.slim_report import LayerSlimming, SlimReport
from tf_lottery.exporting.slim.slimming import slim

__all__ = ["LayerSlimming", "SlimReport", "slim"]

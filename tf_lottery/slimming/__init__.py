"""Slimming: what zeros made dead is taken out of a model, exactly."""

from tf_lottery.slimming.removing import slim
from tf_lottery.slimming.report import LayerSlimming, SlimReport

__all__ = ["LayerSlimming", "SlimReport", "slim"]

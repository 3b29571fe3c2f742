"""Quantization-aware training: a model with fake quantization where LiteRT's int8 has integers, and its int8 form."""

from tf_lottery.exporting.quantization.quantize_aware import quantize_aware

__all__ = ["quantize_aware"]

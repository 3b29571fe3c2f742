"""Measurement: size, load time, latency and memory of model files, in turn, beside the dense files as rulers."""

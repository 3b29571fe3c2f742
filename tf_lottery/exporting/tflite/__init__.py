"""TFLite files: converted, their pruned weights encoded sparse, run and timed in LiteRT."""

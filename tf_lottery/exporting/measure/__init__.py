"""Size, load time, latency and memory of model files, measured in turn beside their dense baselines."""

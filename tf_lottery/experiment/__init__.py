"""Experiments: rounds of train, prune, rewind; variants; replicates. Importing this loads no TensorFlow."""

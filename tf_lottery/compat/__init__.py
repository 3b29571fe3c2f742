"""Bridges from other libraries: tfmot's names on Keras 3 models, and models that tfmot pruned."""

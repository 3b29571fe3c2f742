"""Keras models: the architectures of the papers, and the user's own.

Importing this loads nothing: `catalog` is free of TensorFlow, `architectures` and `building` load Keras.
"""

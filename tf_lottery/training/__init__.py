"""The `tf.function` training engine."""

"""Activations that compute each channel from that channel alone."""

import keras

_NAMES = (
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "swish", "mish", "softplus"),
    *("softsign", "sigmoid", "log_sigmoid", "hard_sigmoid", "hard_silu", "hard_swish", "sparse_sigmoid", "tanh"),
    *("hard_tanh", "tanh_shrink", "exponential", "squareplus", "sparse_plus", "soft_shrink", "hard_shrink"),
)
ELEMENTWISE_ACTIVATIONS = frozenset(
    getattr(module, name) for module in (keras.activations, keras.ops) for name in _NAMES if hasattr(module, name)
)
"""Keras's elementwise activation functions. Softmax and functions like it mix channels and are not among them."""

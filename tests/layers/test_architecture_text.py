import keras
import numpy as np
from keras import layers

from tf_lottery.layers import architecture


def make(*, both: bool = True) -> keras.Model:
    inputs = keras.Input((8,))
    first, second = layers.Dense(4)(inputs), layers.Dense(4, activation="relu")(inputs)
    x = layers.Add()([first, second] if both else [second, second])
    x = layers.Softmax()(x)
    x = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(3, name="chosen")])(x)
    x = layers.Bidirectional(layers.LSTM(2))(layers.Reshape((1, 3))(x)) + 1.0
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(x))


def test_equal_for_every_build_compiled_or_not():
    first, second = make(), make()
    second.compile("adam", "mse")
    assert first.layers[1].name != second.layers[1].name  # Keras counts on
    assert architecture(first) == architecture(second)


def test_other_connections_of_the_same_layers_differ():
    both, one = architecture(make()), architecture(make(both=False))
    assert both != one


def test_a_model_made_from_the_text_computes_the_same():
    model = make()
    again = keras.models.model_from_json(architecture(model))
    again.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    np.testing.assert_array_equal(again(x), model(x))
    assert architecture(again) == architecture(model)
    assert "chosen" in architecture(model)

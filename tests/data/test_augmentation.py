"""Random crops and mirroring: each result is one of the windows drawn by hand, equal bits with and without XLA."""

import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.data.augmentation import augment
from tf_lottery.errors import UsageError

IMAGES = np.arange(1, 6 * 4 * 5 * 2 + 1, dtype="float32").reshape(6, 4, 5, 2)


def windows(image: np.ndarray, pad: int, flip: bool) -> list[np.ndarray]:
    """All that may become of an image: mirrored ones last."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    span = range(2 * pad + 1)
    crops = [padded[top : top + height, left : left + width] for top in span for left in span]
    return crops + ([crop[:, ::-1] for crop in crops] if flip else [])


def which(image: np.ndarray, result: np.ndarray, pad: int, flip: bool) -> int:
    matches = [i for i, window in enumerate(windows(image, pad, flip)) if np.array_equal(window, result)]
    assert len(matches) == 1
    return matches[0]


@pytest.mark.parametrize(("pad", "flip"), [(2, True), (2, False), (0, True), (1, False)])
def test_each_image_becomes_one_of_its_windows(pad, flip):
    result = augment(tf.constant(IMAGES), seed=(3, 7), pad=pad, flip=flip).numpy()
    assert result.shape == IMAGES.shape
    assert result.dtype == IMAGES.dtype
    for image, changed in zip(IMAGES, result, strict=True):
        which(image, changed, pad, flip)


def test_every_window_is_as_likely():
    many = np.broadcast_to(IMAGES[:1], (3_600, *IMAGES.shape[1:]))
    result = augment(tf.constant(many), seed=(0, 0), pad=1, flip=True).numpy()
    options = np.stack(windows(IMAGES[0], 1, True))
    counts = (result[:, None] == options[None]).all((2, 3, 4)).sum(0)
    # 200 expected in each of 18 cells; 60 is more than four standard deviations.
    assert counts.sum() == 3_600
    assert counts.min() > 140
    assert counts.max() < 260


def test_a_pure_function_of_seed_and_step():
    def run(seed, step):
        return augment(tf.constant(IMAGES), seed=tf.constant([seed, step]), pad=2, flip=True).numpy()

    assert np.array_equal(run(1, 2), run(1, 2))
    assert not np.array_equal(run(1, 2), run(1, 3))
    assert not np.array_equal(run(1, 2), run(2, 2))


def test_flipping_does_not_change_the_crops():
    plain = augment(tf.constant(IMAGES), seed=(4, 4), pad=2, flip=False).numpy()
    mirrored = augment(tf.constant(IMAGES), seed=(4, 4), pad=2, flip=True).numpy()
    for image, a, b in zip(IMAGES, plain, mirrored, strict=True):
        # Mirroring is done on the window's columns.
        assert which(image, a, 2, True) == which(image, b, 2, True) % 25


def test_same_bits_with_xla_and_without_and_no_new_trace_per_step():
    def step(images, seed):
        return augment(images, seed=seed, pad=2, flip=True)

    plain, compiled = tf.function(step), tf.function(step, jit_compile=True)
    for number in range(3):
        seed = tf.constant([11, number])
        expected = plain(tf.constant(IMAGES), seed)
        assert expected.shape == IMAGES.shape
        assert np.array_equal(expected.numpy(), compiled(tf.constant(IMAGES), seed).numpy())
    assert plain.experimental_get_tracing_count() == compiled.experimental_get_tracing_count() == 1


def test_an_open_batch_size():
    @tf.function(input_signature=[tf.TensorSpec((None, 4, 5, 2))])
    def step(images):
        return augment(images, seed=(3, 7), pad=2, flip=True)

    expected = augment(tf.constant(IMAGES), seed=(3, 7), pad=2, flip=True)
    assert np.array_equal(step(IMAGES).numpy(), expected.numpy())


def test_nothing_to_do_changes_nothing():
    images = tf.constant(IMAGES)
    assert augment(images, seed=(0, 0), pad=0, flip=False) is images


@pytest.mark.parametrize("pad", [-1, 1.5, "2"])
def test_bad_padding(pad):
    with pytest.raises(UsageError):
        augment(tf.constant(IMAGES), seed=(0, 0), pad=pad, flip=False)

"""The choice of bits for each weight, with costs that are given by hand."""

import itertools

import pytest

from tf_lottery.exporting.tflite.bit_choice import FLOAT, Cost, choose_bits

# What a weight of so many bits adds to the error.
ERRORS = {"first": {4: 50, 8: 1}, "wide": {4: 10, 8: 1}, "last": {4: 40, 8: 1}}
SIZES = {"first": 10, "wide": 1000, "last": 100}
LEAST = dict.fromkeys(ERRORS, 4)


def measure_up_to(allowed, counted=None):
    def measure(bits):
        if counted is not None:
            counted.append(dict(bits))
        error = sum(ERRORS[key].get(count, 0) for key, count in bits.items())
        return Cost(error, error <= allowed)

    return measure


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (100, {"first": 4, "wide": 4, "last": 4}),
        (55, {"first": 8, "wide": 4, "last": 4}),
        (15, {"first": 8, "wide": 4, "last": 8}),
        (3, {"first": 8, "wide": 8, "last": 8}),
        (2, {"first": FLOAT, "wide": 8, "last": 8}),
        (0, dict.fromkeys(ERRORS, FLOAT)),
    ],
)
def test_what_costs_most_for_its_size_gets_more_bits(allowed, expected):
    assert choose_bits(LEAST, SIZES, measure_up_to(allowed)) == expected


@pytest.mark.parametrize("allowed", [60, 51, 42, 13, 2, 1])
def test_the_choice_holds_and_no_weight_alone_can_have_fewer_bits(allowed):
    measure = measure_up_to(allowed)
    bits = choose_bits(LEAST, SIZES, measure)
    assert measure(bits).holds
    for key, fewer in itertools.product(bits, (4, 8)):
        assert fewer >= bits[key] or not measure(bits | {key: fewer}).holds


def test_weights_without_a_4_bit_form_keep_8():
    least = {"first": 8, "wide": 4, "last": 4}
    assert choose_bits(least, SIZES, measure_up_to(15)) == {"first": 8, "wide": 4, "last": 8}


def test_what_holds_at_once_is_measured_once():
    counted = []
    choose_bits(LEAST, SIZES, measure_up_to(100, counted))
    assert counted == [LEAST]

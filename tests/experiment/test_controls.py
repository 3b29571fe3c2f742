"""Controls as pure functions: what each keeps of the ticket, and what it draws anew."""

import numpy as np
import pytest

from tf_lottery.experiment.controls import CONTROLS, TicketStart
from tf_lottery.pruning import masks as mask_tools

RNG = np.random.default_rng(0)
SHAPES = {"a/kernel": (40, 30), "b/kernel": (30, 5)}
INITIAL = {key: RNG.normal(size=shape).astype("float32") for key, shape in SHAPES.items()} | {"b/bias": np.ones(5)}
START = {key: value + 1 for key, value in INITIAL.items()}
DRAWN = {key: RNG.normal(size=value.shape).astype("float32") for key, value in INITIAL.items()}
MASKS = {key: RNG.random(shape) < 0.3 for key, shape in SHAPES.items()}


def begun(name, seed=7):
    given = TicketStart(
        masks=MASKS,
        start=START,
        initial=INITIAL,
        draw=lambda: DRAWN,
        narrow=lambda kept: ({key: np.ones(shape, bool) for key, shape in SHAPES.items()}, {"kept": np.array(kept)}),
        seed=seed,
    )
    return CONTROLS[name].start(given)


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


ON_THE_TICKETS_MASKS = [name for name, control in CONTROLS.items() if not control.own_masks]


@pytest.mark.parametrize("name", ON_THE_TICKETS_MASKS)
def test_controls_that_say_so_have_the_tickets_masks(name):
    assert same(begun(name).masks, MASKS)


def test_reinitialisation_takes_every_variable_as_it_was_drawn():
    assert begun("random_reinit").weights is DRAWN
    assert begun("random_reinit").from_step_zero


def test_same_sign_reinit_has_the_drawn_sizes_and_the_initial_signs():
    weights = begun("same_sign_reinit").weights
    for key in MASKS:
        np.testing.assert_array_equal(np.abs(weights[key]), np.abs(DRAWN[key]))
        np.testing.assert_array_equal(np.sign(weights[key]), np.sign(INITIAL[key]))
    np.testing.assert_array_equal(weights["b/bias"], DRAWN["b/bias"])


def test_constant_sign_reinitialisation_has_one_size_per_array():
    weights = begun("constant_sign_reinit").weights
    for key in MASKS:
        np.testing.assert_array_equal(weights[key], np.sign(INITIAL[key]) * INITIAL[key].std())


def test_reshuffled_weights_are_the_tickets_survivors_in_another_order():
    weights = begun("reshuffled_weights").weights
    for key, mask in MASKS.items():
        np.testing.assert_array_equal(np.sort(weights[key][mask]), np.sort(INITIAL[key][mask]))
        assert (weights[key][mask] != INITIAL[key][mask]).mean() > 0.9
    assert begun("reshuffled_weights").from_step_zero


def test_shuffled_masks_keep_exact_counts_per_array_and_the_tickets_start():
    beginning = begun("shuffled_masks")
    assert beginning.weights is None
    assert not beginning.from_step_zero
    for key, mask in MASKS.items():
        assert beginning.masks[key].sum() == mask.sum()
        assert 0 < (beginning.masks[key] & mask).sum() < mask.sum()


def test_random_masks_keep_the_count_of_the_network_only():
    beginning = begun("random_masks")
    assert mask_tools.kept(beginning.masks) == mask_tools.kept(MASKS)
    # 1,350 weights at 0.3: drawn over the network, an array's count has a standard deviation of about 5.
    counts = {begun("random_masks", seed).masks["b/kernel"].sum() for seed in range(5)}
    assert len(counts) > 1


def test_noise_has_the_size_that_its_name_says():
    for name in ("noise_0.5", "noise_1", "noise_2", "noise_3"):
        beginning = begun(name)
        noise = (beginning.weights["a/kernel"] - START["a/kernel"]) / START["a/kernel"].std()
        deviations = float(name.removeprefix("noise_"))
        # The standard deviation of 1,200 draws is known to 2 %: five times that.
        assert noise.std() == pytest.approx(deviations, rel=0.1)
        assert abs(noise.mean()) < 0.15 * deviations
        assert not beginning.from_step_zero
        assert same({"b/bias": beginning.weights["b/bias"]}, {"b/bias": START["b/bias"]})


def test_the_small_dense_network_has_as_many_weights_as_the_ticket():
    beginning = begun("small_dense")
    assert beginning.weights["kept"] == mask_tools.kept(MASKS)
    assert beginning.from_step_zero


def test_dense_longer_is_dense_and_other_order_has_the_tickets_start():
    assert mask_tools.density(begun("dense_longer").masks) == 1
    assert CONTROLS["dense_longer"].continues_previous_round
    beginning = begun("other_order")
    assert same(beginning.masks, MASKS)
    assert beginning.weights is None
    assert CONTROLS["other_order"].round_0


@pytest.mark.parametrize("name", sorted(CONTROLS))
def test_a_control_is_a_function_of_its_seed_and_changes_no_argument(name):
    before = {key: value.tobytes() for key, value in (INITIAL | START | DRAWN | MASKS).items()}
    first, again, other = begun(name, 1), begun(name, 1), begun(name, 2)
    assert same(first.masks, again.masks)
    assert same(first.weights or {}, again.weights or {})
    if name.startswith(("noise", "shuffled", "random_masks", "reshuffled")):
        assert not (same(first.masks, other.masks) and same(first.weights or {}, other.weights or {}))
    assert before == {key: value.tobytes() for key, value in (INITIAL | START | DRAWN | MASKS).items()}

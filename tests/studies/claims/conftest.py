"""Claims on the embedded digits, of a second or two, in place of those of the list."""

from collections.abc import Iterator

import pytest

from tf_lottery.experiment.config import Config
from tf_lottery.studies.claims import CLAIMS, Claim, at_least, conclude, more_than

DIGITS = Config(
    **{"preset": "claim-digits", "steps": 40, "eval_every": 20, "rounds": 2, "rate": 0.5, "replicates": 3},
    **{"batch_size": 32, "learning_rate": 2e-3, "variants": ("ticket",)},
)
LATE = DIGITS.updated(rewind="step:10", rounds=1, variants=("ticket", "other_order"))


@pytest.fixture(scope="package", autouse=True)
def threads_as_they_are() -> Iterator[None]:
    """TensorFlow may be at work in this process already, with other threads than the runs here ask for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tf_lottery.training.device.configure", lambda **settings: None)
        yield


def quarter_learns(evidence):
    quarter = evidence.difference(("digits", "ticket", 2), ("digits", "ticket", 0))
    return conclude([at_least(quarter, -0.6)])


def reinit_better(evidence):
    return conclude([more_than(evidence.difference(("digits", "random_reinit", 2), ("digits", "ticket", 2)), 0.9)])


def stable(evidence):
    heights = evidence.error_barriers("late", 1)
    return conclude([at_least(evidence.estimate("error barrier", heights, "percent"), -1.0)], rows=evidence.rows)


def claim(name, judge, sizes, **more):
    return Claim(name, f"The title of {name}", "a paper", "a figure", sizes, judge, **more)


SMALL = (
    claim("quarter-learns", quarter_learns, lambda quick: {"digits": DIGITS}),
    claim(
        "reinit-better", reinit_better, lambda quick: {"digits": DIGITS.updated(variants=("ticket", "random_reinit"))}
    ),
    claim("stable", stable, lambda quick: {"late": LATE}, columns=("test_accuracy", "test_error_barrier")),
    claim(
        "elsewhere",
        quarter_learns,
        lambda quick: {"digits": DIGITS.updated(dataset="mnist", model="fc1")},
        convolutional=True,
    ),
    claim("diverges", quarter_learns, lambda quick: {"digits": DIGITS.updated(learning_rate=1e30, optimizer="sgd")}),
)


@pytest.fixture
def small_claims() -> Iterator[None]:
    """The claims above are those of the list."""
    yield from list_small_claims()


@pytest.fixture(scope="module")
def small_claims_of_the_module() -> Iterator[None]:
    """They are so for all tests of a module."""
    yield from list_small_claims()


def list_small_claims() -> Iterator[None]:
    """Put the claims above in place of the list, until the generator is resumed."""
    before = dict(CLAIMS)
    CLAIMS.clear()
    CLAIMS.update({each.name: each for each in SMALL})
    yield
    CLAIMS.clear()
    CLAIMS.update(before)

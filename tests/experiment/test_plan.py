"""What is trained in what order, how long, and how many weights each round keeps."""

import numpy as np
import pytest

from tf_lottery.errors import UsageError
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.executor import workers
from tf_lottery.store import Job

BOTH = ("ticket", "random_reinit")
ROLES = {"hidden_1/kernel": "dense", "hidden_2/kernel": "dense", "output/kernel": "output"}
SHAPES = {"hidden_1/kernel": (784, 300), "hidden_2/kernel": (300, 100), "output/kernel": (100, 10)}


def test_jobs_come_after_those_that_they_need_and_round_0_has_no_control():
    config = Config(rounds=2, replicates=2, variants=BOTH)
    jobs = plan.jobs(config)
    assert len(jobs) == len(set(jobs)) == 2 * (1 + 2 * 2)
    done = set()
    for job in jobs:
        assert done.issuperset(plan.needs(config, job))
        done.add(job)
    assert Job(0, 0, "random_reinit") not in done
    assert plan.needs(config, Job(1, 2, "random_reinit")) == [Job(1, 1, "ticket"), Job(1, 0, "ticket")]


def test_what_is_ready_starts_with_what_most_depends_on():
    config = Config(rounds=2, replicates=2, variants=BOTH)
    waiting = plan.jobs(config)
    assert plan.ready(config, waiting, set()) == [Job(0, 0), Job(1, 0)]
    rest = [job for job in waiting if job not in {Job(0, 0), Job(0, 1)}]
    assert plan.ready(config, rest, {Job(0, 0), Job(0, 1)}) == [
        *(Job(1, 0), Job(0, 2)),
        *(Job(0, 1, "random_reinit"), Job(0, 2, "random_reinit")),
    ]


def test_lenet_300_100_keeps_what_the_paper_keeps():
    kept = plan.kept_per_round(Config(rounds=20, rate=0.2, output_rate=0.1), ROLES, SHAPES)
    assert kept[:3] == [266200, 213060, 170538] and kept[17] == 6139
    percent = [round(100 * count / 266200, 2) for count in kept]
    assert percent[1:6] == [80.04, 64.06, 51.28, 41.05, 32.87] and percent[7] == 21.07
    assert [round(percent[index], 1) for index in (12, 15, 20)] == [7.0, 3.6, 1.2]


def test_the_output_layer_goes_at_half_the_rate_unless_said():
    assert plan.rates(Config(rate=0.2), ROLES) == pytest.approx(dict(zip(ROLES, (0.2, 0.2, 0.1), strict=True)))
    assert plan.rates(Config(rate=0.2, output_rate=0.3), ROLES)["output/kernel"] == 0.3
    roles = {**ROLES, "conv/kernel": "conv"}
    assert plan.rates(Config(rate=0.2, conv_rate=0.15), roles)["conv/kernel"] == 0.15


def test_a_final_density_is_reached_in_as_many_rounds_as_asked():
    for rounds in (1, 3):
        kept = plan.kept_per_round(Config(final_density=0.1, rounds=rounds), ROLES, SHAPES)
        assert kept[-1] == pytest.approx(26620, abs=3) and len(kept) == rounds + 1
    assert plan.kept_per_round(Config(densities=(1, 0.5, 0.05)), ROLES, SHAPES) == [266200, 133100, 13310]


def test_masks_come_from_the_scores_of_the_round_before():
    weights = {"a": np.array([0.1, -3.0, 2.0, 0.5]), "b": np.array([9.0, 0.0]), "bias": np.ones(2)}
    masks = {"a": np.array([True, True, True, False]), "b": np.array([True, True])}
    given = {
        "round_number": 1,
        "replicate": 0,
        "roles": {"a": "dense", "b": "output"},
        "weights": weights,
        "masks": masks,
    }
    new = plan.next_masks(Config(rate=0.5, output_rate=0.5), **given)
    assert new["a"].tolist() == [False, True, False, False]  # round(0.5 * 3) = 2, half to even
    assert new["b"].tolist() == [True, False]


def test_random_scores_differ_by_round_and_replicate_and_not_by_variant():
    weights = {"a": np.ones(1000)}
    masks = {"a": np.ones(1000, bool)}
    given = {"roles": {"a": "dense"}, "weights": weights, "masks": masks}
    config = Config(criterion="random", rate=0.5)
    found = [
        plan.next_masks(config, round_number=n, replicate=r, **given)["a"].tobytes() for n in (1, 2) for r in (0, 1)
    ]
    assert len(set(found)) == 4
    assert plan.next_masks(config, round_number=1, replicate=0, **given)["a"].tobytes() == found[0]


def test_lengths_in_steps_and_epochs():
    assert plan.training_steps(Config(steps=7), None) == 7
    assert plan.training_steps(Config(steps=None, epochs=1.5), 10) == 15
    assert plan.training_steps(Config(steps=None, epochs=0.001), 10) == 1
    with pytest.raises(UsageError, match="unknown length"):
        plan.training_steps(Config(steps=None, epochs=1), None)
    assert plan.rewind_step(Config(steps=50), None) == 0
    assert plan.rewind_step(Config(steps=50, rewind="step:49"), None) == 49
    assert plan.rewind_step(Config(steps=50, rewind="epoch:2"), 10) == 20
    with pytest.raises(UsageError, match="before the end of a training of 50 steps"):
        plan.rewind_step(Config(steps=50, rewind="epoch:5"), 10)


def test_processes_are_as_many_as_cores_and_work_allow():
    config = Config(replicates=3, variants=BOTH, threads=1)
    assert workers(config, 30, cores=8) == 6 and workers(config, 2, cores=8) == 2 and workers(config, 30, cores=1) == 1
    assert workers(config.updated(threads=4), 30, cores=8) == 2
    assert workers(config.updated(jobs=5), 30, cores=1) == 5

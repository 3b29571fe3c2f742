"""What is trained in what order, how long, and how many weights each round keeps."""

import numpy as np
import pytest

from tf_lottery.errors import UsageError
from tf_lottery.experiment import plan, round_masks, weights_per_round
from tf_lottery.experiment.compiled_job import MaskOrigin, StateOrigin, compile_job, span
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job
from tf_lottery.experiment.training_and_rewind_steps import rewind_step, step_counts, training_steps
from tf_lottery.experiment.workers.executor import workers

BOTH = ("ticket", "random_reinit")
ROLES = {"hidden_1/kernel": "dense", "hidden_2/kernel": "dense", "output/kernel": "output"}
SHAPES = {"hidden_1/kernel": (784, 300), "hidden_2/kernel": (300, 100), "output/kernel": (100, 10)}


def steps_of(config, job, steps_per_epoch=None):
    return span(config, job, step_counts(config, steps_per_epoch))


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
    kept = weights_per_round.kept_per_round(Config(rounds=20, rate=0.2, output_rate=0.1), ROLES, SHAPES)
    assert kept[:3] == [266200, 213060, 170538]
    assert kept[17] == 6139
    percent = [round(100 * count / 266200, 2) for count in kept]
    assert percent[1:6] == [80.04, 64.06, 51.28, 41.05, 32.87]
    assert percent[7] == 21.07
    assert [round(percent[index], 1) for index in (12, 15, 20)] == [7.0, 3.6, 1.2]


def test_the_output_layer_goes_at_half_the_rate_unless_said():
    assert weights_per_round.rates_of_config(Config(rate=0.2), ROLES) == pytest.approx(
        dict(zip(ROLES, (0.2, 0.2, 0.1), strict=True))
    )
    assert weights_per_round.rates_of_config(Config(rate=0.2, output_rate=0.3), ROLES)["output/kernel"] == 0.3
    roles = {**ROLES, "conv/kernel": "conv"}
    assert weights_per_round.rates_of_config(Config(rate=0.2, conv_rate=0.15), roles)["conv/kernel"] == 0.15


def test_a_final_density_is_reached_in_as_many_rounds_as_asked():
    for rounds in (1, 3):
        kept = weights_per_round.kept_per_round(Config(final_density=0.1, rounds=rounds), ROLES, SHAPES)
        assert kept[-1] == pytest.approx(26620, abs=3)
        assert len(kept) == rounds + 1
    assert weights_per_round.kept_per_round(Config(densities=(1, 0.5, 0.05)), ROLES, SHAPES) == [266200, 133100, 13310]


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
    new = round_masks.next_masks(Config(rate=0.5, output_rate=0.5), **given)
    assert new["a"].tolist() == [False, True, False, False]  # round(0.5 * 3) = 2, half to even
    assert new["b"].tolist() == [True, False]


def test_random_scores_differ_by_round_and_replicate_and_not_by_variant():
    weights = {"a": np.ones(1000)}
    masks = {"a": np.ones(1000, bool)}
    given = {"roles": {"a": "dense"}, "weights": weights, "masks": masks}
    config = Config(criterion="random", rate=0.5)
    actual = [
        round_masks.next_masks(config, round_number=n, replicate=r, **given)["a"].tobytes()
        for n in (1, 2)
        for r in (0, 1)
    ]
    assert len(set(actual)) == 4
    assert round_masks.next_masks(config, round_number=1, replicate=0, **given)["a"].tobytes() == actual[0]


def test_lengths_in_steps_and_epochs():
    assert training_steps(Config(steps=7), None) == 7
    assert training_steps(Config(steps=None, epochs=1.5), 10) == 15
    assert training_steps(Config(steps=None, epochs=0.001), 10) == 1
    with pytest.raises(UsageError, match="unknown length"):
        training_steps(Config(steps=None, epochs=1), None)
    assert rewind_step(Config(steps=50), None) == 0
    assert rewind_step(Config(steps=50, rewind="step:49"), None) == 49
    assert rewind_step(Config(steps=50, rewind="epoch:2"), 10) == 20
    with pytest.raises(UsageError, match="before the end of a training of 50 steps"):
        rewind_step(Config(steps=50, rewind="epoch:5"), 10)


def test_processes_are_as_many_as_cores_and_work_allow():
    config = Config(replicates=3, variants=BOTH, threads=1)
    assert workers(config, 30, cores=8) == 6
    assert workers(config, 2, cores=8) == 2
    assert workers(config, 30, cores=1) == 1
    assert workers(config.updated(threads=4), 30, cores=8) == 2
    assert workers(config.updated(jobs=5), 30, cores=1) == 5


def variants_of(config, number):
    return [job.variant for job in plan.jobs(config) if job.round == number]


def test_searches_are_trained_where_masks_are_not_the_tickets_doing():
    short = Config(rounds=3, search_steps=10, variants=("ticket", "random_reinit"))
    assert [variants_of(short, number) for number in range(4)] == [
        ["search", "ticket"],
        ["search"],
        ["search"],
        ["ticket", "random_reinit"],
    ]
    assert plan.needs(short, Job(0, 3)) == [Job(0, 2, "search"), Job(0, 0)]
    assert plan.needs(short, Job(0, 0, "search")) == []
    assert steps_of(short, Job(0, 2, "search")) == (0, 10)
    early = Config(rounds=2, pruning="early_bird", variants=("ticket",))
    assert [variants_of(early, number) for number in range(3)] == [
        ["ticket"],
        ["search", "ticket"],
        ["search", "ticket"],
    ]
    assert plan.needs(early, Job(0, 2)) == [Job(0, 2, "search"), Job(0, 0)]
    assert plan.needs(early, Job(0, 2, "search")) == []


def test_where_masks_come_from():
    ticket = Job(0, 3)
    chain = [Job(0, 0), Job(0, 1), Job(0, 2)]
    assert plan.sources(Config(rounds=3), ticket) == chain
    assert plan.sources(Config(rounds=3), Job(0, 3, "random_reinit")) == chain
    assert plan.sources(Config(rounds=3, search_steps=10), ticket) == [Job(0, n, "search") for n in range(3)]
    assert plan.sources(Config(rounds=3, pruning="one_shot"), ticket) == [Job(0, 0)]
    assert plan.sources(Config(rounds=3, pruning="early_bird"), ticket) == [Job(0, 3, "search")]
    assert plan.sources(Config(rounds=3, pruning="before_training"), ticket) == []


@pytest.mark.parametrize("pruning", ["one_shot", "before_training", "early_bird"])
@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_masks_made_at_once_keep_the_counts_of_masks_made_round_by_round(pruning, scope):
    config = Config(rounds=4, rate=0.2, output_rate=0.1, scope=scope)
    shapes = {"a": (37, 11), "b": (11, 3)}
    roles = {"a": "dense", "b": "output"}
    weights = {key: np.random.default_rng(1).normal(size=shape) for key, shape in shapes.items()}
    dense = {key: np.ones(shape, bool) for key, shape in shapes.items()}
    masks = dense
    for number in range(1, 5):
        given = {"round_number": number, "replicate": 0, "roles": roles, "weights": weights}
        masks = round_masks.next_masks(config, masks=masks, **given)
        at_once = round_masks.next_masks(config.updated(pruning=pruning), masks=dense, **given)
        # The same scores rank the same weights, so not only the counts are equal.
        assert all(np.array_equal(masks[key], at_once[key]) for key in masks)
    kept = weights_per_round.kept_per_round(config, roles, shapes)
    assert sum(int(mask.sum()) for mask in masks.values()) == kept[4]


def test_a_criterion_that_scores_again_ends_at_the_exact_count():
    config = Config(densities=(1.0, 0.1), scope="global", criterion="synflow", pruning="before_training")
    seen = []

    def path_gradients(masks):
        seen.append(sum(int(mask.sum()) for mask in masks.values()))
        return {key: np.ones(mask.shape) for key, mask in masks.items()}

    weights = {"a": np.arange(1.0, 901).reshape(30, 30), "b": np.arange(1.0, 101)}
    masks = round_masks.next_masks(
        config,
        round_number=1,
        replicate=0,
        roles={"a": "dense", "b": "output"},
        weights=weights,
        masks={key: np.ones(value.shape, bool) for key, value in weights.items()},
        material={"path_gradients": path_gradients},
    )
    assert len(seen) == 100
    assert seen == [round(1000 * 0.1 ** (k / 100)) for k in range(100)]
    assert sum(int(mask.sum()) for mask in masks.values()) == 100
    assert masks["a"].ravel()[-99:].all()
    assert masks["b"].sum() == 1


def test_the_distance_of_masks():
    first = {"a": np.array([True, True, False, False]), "b": np.array([True, True])}
    assert round_masks.mask_distance(first, first) == 0
    second = {"a": np.array([False, True, True, False]), "b": np.array([True, True])}
    assert round_masks.mask_distance(first, second) == 0.25


def test_the_steps_that_jobs_train():
    config = Config(steps=100, rewind="step:20", variants=("ticket", "dense_longer", "other_order"))
    assert steps_of(config, Job(0, 0)) == (0, 100)
    assert steps_of(config, Job(0, 0, "other_order")) == (20, 100)
    assert steps_of(config, Job(0, 3)) == (20, 100)
    # The ticket of round 3 took 100 + 3 x 80 steps in all.
    assert steps_of(config, Job(0, 3, "dense_longer")) == (260, 340)
    tuned = config.updated(rewind="finetune:epoch:2")
    assert steps_of(tuned, Job(0, 3, "dense_longer"), 5) == (120, 130)
    tuned = tuned.updated(variants=("ticket",))
    assert [steps_of(tuned, Job(0, n), 5) for n in (1, 2)] == [(100, 110), (110, 120)]
    assert steps_of(tuned.updated(pruning="one_shot"), Job(0, 2), 5) == (100, 110)


def test_synflow_ranks_the_whole_network_the_output_layer_included():
    """The output layer's half rate made a group of its own of it."""
    config = Config(criterion="synflow", scope="global", rate=0.2)
    assert set(weights_per_round.rates_of_config(config, ROLES).values()) == {0.2}
    assert weights_per_round.rates_of_config(config.updated(final_density=0.25, rounds=2), ROLES)[
        "output/kernel"
    ] == pytest.approx(0.5)


def test_what_decides_nothing_does_not_make_another_run():
    config = Config()
    assert config.hash() == config.updated(score_examples=5).hash() == config.updated(mask_distance=0.3).hash()
    assert config.hash() != config.updated(criterion="snip").hash()
    assert config.updated(criterion="snip").hash() != config.updated(criterion="snip", score_examples=5).hash()
    early = config.updated(pruning="early_bird")
    assert early.hash() != early.updated(mask_distance=0.3).hash()


COMPILED = {
    # changes, job: mask origin, masks from, state origin, state from, steps, keeps the optimizer's state
    "dense": ({}, Job(0, 0), MaskOrigin.DENSE, None, StateOrigin.INITIAL, None, (0, 100), True),
    "round": ({}, Job(0, 2), MaskOrigin.TRAINED_WEIGHTS, Job(0, 1), StateOrigin.REWIND, None, (20, 100), False),
    "lr": (
        {"rewind": "lr:step:20"},
        *(Job(0, 2), MaskOrigin.TRAINED_WEIGHTS, Job(0, 1)),
        *(StateOrigin.REWIND_WITH_TRAINED_WEIGHTS, Job(0, 1), (20, 100), False),
    ),
    "finetune": (
        {"rewind": "finetune:step:10"},
        *(Job(0, 2), MaskOrigin.TRAINED_WEIGHTS, Job(0, 1), StateOrigin.TRAINED, Job(0, 1), (110, 120), True),
    ),
    "longer": (
        {"variants": ("dense_longer",)},
        *(Job(0, 2, "dense_longer"), MaskOrigin.TRAINED_WEIGHTS, Job(0, 1)),
        *(StateOrigin.TRAINED, Job(0, 1, "dense_longer"), (180, 260), True),
    ),
    "order": (
        {"variants": ("other_order",)},
        *(Job(0, 0, "other_order"), MaskOrigin.DENSE, None, StateOrigin.REWIND, None, (20, 100), False),
    ),
    "before": (
        {"pruning": "before_training"},
        *(Job(0, 2), MaskOrigin.REWIND_WEIGHTS, None, StateOrigin.REWIND, None, (20, 100), False),
    ),
    "bird": (
        {"pruning": "early_bird", "eval_every": 10},
        *(Job(0, 2, "search"), MaskOrigin.DENSE, None, StateOrigin.INITIAL, None, (0, 100), False),
    ),
    "transfer": (
        {"tickets_from": "run", "rewind": "init"},
        *(Job(0, 2), MaskOrigin.OTHER_RUN, None, StateOrigin.REWIND, None, (0, 100), False),
    ),
}


@pytest.mark.parametrize("case", COMPILED)
def test_a_compiled_job_has_all_that_the_configuration_decides(case):
    changes, job, mask_origin, masks_from, state_origin, state_from, steps, keeps_optimizer = COMPILED[case]
    config = Config(**{"steps": 100, "rewind": "step:20", "rounds": 3, **changes})
    compiled = compile_job(config, job, step_counts(config, None))
    assert (compiled.mask_origin, compiled.masks_from) == (mask_origin, masks_from)
    assert (compiled.state_origin, compiled.state_from) == (state_origin, state_from)
    assert (compiled.start, compiled.stop, compiled.keeps_optimizer) == (*steps, keeps_optimizer)
    assert compiled.needs == tuple(plan.needs(config, job))
    assert {masks_from, state_from} - {None} <= set(compiled.needs)
    assert compiled.capture_at == (20 if job == Job(0, 0) else None)
    assert compiled.stops_when_masks_converge == (not compiled.pins_rewind_state) == (case == "bird")
    assert compiled.data_order == ("other order" if case == "order" else "order")

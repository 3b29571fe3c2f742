"""What tickets cost, counted by hand for each way to find them."""

import pytest

from tf_lottery.errors import UnfitError
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.results.statistics.cost import cost_table, ticket_costs


def rows_of(config, lengths, replicates=1):
    """A row for every planned job; `lengths` gives the steps of (round is 0, variant)."""
    return [
        {"replicate": job.replicate, "round": job.round, "variant": job.variant, "density": 0.5**job.round}
        | {
            "steps": lengths[job.round == 0, job.variant],
            "val_accuracy": 0.9,
            "test_accuracy": 0.8 + job.replicate / 10,
        }
        for job in plan.jobs(config)
    ]


def steps(config, lengths):
    return [(entry.job.round, entry.steps, entry.trainings) for entry in ticket_costs(config, rows_of(config, lengths))]


def make(**changes):
    return Config(steps=1000, rounds=3, variants=("ticket",), **changes)


TICKETS = {(True, "ticket"): 1000, (False, "ticket"): 1000}


def test_iterative_pruning_pays_for_every_round_before():
    assert steps(make(), TICKETS) == [(0, 1000, 1), (1, 2000, 2), (2, 3000, 3), (3, 4000, 4)]


def test_late_rewinding_saves_the_steps_before_the_rewind_point():
    lengths = TICKETS | {(False, "ticket"): 900}
    assert steps(make(rewind="step:100"), lengths) == [(0, 1000, 1), (1, 1900, 2), (2, 2800, 3), (3, 3700, 4)]


def test_one_shot_pays_for_the_dense_network_only():
    assert steps(make(pruning="one_shot"), TICKETS) == [(0, 1000, 1), (1, 2000, 2), (2, 2000, 2), (3, 2000, 2)]


def test_pruning_before_training_pays_up_to_the_rewind_point():
    config = make(pruning="before_training")
    assert steps(config, TICKETS) == [(0, 1000, 1), (1, 1000, 1), (2, 1000, 1), (3, 1000, 1)]
    late = make(pruning="before_training", rewind="step:100")
    assert steps(late, TICKETS | {(False, "ticket"): 900})[1:] == [(1, 1000, 1), (2, 1000, 1), (3, 1000, 1)]


def test_an_early_bird_pays_for_its_search():
    lengths = TICKETS | {(False, "search"): 150}
    assert steps(make(pruning="early_bird"), lengths) == [(0, 1000, 1), (1, 1150, 2), (2, 1150, 2), (3, 1150, 2)]


def test_a_search_short_of_the_rewind_point_pays_for_the_rest():
    lengths = {(True, "ticket"): 1000, (False, "ticket"): 800, (False, "search"): 150}
    # 800 of its own, 150 of the search, 50 from there to step 200.
    assert steps(make(pruning="early_bird", rewind="step:200"), lengths)[1] == (1, 1000, 2)


def test_short_searches_pay_for_themselves_and_one_full_training():
    lengths = TICKETS | {(True, "search"): 200, (False, "search"): 200}
    assert steps(make(search_steps=200), lengths) == [(0, 1000, 1), (3, 1600, 4)]


def test_masks_of_another_run_are_not_paid_for_here():
    config = make(tickets_from="elsewhere", rewind="step:100")
    assert steps(config, TICKETS | {(False, "ticket"): 900})[1] == (1, 900, 1)


def seconds(config, lengths, times):
    """The seconds of each round's ticket; `times` gives those of (round is 0, variant)."""
    rows = [row | {"seconds": times[row["round"] == 0, row["variant"]]} for row in rows_of(config, lengths)]
    return [(entry.job.round, entry.seconds) for entry in ticket_costs(config, rows)]


def test_seconds_add_up_over_the_same_trainings_as_steps():
    times = {(True, "ticket"): 10.0, (False, "ticket"): 4.0}
    assert seconds(make(), TICKETS, times) == [(0, 10.0), (1, 14.0), (2, 18.0), (3, 22.0)]
    assert seconds(make(pruning="one_shot"), TICKETS, times) == [(0, 10.0), (1, 14.0), (2, 14.0), (3, 14.0)]
    searched = times | {(True, "search"): 3.0, (False, "search"): 2.0}
    lengths = TICKETS | {(True, "search"): 200, (False, "search"): 200}
    assert seconds(make(search_steps=200), lengths, searched) == [(0, 10.0), (3, 3.0 + 2.0 + 2.0 + 4.0)]
    assert seconds(make(pruning="early_bird"), TICKETS | {(False, "search"): 150}, searched)[1] == (1, 6.0)


def test_steps_before_the_rewind_point_take_their_share_of_the_dense_seconds():
    late = make(pruning="before_training", rewind="step:100")
    times = {(True, "ticket"): 10.0, (False, "ticket"): 4.0}
    assert seconds(late, TICKETS | {(False, "ticket"): 900}, times)[1] == (1, 4.0 + 10.0 * 100 / 1000)


def test_a_training_without_seconds_leaves_the_tickets_without():
    config = make()
    rows = [row | {"seconds": 5.0 if row["round"] != 1 else None} for row in rows_of(config, TICKETS)]
    assert [entry.seconds for entry in ticket_costs(config, rows)] == [5.0, None, None, None]
    assert [line["seconds"] for line in cost_table({"a": (config, rows)})] == [5.0, None, None, None]
    two = make(replicates=2)
    rows = [row | {"seconds": 1.0 + 2.0 * row["replicate"]} for row in rows_of(two, TICKETS, replicates=2)]
    assert cost_table({"a": (two, rows)})[1]["seconds"] == 4.0  # 2 and 6
    del rows[0]["seconds"]
    assert cost_table({"a": (two, rows)})[1]["seconds"] is None  # the mean of one would be another one


def test_a_missing_training_is_named():
    config = make(search_steps=200)
    lengths = TICKETS | {(True, "search"): 200, (False, "search"): 200}
    rows = [row for row in rows_of(config, lengths) if (row["round"], row["variant"]) != (1, "search")]
    with pytest.raises(UnfitError, match="Missing: replicate 0, round 1, search") as caught:
        ticket_costs(config, rows)
    assert "`search`" in caught.value.remedy


def test_the_table_has_a_line_per_run_and_round():
    one = make(replicates=3)
    shot = make(pruning="one_shot")
    table = cost_table({"a": (one, rows_of(one, TICKETS)), "b": (shot, rows_of(shot, TICKETS))})
    assert [(line["run"], line["round"], line["steps"]) for line in table[3:6]] == [
        ("a", 3, 4000),
        ("b", 0, 1000),
        ("b", 1, 2000),
    ]
    line = table[3]
    assert (line["replicates"], line["density"], line["finding"]) == (3, 0.125, 3000)
    assert line["test_accuracy_low"] < 0.8 < line["test_accuracy_mean"] == pytest.approx(0.9)
    assert line["val_loss_mean"] is None

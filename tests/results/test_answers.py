"""The questions of an experiment, answered from rows with known differences."""

import json

import pytest

from tf_lottery.errors import UnfitError
from tf_lottery.results.report.answers import answers, compare, comparisons
from tf_lottery.results.report.conclusions import conclusions
from tf_lottery.results.report.verdict import verdict

DENSITIES = (1.0, 0.6, 0.3, 0.1)


def make_rows(replicates=3, *, gaps=None, controls=("random_reinit",), noise=0.002):
    """Tickets as good as dense; a control that is worse by 0.01 per round."""
    rows = []
    for replicate in range(replicates):
        for index, density in enumerate(DENSITIES):
            for variant in ("ticket", *controls) if index else ("ticket",):
                gap = (gaps or {}).get(variant, 0.01 * index if variant != "ticket" else 0.0)
                value = 0.9 + 0.02 * replicate - gap * (1 + noise * replicate)
                rows.append(
                    {"replicate": replicate, "round": index, "variant": variant, "density": density}
                    | {"val_accuracy": value, "test_accuracy": value, "val_loss": 1 - value, "weights_kept": density}
                    | {"early_stop_step": 1000 - 100 * index + (300 + replicate if variant != "ticket" else 0)}
                )
    return rows


def by_question(rows, **options):
    return {entry.question: entry for entry in answers(rows, **options)}


def test_a_matching_ticket_beats_its_control_and_learns_faster():
    answered = by_question(make_rows())
    assert answered["Does a ticket match the dense network?"].answer == "yes"
    assert answered["How sparse may it be?"].answer == "at most 10.0 %"
    control = answered["Does the ticket beat random reinit?"]
    assert control.answer == "beats"
    # Round 3: 0.03 * (1, 1.002, 1.004); the ends are 2.6886 times as far from the mean as the outer two (see
    # `test_statistics.py`): 3.006 +- 0.016. Below 50 % of the weights are rounds 2 and 3: 0.025 on average.
    assert control.evidence.startswith("Round 3: beats, +3.01 points (95 % interval +2.99 to +3.02, 3 replicates); ")
    assert "below 50 %: beats, +2.5" in control.evidence
    assert answered["Does it learn faster than the dense network?"].answer == "faster"
    assert answered["Does it learn faster than its random reinitialization?"].answer == "faster"


def test_a_control_that_is_better_wins_and_one_that_varies_ties():
    rows = make_rows(gaps={"random_reinit": -0.01})
    assert by_question(rows)["Does the ticket beat random reinit?"].answer == "loses"
    rows = make_rows(gaps={"random_reinit": 0.0})
    for row in rows:
        if row["variant"] == "random_reinit":
            row["test_accuracy"] += (0.01, -0.02, 0.012)[row["replicate"]]
    assert by_question(rows)["Does the ticket beat random reinit?"].answer == "ties"


def test_matching_is_judged_on_the_data_that_did_not_select():
    rows = make_rows()
    for row in rows:
        if row["variant"] == "ticket" and row["round"] == 3:
            row["test_accuracy"] -= 0.02
    answered = by_question(rows)["Does a ticket match the dense network?"]
    assert answered.answer == "no"
    assert "-2.00 points" in answered.evidence
    for row in rows:
        if row["variant"] == "ticket" and row["round"] == 3:
            row["test_accuracy"] += 0.02 + (0.02, -0.02, 0.0)[row["replicate"]]
    assert by_question(rows)["Does a ticket match the dense network?"].answer == "not shown"


def test_no_ticket_is_a_no():
    rows = make_rows(gaps={"ticket": 0.0})
    for row in rows:
        if row["round"]:
            row["val_accuracy"] -= 0.2
    answered = by_question(rows)
    assert answered["Does a ticket match the dense network?"].answer == "no"
    assert answered["How sparse may it be?"].answer == "100 %"
    # There is no selected round, so only the sparse rounds together are compared.
    assert answered["Does the ticket beat random reinit?"].evidence.startswith("Below 50 %: ")


def test_two_replicates_are_not_judged_and_it_is_said():
    answered = by_question(make_rows(2))
    control = answered["Does the ticket beat random reinit?"]
    assert control.answer == "not judged"
    assert "needs 3 replicates and 2 came" in control.evidence
    assert answered["Does a ticket match the dense network?"].answer == "not judged"


def test_replicates_without_a_pair_are_counted():
    rows = [row for row in make_rows(4) if (row["replicate"], row["variant"]) != (3, "random_reinit")]
    answered = compare(rows, "random_reinit", "test_accuracy", index=3)
    assert (answered.pairs, answered.unpaired) == (3, 1)
    assert "1 without a pair" in answered.text()


def test_what_trains_on_has_no_early_stop_step_to_compare():
    rows = make_rows(controls=("dense_longer", "random_reinit"))
    answered = {(entry.against, entry.column) for entry in comparisons(rows)}
    assert ("dense_longer", "test_accuracy") in answered
    assert ("dense_longer", "early_stop_step") not in answered
    assert ("random_reinit", "early_stop_step") in answered


def test_searches_answer_nothing():
    rows = make_rows()
    searches = [row | {"variant": "search", "test_accuracy": 0.0, "density": 1.0} for row in rows]
    assert answers([*rows, *searches]) == answers(rows)


def test_losses_are_better_where_they_are_lower():
    rows = [
        {key: value for key, value in row.items() if not key.endswith("accuracy")} | {"test_loss": row["val_loss"]}
        for row in make_rows()
    ]
    answered = by_question(rows, max_drop=0.05)
    assert answered["Does a ticket match the dense network?"].answer == "yes"
    assert answered["Does the ticket beat random reinit?"].answer == "beats"


def test_no_pruned_round_gives_no_answer_no_dense_one_an_error():
    assert answers([row for row in make_rows() if row["round"] == 0]) == []
    with pytest.raises(UnfitError, match="round 0"):
        answers([row for row in make_rows() if row["round"]])


@pytest.mark.parametrize("rewind", ["lr", "lr:step:5", "finetune", "finetune:epoch:2"])
def test_the_speed_of_a_ticket_with_a_trained_start_unasked(rewind):
    """Its steps were once compared with those of networks that start from nothing: `slower`, or `faster`."""
    rows = make_rows()
    assert {entry.column for entry in comparisons(rows, rewind=rewind)} == {"test_accuracy"}
    answered = by_question(rows, rewind=rewind)
    asked = {question: entry for question, entry in answered.items() if "learn" in question}
    assert [entry.answer for entry in asked.values()] == ["not asked"]
    assert "it starts from trained weights" in asked["Does it learn faster than the dense network?"].evidence
    assert by_question(rows, rewind="step:5") == by_question(rows)


def test_without_test_data_the_evidence_says_what_selected():
    """`yes`, by the data that chose the round, once stood there as if other data had said it."""
    rows = [{key: value for key, value in row.items() if key != "test_accuracy"} for row in make_rows()]
    answered = by_question(rows)["Does a ticket match the dense network?"]
    assert "; validation accuracy (which selected it; no test data) against dense: " in answered.evidence
    assert "which selected it" not in by_question(make_rows())["Does a ticket match the dense network?"].evidence


def test_replicates_without_a_match_are_told():
    rows = make_rows()
    for row in rows:
        if row["replicate"] == 1 and row["round"]:
            row["val_accuracy"] -= 0.2
    evidence = by_question(rows)["How sparse may it be?"].evidence
    assert "; a pruned round matches in 2 of 3 replicates" in evidence
    assert "a pruned round matches" not in by_question(make_rows())["How sparse may it be?"].evidence


def test_fields_for_json_are_those_of_the_report():
    rows = make_rows()
    fields = conclusions(rows)
    assert fields["verdict"] == verdict(rows)
    assert fields["selected"] == {"round": 3, "replicate": 2}
    assert [(entry["question"], entry["answer"]) for entry in fields["answers"]] == [
        (entry.question, entry.answer) for entry in answers(rows)
    ]
    assert json.loads(json.dumps(fields)) == fields


def test_an_answer_from_pairs_has_their_difference_and_interval():
    answered = {entry["question"]: entry for entry in conclusions(make_rows())["answers"]}
    control = answered["Does the ticket beat random reinit?"]
    # Round 3, as above: 3.006 points +- 0.016, here as fractions.
    assert control["difference"] == pytest.approx(0.03006, abs=1e-6)
    assert control["interval"] == pytest.approx([0.02990, 0.03022], abs=1e-5)
    dense = answered["Does a ticket match the dense network?"]
    assert (dense["answer"], dense["difference"], dense["interval"]) == ("yes", 0.0, [0.0, 0.0])
    sparsest = answered["How sparse may it be?"]
    # Round 3 of each replicate, whose density is 0.1: no difference, but a density that does not vary.
    assert (sparsest["difference"], sparsest["density"]) == (None, pytest.approx(0.1))
    assert sparsest["interval"] == pytest.approx([0.1, 0.1])
    assert (dense["density"], control["density"]) == (None, None)


def test_where_no_round_qualifies_the_dense_network_is_selected():
    rows = make_rows(gaps={"ticket": 0.1})
    for row in rows:
        if row["round"] == 0:
            row["val_accuracy"] += 0.1
    fields = conclusions(rows)
    assert fields["selected"]["round"] == 0
    assert fields["verdict"].startswith("No winning ticket")
    assert fields["answers"][0]["answer"] == "no"


def test_a_run_that_has_not_pruned_has_no_answers():
    fields = conclusions([row for row in make_rows() if row["round"] == 0])
    assert (fields["selected"]["round"], fields["answers"]) == (0, [])

"""What the run showed, in words."""

from tf_lottery.results.report.verdict import verdict


def row(index, val, test=None, *, replicate=0, variant="ticket", kind="accuracy", stop=None):
    density = (1.0, 0.5, 0.056)[index]
    base = {"replicate": replicate, "round": index, "variant": variant, "density": density}
    return {**base, "weights_kept": 1000 * density, f"val_{kind}": val, f"test_{kind}": test, "early_stop_step": stop}


def test_a_winning_ticket_with_its_control():
    rows = []
    for replicate in (0, 1):
        rows += [row(0, 0.981, 0.980, replicate=replicate, stop=3000), row(1, 0.98, 0.98, replicate=replicate)]
        rows.append(row(2, 0.979, 0.981, replicate=replicate, stop=2250))
        rows.append(row(2, 0.97, 0.973, replicate=replicate, variant="random_reinit", stop=9250))
    assert verdict(rows, max_drop=0.005) == (
        "The sparsest ticket within 0.5 points of the dense network's validation accuracy keeps 5.6 % of the weights "
        "(round 2): test accuracy 98.1 % against 98.0 % dense; a random reinitialization of it reaches 97.3 %, its "
        "early-stop step 9250 against 2250. Means over 2 replicates."
    )


def test_one_replicate_is_called_one():
    rows = [row(0, 0.9, 0.9), row(1, 0.9, 0.9), row(1, 0.8, 0.8, variant="random_reinit")]
    assert verdict(rows, max_drop=0).endswith("This is one replicate: small differences may be chance.")
    assert verdict(rows, max_drop=0).startswith(
        "The sparsest ticket at least as good as the dense network by validation accuracy"
    )


def test_no_winning_ticket_names_the_closest():
    assert verdict([row(0, 0.98), row(1, 0.96), row(2, 0.9)], max_drop=0.005) == (
        "No winning ticket: no pruned round comes within 0.5 points of the dense network by validation accuracy "
        "(98.0 %). The closest is round 1, with 50.0 % of the weights: 96.0 %, 2 points below. "
        "This is one replicate: small differences may be chance."
    )


def test_a_control_that_does_as_well_is_said():
    rows = [row(0, 0.9, 0.9), row(1, 0.9, 0.9), row(1, 0.9, 0.91, variant="random_reinit")]
    assert "The control does as well, so the initial weights are not what makes this subnetwork good." in verdict(rows)


def test_overlapping_ranges_are_said():
    rows = [row(index, 0.9, 0.9, replicate=r) for index in (0, 1) for r in (0, 1)]
    rows += [row(1, 0.9, value, replicate=r, variant="random_reinit") for r, value in enumerate((0.9, 0.89))]
    assert "ranges of the two overlap" in verdict(rows)


def test_a_missing_control_is_said():
    assert "nothing shows that its initial weights matter" in verdict([row(0, 0.9, 0.9), row(1, 0.9, 0.9)])


def test_a_control_of_fewer_replicates_is_said():
    rows = [row(index, 0.9, 0.9, replicate=r) for index in (0, 1) for r in (0, 1)]
    assert "reaches 80.0 % (1 of 2 replicates)" in verdict([*rows, row(1, 0.8, 0.8, variant="random_reinit")])


def test_without_test_data_the_verdict_says_what_selected():
    assert "validation accuracy (which selected it; no test data) 91.0 % against 90.0 % dense" in verdict(
        [row(0, 0.90), row(1, 0.91)]
    )


def test_a_regression_speaks_of_losses():
    rows = [row(0, 0.5, 0.52, kind="loss"), row(1, 0.51, 0.53, kind="loss")]
    text = verdict(rows, max_drop=0.05)
    assert "within 5.0 % of the dense network's validation loss keeps 50.0 % of the weights" in text
    assert "test loss 0.53 against 0.52 dense" in text
    assert "2.0 % above" in verdict(rows, max_drop=0)


def test_only_the_dense_network():
    assert verdict([row(0, 0.9, 0.8)]) == (
        "Only the dense network has been judged so far (validation accuracy 90.0 %, test accuracy 80.0 %): "
        "there is no ticket yet."
    )


def test_no_early_stop_step_of_tickets_with_a_trained_start():
    """Their steps count from the end of another training: 9250 against 2250 says nothing of speed."""
    rows = [row(0, 0.9, 0.9, stop=3000), row(1, 0.9, 0.9, stop=2250)]
    rows.append(row(1, 0.8, 0.8, variant="random_reinit", stop=9250))
    assert "early-stop step 9250 against 2250" in verdict(rows, rewind="step:10")
    for rewind in ("lr", "finetune:step:7"):
        text = verdict(rows, rewind=rewind)
        assert "early-stop" not in text
        assert "a random reinitialization of it reaches 80.0 %." in text

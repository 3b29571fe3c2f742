"""The figures: what is drawn, at which place, in which words; and rows with holes in them."""

import io
import itertools
import math

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from tf_lottery.experiment.controls import CONTROLS, TicketStart
from tf_lottery.results.compare import comparison_figures
from tf_lottery.results.figures import run_figures
from tf_lottery.results.figures.style import spaced_densities, variant_look
from tf_lottery.results.statistics.intervals import interval
from tf_lottery.results.statistics.learning_speed import started_trained
from tf_lottery.studies.study_figures import plot_panels


def make_rows(rounds=3, replicates=2, rate=0.2, **fixed):
    rows = []
    for replicate, index in itertools.product(range(replicates), range(rounds + 1)):
        for variant in ("ticket", "random_reinit")[: 1 if index == 0 else 2]:
            value = 0.9 - 0.01 * index * (variant != "ticket") + 0.004 * replicate
            rows.append(
                {
                    "replicate": replicate,
                    "round": index,
                    "variant": variant,
                    "density": (1 - rate) ** index,
                    "val_loss": 1 - value,
                    "val_accuracy": value,
                    "test_loss": 1 - value,
                    "test_accuracy": value,
                    "early_stop_step": 1000 - 100 * index,
                    **fixed,
                }
            )
    return rows


def line(figure, label):
    return next(line for line in figure.axes[0].get_lines() if line.get_label() == label)


def draw(figure):
    figure.savefig(io.BytesIO(), format="png")
    return figure


def labels_overlap(figure):
    """Whether two tick labels of the x axis touch, as rendered."""
    draw(figure)
    boxes = [text.get_window_extent() for text in figure.axes[0].get_xticklabels() if text.get_text()]
    return any(left.x1 > right.x0 for left, right in itertools.pairwise(sorted(boxes, key=lambda box: box.x0)))


def test_accuracy_against_density_from_dense_to_sparse():
    figure = run_figures.final_score(make_rows())
    axes = figure.axes[0]
    ticket = line(figure, "ticket")
    np.testing.assert_allclose(ticket.get_xdata(), [1.0, 0.8, 0.64, 0.512])
    np.testing.assert_allclose(ticket.get_ydata(), [0.902] * 4)
    np.testing.assert_allclose(line(figure, "random reinit").get_ydata(), [0.892, 0.882, 0.872])
    np.testing.assert_allclose(line(figure, "dense").get_ydata(), [0.902, 0.902])
    assert axes.get_xscale() == "log"
    assert axes.get_xlim()[0] > 1.0 > 0.512 > axes.get_xlim()[1]
    draw(figure)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["100", "80.0", "64.0", "51.2"]
    assert axes.get_ylabel() == "Test accuracy (%)"


def test_the_band_is_the_range_over_replicates():
    figure = run_figures.final_score(make_rows())
    heights = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.9, 0.904))


def test_the_band_is_the_interval_over_three_replicates():
    figure = run_figures.final_score(make_rows(replicates=3))
    heights = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    over = interval([0.9, 0.904, 0.908])
    assert (heights.min(), heights.max()) == pytest.approx((over.low, over.high))
    assert figure.axes[0].get_legend().get_title().get_text() == "mean and 95 % interval"
    ranges = run_figures.final_score(make_rows(replicates=2)).axes[0].get_legend()
    assert ranges.get_title().get_text() == "mean and range"


def test_searches_are_not_drawn():
    rows = make_rows()
    searches = [row | {"variant": "search", "test_accuracy": 0.1, "early_stop_step": 1} for row in rows]
    for figure in (run_figures.final_score([*rows, *searches]), run_figures.early_stop([*rows, *searches])):
        assert sorted(text.get_text() for text in figure.axes[0].get_legend().get_texts()) == [
            "dense",
            "random reinit",
            "ticket",
        ]


def test_a_dense_control_stands_at_the_density_of_its_ticket():
    rows = make_rows()
    rows += [row | {"variant": "dense_longer", "density": 1.0} for row in rows if row["variant"] == "random_reinit"]
    figure = run_figures.final_score(rows)
    np.testing.assert_allclose(line(figure, "dense longer").get_xdata(), [0.8, 0.64, 0.512])
    # Its steps count from the start of the first of many trainings: they would say nothing, and dwarf the others.
    labels = [text.get_text() for text in run_figures.early_stop(rows).axes[0].get_legend().get_texts()]
    assert "dense longer" not in labels


def test_all_variants_look_different_and_the_same_in_every_run():
    names = ("ticket", *CONTROLS)
    looks = [variant_look(name) for name in names]
    assert len({(look["color"], look["marker"], str(look["linestyle"])) for look in looks}) == len(names) == 15
    assert len({look["marker"] for look in looks}) == 15
    rows = make_rows()
    alone = [row | {"variant": "shuffled_masks"} if row["variant"] != "ticket" else row for row in rows]
    together = rows + [row for row in alone if row["variant"] != "ticket"]
    for given in (alone, together):
        drawn = line(run_figures.final_score(given), "shuffled masks")
        assert (drawn.get_color(), drawn.get_marker()) == tuple(
            variant_look("shuffled_masks")[part] for part in ("color", "marker")
        )


def test_many_variants_have_their_legend_beside_the_axes():
    rows = make_rows(replicates=3)
    controls = [row for row in rows if row["variant"] != "ticket"]
    rows = [row for row in rows if row["variant"] == "ticket"]
    figure = draw(run_figures.final_score(rows + [row | {"variant": name} for name in CONTROLS for row in controls]))
    assert figure.axes[0].get_legend() is None
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 16  # the dense network, the ticket and its controls
    box, axes = legend.get_window_extent(), figure.axes[0].get_window_extent()
    assert box.x0 > axes.x1
    assert box.y0 >= 0
    assert box.x1 <= figure.bbox.x1
    filled = [part for part in figure.axes[0].collections if isinstance(part, PolyCollection)]
    assert len(filled) == 1, "fourteen bands on top of each other would hide the lines"


def cost_lines():
    return [
        {"run": run, "round": index, "replicates": 3, "density": 0.5**index, "steps": steps}
        | {"test_accuracy_mean": 0.9, "test_accuracy_low": 0.8, "test_accuracy_high": 0.95}
        for run, counts in (("iterative", (100, 200, 300)), ("one shot", (100, 200, 200)))
        for index, steps in enumerate(counts)
    ]


def test_cost_shows_score_and_density_against_steps():
    figure = draw(comparison_figures.score_by_cost(cost_lines(), "test_accuracy"))
    above, below = figure.axes
    np.testing.assert_allclose(line(figure, "one shot").get_xdata(), [100, 200, 200])
    np.testing.assert_allclose(below.get_lines()[0].get_ydata(), [1.0, 0.5, 0.25])
    assert above.get_ylabel() == "Test accuracy (%)"
    assert below.get_xscale() == "log"
    shown = [text.get_text() for text in below.get_xticklabels()]
    assert shown == ["100", "200"]
    heights = above.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.8, 0.95))


def test_cost_shows_score_and_density_against_seconds():
    lines = [entry | {"seconds": entry["steps"] / 50} for entry in cost_lines()]
    lines[2]["seconds"] = None  # of the last iterative round
    figure = draw(comparison_figures.score_by_cost(lines, "test_accuracy", cost="seconds"))
    np.testing.assert_allclose(line(figure, "iterative").get_xdata(), [2, 4])
    np.testing.assert_allclose(line(figure, "one shot").get_xdata(), [2, 4, 4])
    assert figure.axes[1].get_xlabel() == "Seconds to get the ticket, all trainings together"
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["2", "4"]  # of 1, 2, 5 only one is there
    without = [entry | {"seconds": None} for entry in cost_lines()]
    empty = comparison_figures.score_by_cost(without, "test_accuracy", cost="seconds")
    assert empty.axes[0].texts[0].get_text() == "No training seconds were recorded."


def test_a_run_without_seconds_leaves_the_looks_of_the_others():
    lines = [entry | {"seconds": 2.0 if entry["run"] == "one shot" else None} for entry in cost_lines()]
    by_steps = line(draw(comparison_figures.score_by_cost(cost_lines(), "test_accuracy")), "one shot")
    by_seconds = line(draw(comparison_figures.score_by_cost(lines, "test_accuracy", cost="seconds")), "one shot")
    assert by_steps.get_color() == by_seconds.get_color()


def test_runs_are_lines_over_the_densities_of_all_of_them():
    runs = {"a": make_rows(3), "b": make_rows(6, rate=0.5)}
    figure = comparison_figures.score_by_density(runs, "test_accuracy")
    np.testing.assert_allclose(line(figure, "b").get_xdata(), [0.5**index for index in range(7)])
    assert figure.axes[0].get_xlim()[1] < 0.5**6
    assert draw(comparison_figures.early_stop_by_density(runs)).axes[0].get_ylim()[0] == 0
    empty = comparison_figures.early_stop_by_density({"a": make_rows(early_stop_step=None)})
    assert "recorded" in empty.axes[0].texts[0].get_text()


@pytest.mark.parametrize(
    ("missing", "label"),
    [
        (["test_accuracy"], "Validation accuracy (%)"),
        (["test_accuracy", "val_accuracy"], "Test loss"),
        (["test_accuracy", "val_accuracy", "test_loss"], "Validation loss"),
    ],
)
def test_without_accuracy_the_next_best_is_drawn_and_named(missing, label):
    figure = run_figures.final_score(make_rows(**dict.fromkeys(missing)))
    assert figure.axes[0].get_ylabel() == label


def test_a_round_without_a_value_is_left_out():
    rows = make_rows()
    for row in rows:
        if row["round"] == 2:
            row["test_accuracy"] = math.nan
    np.testing.assert_allclose(line(run_figures.final_score(rows), "ticket").get_xdata(), [1.0, 0.8, 0.512])


def test_early_stop_steps_start_at_zero():
    figure = run_figures.early_stop(make_rows())
    assert figure.axes[0].get_ylim()[0] == 0
    np.testing.assert_allclose(line(figure, "ticket").get_ydata(), [1000, 900, 800, 700])


@pytest.mark.parametrize(("rounds", "rate"), [(0, 0.2), (1, 0.2), (12, 0.2), (35, 0.1), (20, 0.5)])
def test_density_labels_never_touch(rounds, rate):
    assert not labels_overlap(run_figures.final_score(make_rows(rounds, 1, rate)))


def test_labels_are_at_densities_of_the_run_with_both_ends():
    densities = [0.9**index for index in range(36)]
    chosen = spaced_densities(densities)
    assert set(chosen) <= set(densities)
    assert (chosen[0], chosen[-1]) == (1.0, densities[-1])
    assert spaced_densities([0.0, 1.0]) == [1.0]


def test_accuracy_axis_does_not_go_far_above_100_percent():
    figure = run_figures.final_score(make_rows(0, 1, test_accuracy=1.0))
    assert figure.axes[0].get_ylim()[1] <= 1.01


@pytest.mark.parametrize(
    "figure",
    [
        lambda: run_figures.final_score([]),
        lambda: run_figures.early_stop(make_rows(early_stop_step=None)),
        lambda: run_figures.learning_curves([]),
        lambda: run_figures.layer_density([]),
    ],
)
def test_nothing_recorded_is_said_in_the_figure(figure):
    drawn = draw(figure())
    assert isinstance(drawn, Figure)
    assert "recorded" in drawn.axes[0].texts[0].get_text()


def test_figures_and_the_users_settings_leave_each_other_alone():
    def pixels():
        buffer = io.BytesIO()
        run_figures.final_score(make_rows()).savefig(buffer, format="raw", dpi=50)
        return buffer.getvalue()

    with matplotlib.rc_context({"axes.titlesize": 30, "lines.linewidth": 9}):
        run_figures.final_score(make_rows())
        assert (matplotlib.rcParams["axes.titlesize"], matplotlib.rcParams["lines.linewidth"]) == (30, 9)
    assert pixels() == pixels()


def test_which_networks_have_a_speed():
    """The early-stop figure once drew tickets that start from trained weights."""
    assert started_trained("init", list(CONTROLS)) == ["dense_longer", "gradual"]
    masks = {"w": np.array([True, False])}
    weights = {"w": np.array([0.5, -0.25], np.float32)}
    given = TicketStart(masks, weights, weights, lambda: weights, lambda count: (masks, weights), 0)
    inherit = [
        name
        for name, control in CONTROLS.items()
        if not control.start(given).from_step_zero or control.prunes_gradually
    ]
    assert started_trained("finetune", ["ticket", *CONTROLS]) == ["ticket", *inherit]
    rows = [
        {"replicate": 0, "round": index, "variant": variant, "density": 0.5**index, "early_stop_step": 10}
        for index, variant in ((0, "ticket"), (1, "ticket"), (1, "random_reinit"))
    ]
    for rewind, drawn in (("init", {"dense", "ticket", "random reinit"}), ("lr", {"dense", "random reinit"})):
        axes = run_figures.early_stop(rows, rewind=rewind).axes[0]
        assert {text.get_text() for text in axes.get_legend().get_texts()} == drawn


def test_the_legend_of_many_panels_names_each_line_once():
    points = {1.0: [0.9, 0.8], 0.5: [0.7, 0.6]}
    figure = draw(plot_panels({part: dict.fromkeys("abcdefgh", points) for part in "pqr"}, xlabel="", ylabel="Error"))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list("abcdefgh")
    assert legend.get_title().get_text() == "mean and range"

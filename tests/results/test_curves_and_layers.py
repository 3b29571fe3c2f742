"""The figures of learning curves and of layer densities."""

import io

import numpy as np
import pytest

from tf_lottery.results.figures.layer_density import layer_density
from tf_lottery.results.figures.learning_curves import learning_curves, spread_rounds

DENSITIES = [{"round": index, "variant": "ticket", "density": 0.8**index} for index in range(2)]


def make_curves(rounds=3, **fixed):
    return [
        {"replicate": 0, "round": index, "variant": "ticket", "step": step, "val_accuracy": step / 400, "val_loss": 1.0}
        | fixed
        for index in range(rounds + 1)
        for step in (0, 100, 200, 300)
    ]


def make_layers(names, rounds=3):
    return [
        {"replicate": 0, "round": index, "variant": "ticket", "layer": name, "kept": 100 >> index, "total": 100}
        for index in range(rounds + 1)
        for name in names
    ]


def line(figure, label):
    return next(line for line in figure.axes[0].get_lines() if line.get_label() == label)


def draw(figure):
    figure.savefig(io.BytesIO(), format="png")
    return figure


@pytest.mark.parametrize("variant", ["search", "dense_longer"])
def test_searches_and_continued_trainings_have_no_panel(variant):
    assert len(learning_curves(make_curves() + make_curves(variant=variant)).axes) == 1


def test_learning_curves_of_many_rounds_show_seven():
    figure = learning_curves(make_curves(35))
    assert len(figure.axes[0].get_lines()) == 7
    assert spread_rounds(range(36)) == [0, 6, 12, 18, 23, 29, 35]
    assert spread_rounds([2, 0, 1, 1]) == [0, 1, 2]


def test_learning_curves_average_replicates_and_name_densities():
    curves = make_curves(1) + [row | {"replicate": 1, "val_accuracy": 0.0} for row in make_curves(1)]
    figure = learning_curves(curves, DENSITIES)
    np.testing.assert_allclose(figure.axes[0].get_lines()[0].get_ydata(), [0, 0.125, 0.25, 0.375])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0  (100 %)", "1  (80.0 %)"]


def test_learning_curves_have_a_panel_per_variant_on_one_scale():
    figure = learning_curves(make_curves() + make_curves(variant="random_reinit"))
    first, second = figure.axes
    assert (first.get_title("left"), second.get_title("left")) == (
        "Learning curves: ticket",
        "Learning curves: random reinit",
    )
    assert first.get_ylim() == second.get_ylim()


def test_learning_curves_fall_back_to_the_loss():
    figure = learning_curves(make_curves(val_accuracy=None))
    assert figure.axes[0].get_ylabel() == "Validation loss"


def test_layer_density_is_a_line_per_layer():
    figure = layer_density(make_layers(["hidden/kernel", "output/kernel"]))
    np.testing.assert_allclose(line(figure, "output/kernel").get_ydata(), [1.0, 0.5, 0.25, 0.12])
    assert figure.axes[0].get_yscale() == "log"


def test_many_layers_become_a_heat_map_that_names_them_all():
    names = [f"block_{index}/kernel" for index in range(30)]
    figure = draw(layer_density(make_layers(names)))
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == names
    assert figure.axes[0].images[0].get_array().shape == (30, 4)


@pytest.mark.parametrize("name", ["_hidden/kernel", "$\\bad{$"])
def test_odd_layer_names_are_written_as_they_are(name):
    figure = draw(layer_density(make_layers([name])))
    assert figure.axes[0].get_legend().get_texts()[0].get_text().strip() == name


@pytest.mark.parametrize("copies", [1, 10])
def test_an_emptied_layer_is_named(copies):
    names = [f"k{index}" for index in range(copies)]
    layers = make_layers(names, rounds=8)
    figure = draw(layer_density(layers))
    axes = figure.axes[0]
    texts = axes.get_legend().get_texts() if copies == 1 else axes.get_yticklabels()
    assert texts[0].get_text() == "k0 (empty from round 7)"

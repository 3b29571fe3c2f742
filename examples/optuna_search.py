"""Search for what makes a good sparse ticket, with Optuna: each trial is a call of `find_ticket`.

pip install optuna                              (it is no dependency of tf-lottery)
python examples/optuna_search.py                (20 trials, a few seconds each)
python examples/optuna_search.py --trials 5

Trials are judged by validation data. What the best one does on test data is printed at the end, and decided nothing.
"""

import argparse

import keras
import optuna
from sklearn.datasets import load_digits

import tf_lottery as tfl

ROUNDS, STEPS, DENSITY = 3, 300, 0.1


def make_model() -> keras.Model:
    """A dense network for images of 8x8 pixels."""
    return keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(100, "relu", name="hidden"), keras.layers.Dense(10, name="output")]
    )


def main(arguments: list[str] | None = None) -> None:
    """Search for the learning rate, the criterion and the rewind point of the best ticket of 10 % density."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="how many settings are tried")
    options = parser.parse_args(arguments)
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")

    def objective(trial: optuna.Trial) -> float:
        """Return the validation accuracy of the last round's ticket."""
        result = tfl.find_ticket(
            make_model,
            x[:1400],
            y[:1400],
            test_data=(x[1400:], y[1400:]),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            optimizer=keras.optimizers.Adam(trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)),
            criterion=trial.suggest_categorical("criterion", ["magnitude", "magnitude_increase", "random"]),
            rewind=trial.suggest_categorical("rewind", ["init", "step:20", "lr"]),
            rounds=ROUNDS,
            final_density=DENSITY,
            steps=STEPS,
            verbose=0,
        )
        row = result.rows[-1]
        trial.set_user_attr("density", row["density"])
        trial.set_user_attr("test_accuracy", row["test_accuracy"])
        return row["val_accuracy"]

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=options.trials)

    best = study.best_trial
    settings = ", ".join(f"{name} {value}" for name, value in best.params.items())
    print(f"best of {len(study.trials)} trials: {settings}")
    print(
        f"{best.user_attrs['density']:.1%} of the weights, validation accuracy {best.value:.1%}, "
        f"test accuracy {best.user_attrs['test_accuracy']:.1%}"
    )


if __name__ == "__main__":
    main()

"""Keras callbacks in the trainings of `find_ticket`: what is called when, and that results do not depend on it."""

import csv

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UsageError
from tf_lottery.finding.keras_callbacks import check_callbacks
from toys import AlwaysNoise

L = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(80, 6)).astype("float32"), RNG.integers(0, 3, 80)


def make():
    return keras.Sequential([keras.Input((6,)), L.Dense(10, activation="relu"), AlwaysNoise(), L.Dense(3)])


def find(*callbacks, **options):
    defaults = {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "metrics": ["accuracy"]}
    defaults |= {"rounds": 1, "rate": 0.5, "steps": 8, "batch_size": 16, "eval_every": 3, "jit_compile": False}
    return tfl.find_ticket(make, X, Y, **{**defaults, "verbose": 0, "callbacks": list(callbacks), **options})


class Recorder(keras.callbacks.Callback):
    """Writes down the calls of all its methods, and uses the model as callbacks do."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.logs = {}

    def set_params(self, params):
        super().set_params(params)
        self.calls.append("set_params")

    def on_train_begin(self, logs=None):
        self.calls.append("on_train_begin")

    def on_train_end(self, logs=None):
        self.calls.append("on_train_end")
        self.logs["train end", self.params["round"]] = logs

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("on_epoch_begin", epoch))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("on_epoch_end", epoch))
        self.logs[self.params["round"], epoch] = logs
        assert self.model.evaluate(X, Y, verbose=0, return_dict=True)["loss"] > 0
        self.model.predict(X, verbose=0)

    def on_test_begin(self, logs=None):
        self.calls.append("on_test_begin")
        self.model.evaluate(X, Y, verbose=0)

    def on_test_end(self, logs=None):
        self.calls.append(("on_test_end", sorted(logs)))

    def on_round_end(self, number, rows):
        self.calls.append(("on_round_end", number, [row["variant"] for row in rows]))


class BatchRecorder(keras.callbacks.Callback):
    """Writes down the batch methods; evaluates in the middle of an epoch."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(("begin", batch))

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("end", batch, sorted(logs)))
        self.model.evaluate(X, Y, verbose=0)

    def on_test_batch_end(self, batch, logs=None):
        self.calls.append(("test end", batch))


@pytest.fixture(scope="module")
def plain():
    return find(variants=("ticket", "random_reinit"), rewind="step:2")


@pytest.fixture(scope="module")
def recorded():
    recorder = Recorder()
    return find(recorder, variants=("ticket", "random_reinit"), rewind="step:2"), recorder


def assert_same_bits(first, second):
    timing = ("seconds", "steps_per_second")
    for a, b in zip(first.rows, second.rows, strict=True):
        assert {k: v for k, v in a.items() if k not in timing} == {k: v for k, v in b.items() if k not in timing}
    for number in (0, 1):
        weights = first.ticket(number).trained_weights
        for path, weight in second.ticket(number).trained_weights.items():
            assert weight.tobytes() == weights[path].tobytes(), path


def test_callbacks_change_no_bit(plain, recorded):
    assert_same_bits(recorded[0], plain)
    assert_same_bits(find(BatchRecorder(), variants=("ticket", "random_reinit"), rewind="step:2"), plain)


def test_every_training_is_called_as_fit_calls_it(recorded):
    epoch = ["on_test_begin", ("on_test_end", ["accuracy", "loss"])]
    training = ["set_params", "on_train_begin"]
    for index in range(3):
        training += [("on_epoch_begin", index), *epoch, ("on_epoch_end", index)]
    training.append("on_train_end")
    dense = [*training, ("on_round_end", 0, ["ticket"])]
    assert recorded[1].calls == [*dense, *training, *training, ("on_round_end", 1, ["ticket", "random_reinit"])]


def test_logs_are_the_results_of_each_evaluation(recorded):
    result, recorder = recorded
    curve = [
        record
        for record in tfl.open_run(result.run_dir)._run.curves()
        if record["round"] == 1 and record["variant"] == "random_reinit"  # the last of its round
    ]
    assert [record["step"] for record in curve] == [3, 6, 8]
    for epoch, record in enumerate(curve):
        logs = recorder.logs[1, epoch]
        assert list(logs) == ["loss", "accuracy", "val_loss", "val_accuracy"]
        for name, value in logs.items():
            assert value == record[name if name.startswith("val_") else f"train_{name}"]
    assert recorder.logs["train end", 1] == recorder.logs[1, 2]


def test_params_say_which_training_it_is():
    seen = []

    class Params(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(dict(self.params))

    find(Params(), rewind="step:4", variants=("ticket", "random_reinit"))
    names = ("replicate", "round", "variant", "first_step", "last_step", "epochs", "steps", "rounds", "replicates")
    assert [tuple(params[name] for name in names) for params in seen] == [
        (0, 0, "ticket", 0, 8, 3, 3, 1, 1),
        (0, 1, "ticket", 4, 8, 3, 3, 1, 1),
        (0, 1, "random_reinit", 0, 8, 3, 3, 1, 1),
    ]
    assert [params["density"] for params in seen] == [1.0, (30 + 22) / 90, (30 + 22) / 90]


def test_batches_are_chunks_of_steps(monkeypatch):
    monkeypatch.setattr("tf_lottery.training.engine.Engine.chunk_size", lambda engine: 2)
    recorder = BatchRecorder()
    find(recorder, rounds=0)
    begins = [call[1] for call in recorder.calls if call[0] == "begin"]
    ends = [call[1] for call in recorder.calls if call[0] == "end"]
    # Epochs of 3, 3 and 2 steps.
    assert begins == [0, 2, 0, 2, 0]
    assert ends == [1, 2, 1, 2, 1]
    assert recorder.calls[1] == ("end", 1, ["accuracy", "loss"])
    assert recorder.calls[4] == ("test end", 0)


def test_finished_trainings_are_not_called_again(tmp_path):
    find(run_dir=tmp_path / "run", rounds=0)
    recorder = Recorder()
    find(recorder, run_dir=tmp_path / "run", rounds=1, variants=("ticket", "random_reinit"))
    assert recorder.calls.count("on_train_begin") == 2
    assert [call for call in recorder.calls if call[0] == "on_round_end"] == [
        ("on_round_end", 1, ["ticket", "random_reinit"])
    ]
    again = Recorder()
    find(again, run_dir=tmp_path / "run", rounds=1, variants=("ticket", "random_reinit"))
    assert again.calls == []


def test_a_training_that_a_callback_stops_is_resumed_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr("tf_lottery.experiment.workers.trainer.CHECKPOINT_SECONDS", 0.0)

    class Failing(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise RuntimeError("the disk of the caller is full")

    with pytest.raises(RuntimeError, match="disk of the caller"):
        find(Failing(), run_dir=tmp_path / "run")
    recorder = Recorder()
    resumed = find(recorder, run_dir=tmp_path / "run")
    assert recorder.calls[1:3] == ["on_train_begin", ("on_epoch_begin", 1)]
    assert recorder.params["first_step"] == 0
    assert_same_bits(resumed, find())


def test_csv_logger_writes_all_trainings_into_one_file(tmp_path):
    logger = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    result = find(logger, variants=("ticket", "random_reinit"))
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [(row["round"], row["variant"], row["epoch"]) for row in rows] == [
        (str(row["round"]), row["variant"], str(epoch)) for row in result.rows for epoch in range(3)
    ]
    assert float(rows[2]["val_loss"]) == pytest.approx(result.rows[0]["val_loss"])
    assert float(rows[-1]["density"]) == pytest.approx(result.rows[-1]["density"])
    assert logger.append is False


def test_tensorboard_has_a_folder_for_each_training(tmp_path):
    board = keras.callbacks.TensorBoard(str(tmp_path / "logs"), histogram_freq=1)
    find(board, variants=("ticket", "random_reinit"))
    folders = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("events.*")}
    trainings = ("round_00/ticket", "round_01/ticket", "round_01/random_reinit")
    assert folders == {f"logs/replicate_0/{name}/{part}" for name in trainings for part in ("train", "validation")}
    assert board.log_dir == str(tmp_path / "logs")


def test_model_checkpoint_keeps_the_best_of_each_training(tmp_path):
    file = str(tmp_path / "best-{epoch}.keras")
    find(keras.callbacks.ModelCheckpoint(file, save_best_only=True))
    saved = sorted(path.relative_to(tmp_path).parent.as_posix() for path in tmp_path.rglob("*.keras"))
    assert set(saved) == {"replicate_0/round_00/ticket", "replicate_0/round_01/ticket"}
    masks = tfl.get_masks(tfl.load_model(next((tmp_path / "replicate_0/round_01").rglob("*.keras"))))
    assert tfl.density(masks) == (30 + 22) / 90


def test_keras_s_own_harmless_callbacks_are_taken(capsys):
    history = keras.callbacks.History()
    find(history, keras.callbacks.TerminateOnNaN(), [keras.callbacks.ProgbarLogger()], rounds=0)
    assert len(history.history["val_loss"]) == 3
    assert capsys.readouterr().out == ""  # `verbose` is 0


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (keras.callbacks.EarlyStopping(), "EarlyStopping: every training runs its full length"),
        (keras.callbacks.ReduceLROnPlateau(), "ReduceLROnPlateau.*LearningRateSchedule"),
        (keras.callbacks.LearningRateScheduler(lambda epoch: 0.1), "LearningRateScheduler.*LearningRateSchedule"),
        (keras.callbacks.BackupAndRestore("backup"), "BackupAndRestore.*`run_dir`"),
        (keras.callbacks.SwapEMAWeights(), "SwapEMAWeights.*use_ema=True"),
        (keras.callbacks.EarlyStopping, "must be objects"),
        ("tensorboard", "must be objects"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", type(value).__name__),
)
def test_callbacks_that_cannot_be_honored_are_refused(callback, message, tmp_path):
    with pytest.raises(UsageError, match=message) as caught:
        find(callback, run_dir=tmp_path / "run")
    assert caught.value.argument == "callbacks"
    assert not (tmp_path / "run").exists()


def scaled_weights(model):
    model.layers[0].set_weights([2 * weight for weight in model.layers[0].get_weights()])


def lower_rate(model):
    model.optimizer.learning_rate = 1e-5


def stop(model):
    model.stop_training = True


@pytest.mark.parametrize("method", ["on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_epoch_end"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (scaled_weights, "changed .*kernel"),
        (lower_rate, "changed .*learning_rate"),
        (stop, "asked the training to stop"),
    ],
)
def test_a_callback_that_changes_a_training_is_refused(tmp_path, method, change, message):
    class Own(keras.callbacks.Callback):
        pass

    setattr(Own, method, lambda self, *arguments, **options: change(self.model))
    with pytest.raises(UsageError, match=rf"Own\.{method} {message}"):
        find(Own(), run_dir=tmp_path / "run", rounds=0)
    assert tfl.open_run(tmp_path / "run").rows == []


def test_a_lambda_callback_is_watched_too():
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: stop(callback.model))
    with pytest.raises(UsageError, match=r"LambdaCallback\.on_epoch_end asked"):
        find(callback, rounds=0)


def test_callbacks_are_taken_in_every_form_of_fit():
    one, two = keras.callbacks.History(), keras.callbacks.TerminateOnNaN()
    assert check_callbacks(None) == check_callbacks(()) == []
    assert check_callbacks(one) == [one]
    assert check_callbacks([[one], (two,)]) == [one, two]
    assert check_callbacks(keras.callbacks.CallbackList([one, two])) == [one, two]

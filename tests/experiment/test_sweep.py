"""Sweeps: what their files say, which runs they are, what is refused, and what stops them."""

import errno
import json

import pytest
from failing_disk import FailingDisk
from run_content import assert_same, content

from tf_lottery.errors import DamagedError, NonFiniteError, ResourceError, UnfinishedRunError, UsageError
from tf_lottery.experiment import sweep_runs
from tf_lottery.experiment.config import Config, differing_options, merge_configs
from tf_lottery.experiment.directory import RunDirectory, manifest
from tf_lottery.experiment.effective_config import effective_config
from tf_lottery.experiment.sweep import MOST_RUNS, configurations, describe_combination, read_sweep
from tf_lottery.experiment.sweep_runs import failed_sweep_error, plan_sweep, train_sweep

# A dense training of 20 steps of the digits, in this process.
TINY = {"steps": 20, "rounds": 0, "eval_every": 10, "batch_size": 32, "variants": ["ticket"], "xla": "off", "jobs": 1}


@pytest.fixture
def sweep(tmp_path):
    """Writes a sweep's file and reads it."""

    def read(document, name="sweep.json"):
        path = tmp_path / name
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return read_sweep(path)

    return read


@pytest.fixture
def threads_as_they_are(monkeypatch):
    """TensorFlow may be at work in this process, with other threads than a run asks for."""
    monkeypatch.setattr("tf_lottery.training.device.configure", lambda **settings: None)


def test_a_grid_is_every_combination_in_the_order_of_the_file(sweep):
    text = 'steps = 50\n[grid]\nseed = [0, 1]\nrewind = ["init", "step:5", "lr"]\n'
    actual = sweep(text, "sweep.toml")
    assert actual.base == {"steps": 50}
    assert [tuple(combination.values()) for combination in actual.combinations] == [
        *((0, "init"), (0, "step:5"), (0, "lr")),
        *((1, "init"), (1, "step:5"), (1, "lr")),
    ]
    configs = configurations(actual)
    assert [(config.seed, config.rewind, config.steps) for config in configs[2:4]] == [(0, "lr", 50), (1, "init", 50)]
    assert differing_options(configs) == {
        "seed": [0, 0, 0, 1, 1, 1],
        "rewind": ["init", "step:5", "lr", "init", "step:5", "lr"],
    }


def test_a_list_names_each_run_and_wins_over_the_base(sweep):
    text = 'preset = "digits-mlp"\nsteps = 50\n[[runs]]\n[[runs]]\nepochs = 2.0\n[[runs]]\npreset = "mnist-fc1-35"\n'
    configs = configurations(sweep(text, "sweep.toml"))
    assert [(config.preset, config.steps, config.epochs) for config in configs] == [
        ("digits-mlp", 50, None),
        ("digits-mlp", None, 2.0),  # another way to say the same, from the stronger source
        ("mnist-fc1-35", 50, None),
    ]
    assert [(config.dataset, config.model) for config in configs[1:]] == [("digits", "mlp"), ("mnist", "fc1")]


@pytest.mark.parametrize("base", [{"steps": 30}, {"preset": "digits-mlp", "steps": 30}])
def test_each_run_is_that_of_a_configuration_file_with_the_same_options(base, sweep, tmp_path):
    (config,) = configurations(sweep({**base, "grid": {"rewind": ["step:5"]}}))
    (tmp_path / "one.json").write_text(json.dumps({**base, "rewind": "step:5"}))
    assert config == effective_config(None, str(tmp_path / "one.json"), {})


def test_options_of_the_command_win_over_the_file(sweep):
    configs = configurations(sweep({"jobs": 2, "grid": {"seed": [0, 1]}}), {"jobs": 3, "threads": 2})
    assert [(config.seed, config.jobs, config.threads) for config in configs] == [(0, 3, 2), (1, 3, 2)]


def test_lists_are_values_of_a_grid(sweep):
    configs = configurations(sweep({"grid": {"densities": [[1, 0.5], [1, 0.5, 0.2]], "min_density": [0.01, [0.02]]}}))
    assert [(config.densities, config.rounds, config.min_density) for config in configs[1:3]] == [
        ((1.0, 0.5), 1, ("*=0.02",)),
        ((1.0, 0.5, 0.2), 2, ("*=0.01",)),
    ]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, r"either a table \[grid\] or tables \[\[runs\]\]. Received neither"),
        ({"grid": {"seed": [1]}, "runs": [{}]}, "Received both"),
        ({"gird": {"seed": [1]}}, "Unknown configuration key 'gird'.*Did you mean 'grid'"),
        ({"sed": 1, "grid": {"seed": [1]}}, "Unknown configuration key 'sed'.*Did you mean 'seed'"),
        ({"grid": {"sed": [1]}}, "Unknown configuration key 'sed'.*Did you mean 'seed'"),
        ({"runs": [{"seed": 1}, {"sed": 1}]}, "run 2: Unknown configuration key 'sed'.*Did you mean 'seed'"),
        ({"grid": {}}, "must be a table of options"),
        ({"grid": [1]}, "must be a table of options"),
        ({"grid": {"seed": 1}}, "seed a list of values. Received: 1"),
        ({"grid": {"seed": []}}, "seed a list of values"),
        ({"grid": {"densities": [1, 0.5]}}, r"list of lists. Received: \[1, 0.5\].*densities = \[\[...\], \[...\]\]"),
        ({"runs": []}, "list of tables"),
        ({"runs": [1]}, "list of tables"),
        ({"runs": {"seed": [1]}}, "list of tables"),
        ({"grid": {"seed": list(range(11)), "steps": list(range(1, 101))}}, "at most 1,000 runs. Received: 1,100"),
        ({"runs": [{}] * (MOST_RUNS + 1)}, "at most 1,000 runs. Received: 1,001"),
    ],
    ids=str,
)
def test_files_that_are_no_sweep_are_refused(document, message, sweep):
    with pytest.raises(UsageError, match=f"sweep.json: .*{message}"):
        sweep(document)


def test_files_have_the_limits_of_configuration_files(sweep, tmp_path):
    with pytest.raises(DamagedError, match="nested more than"):
        sweep('{"grid": ' + "[" * 200 + "]" * 200 + "}")
    with pytest.raises(UsageError, match=r"ends in .toml or .json"):
        sweep("", "sweep.yaml")
    with pytest.raises(UsageError, match="can't be read"):
        read_sweep(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"grid": {"rate": [0.2, 1.5]}}, "sweep.json, rate = 1.5: `rate` must be in"),
        ({"grid": {"seed": [0, "a"]}}, 'sweep.json, seed = "a": `seed` must be int'),
        ({"steps": 10, "runs": [{}, {"epochs": 1, "steps": 5}]}, "epochs = 1, steps = 5: Give either"),
        ({"grid": {"criterion": ["magnitude", "magnitud"]}}, "Unknown criterion 'magnitud'.*Did you mean 'magnitude'"),
        ({"preset": "digit-mlp", "grid": {"seed": [1]}}, "Unknown preset 'digit-mlp'.*Did you mean 'digits-mlp'"),
        ({"preset": [1], "grid": {"seed": [1]}}, "`preset` must be str"),
        ({"tickets_from": 1, "grid": {"seed": [1]}}, "`tickets_from` must be str"),
    ],
    ids=str,
)
def test_a_bad_value_in_one_combination_is_refused(document, message, sweep):
    with pytest.raises(UsageError, match=message):
        configurations(sweep(document))


def test_code_that_the_file_names_needs_trust(sweep):
    named = sweep({"grid": {"model": ["mlp", "mine:model"]}})
    with pytest.raises(UsageError, match="names code that would be imported and run here: mine:model"):
        configurations(named)
    assert [config.model for config in configurations(named, trust=True)] == ["mlp", "mine:model"]


def test_what_is_wrong_with_model_or_rewind_point_is_seen_before_anything_is_written(sweep, tmp_path):
    out = tmp_path / "runs"
    for bad, message in (({"rewind": "step:50"}, "step:50"), ({"model": "mpl"}, "Did you mean 'mlp'")):
        with pytest.raises(UsageError, match=message):
            plan_sweep(sweep({"steps": 10, "runs": [{}, bad]}), out)
    assert not out.exists()


def test_the_same_configuration_twice_is_one_run(sweep, tmp_path):
    twice = [{"seed": 1}, {"seed": 2}, {"seed": 1, "rate": 0.2}, {"seed": 2, "rounds": 12, "replicates": 2}]
    runs = plan_sweep(sweep({"rounds": 5, "runs": twice}), tmp_path)
    assert [[describe_combination(each) for each in run.combinations] for run in runs] == [
        ["seed = 1", "seed = 1, rate = 0.2"],
        ["seed = 2", "seed = 2, rounds = 12, replicates = 2"],  # more rounds extend a run
    ]
    assert [(run.config.rounds, run.config.replicates) for run in runs] == [(5, 1), (12, 2)]
    assert [run.store.path.name for run in runs] == [f"custom-{Config(seed=seed).hash()}" for seed in (1, 2)]


def test_runs_that_need_another_process_are_refused(sweep, tmp_path):
    with pytest.raises(UsageError, match="varies `threads`"):
        plan_sweep(sweep({"grid": {"threads": [1, 2]}}), tmp_path)
    assert len(plan_sweep(sweep({"grid": {"threads": [1, 2]}}), tmp_path, options={"threads": 2})) == 1


def test_tickets_of_another_run_are_trained_in_each_run(sweep, tmp_path):
    store = RunDirectory(tmp_path / "source")
    store.create(Config(rate=0.3).to_json() | {"hash": Config(rate=0.3).hash()})
    store.rewind_folder(0).mkdir(parents=True)
    manifest.write(store.rewind_folder(0), manifest.Manifest({}))
    transfer = sweep({"tickets_from": "source", "grid": {"classes": [[0, 1], [2, 3]]}})
    configs = configurations(transfer, find_run=lambda name: tmp_path / name)
    assert [(config.classes, config.rate) for config in configs] == [((0, 1), 0.3), ((2, 3), 0.3)]
    assert {config.tickets_from for config in configs} == {str(store.path)}
    with pytest.raises(UsageError, match="`rate` decides masks"):
        configurations(sweep({"tickets_from": "source", "grid": {"rate": [0.1]}}), find_run=lambda _: store.path)
    with pytest.raises(UsageError, match="takes the configuration of that run"):
        configurations(
            sweep({"tickets_from": "source", "preset": "digits-mlp", "grid": {"seed": [1]}}),
            find_run=lambda _: store.path,
        )


def test_the_merged_configuration_has_all_that_both_have():
    both = merge_configs(Config(rounds=2, replicates=5), Config(rounds=3, variants=("ticket", "random_masks")))
    assert (both.rounds, both.replicates) == (3, 5)
    assert both.variants == ("ticket", "random_reinit", "random_masks")


@pytest.mark.slow
@pytest.mark.usefixtures("threads_as_they_are")
def test_a_run_that_fails_does_not_stop_the_others(sweep, tmp_path):
    """The second one diverges; the others are whole, and the same call again trains nothing of them."""
    diverging = {"optimizer": "sgd", "learning_rate": 1e30}
    document = sweep({**TINY, "runs": [{"seed": 1}, diverging, {"seed": 2}]})
    runs, heard = plan_sweep(document, tmp_path / "runs"), []
    failures = train_sweep(
        runs,
        on_start=lambda number, run: heard.append((number, run.describe())),
        on_failure=lambda run, error: heard.append(type(error)),
    )
    started = [(1, "seed = 1"), (2, 'optimizer = "sgd", learning_rate = 1e+30')]
    assert heard == [*started, NonFiniteError, (3, "seed = 2")]
    assert [run.count_jobs() for run in runs] == [(1, 1), (0, 1), (1, 1)]
    assert list(failures) == [runs[1].store.path]
    assert not runs[1].store.path.exists()
    error = failed_sweep_error(failures, 3)
    assert type(error) is NonFiniteError
    assert error.cause == f"1 of 3 runs failed: {runs[1].store.path.name}."
    before = [content(run.store.path) for run in (runs[0], runs[2])]
    assert list(train_sweep(runs)) == list(failures)
    for run, expected in zip((runs[0], runs[2]), before, strict=True):
        assert_same(content(run.store.path), expected)


@pytest.mark.usefixtures("threads_as_they_are")
def test_a_full_disk_stops_the_sweep(sweep, tmp_path):
    out = tmp_path / "runs"
    runs = plan_sweep(sweep({**TINY, "grid": {"seed": [1, 2]}}), out)
    started = []
    with (
        pytest.raises(ResourceError, match="No space left"),
        FailingDisk(out, 0, error=errno.ENOSPC, lasting=True).at_work(),
    ):
        train_sweep(runs, on_start=lambda number, run: started.append(number))
    assert started == [1]


def test_workers_that_died_do_not_stop_the_sweep(sweep, tmp_path, monkeypatch):
    """That one's error is of the disk's class, which is not about the other runs."""
    errors = [UnfinishedRunError("a", "b", jobs=1), ResourceError("too large for the memory", "b")]

    def fail(config, store, **options):
        raise errors[config.seed]

    monkeypatch.setattr(sweep_runs, "run", fail)
    failures = train_sweep(plan_sweep(sweep({"grid": {"seed": [0, 1]}}), tmp_path))
    assert list(failures.values()) == errors
    assert type(failed_sweep_error(failures, 2)) is UnfinishedRunError

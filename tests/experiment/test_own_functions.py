"""A user's own criteria, controls, rewind points and densities: as functions, as objects, and by import path."""

import functools
import importlib
import json
import sys

import numpy as np
import pytest

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment import own_functions, plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.config_checks import check_own_functions
from tf_lottery.experiment.controls import CONTROLS, Control, noise, random_reinit
from tf_lottery.experiment.directory import Job, RunReader
from tf_lottery.experiment.problem import from_config
from tf_lottery.experiment.rewind_point import RewindPoint
from tf_lottery.experiment.run import locate, run
from tf_lottery.experiment.run_state import read_state
from tf_lottery.experiment.run_verification import verify_run
from tf_lottery.experiment.training_and_rewind_steps import rewind_step
from tf_lottery.experiment.workers.executor import workers
from tf_lottery.pruning import criteria as scoring
from tf_lottery.utils import references

MODULE = """
import numpy as np
from tf_lottery.experiment.controls import Control, ControlStart

POWER = 2


def power(weight):
    return np.abs(weight) ** POWER


def score(weights):
    \"\"\"Magnitude, in its own words.\"\"\"
    return {path: power(weight) for path, weight in weights.items()}


def against(weights, *, initial, scale=1.0, **others):
    return {path: np.abs(weight - scale * initial[path]) for path, weight in weights.items()}


def turned(ticket):
    \"\"\"The ticket, all signs turned.\"\"\"
    return ControlStart(ticket.masks, {path: -ticket.initial[path] for path in ticket.masks})


OTHER = Control(turned, "the same, as an object", own_data_order=True)


def late(steps):
    return steps // 4


def wrong(weights, *, temperature):
    return weights


def broken(weights):
    raise RuntimeError("own trouble")


def short(weights):
    return {path: weight[:1] for path, weight in weights.items()}


not_a_function = 3
ROUND_0 = Control(turned, "not possible", round_0=True)


def no_start(ticket):
    return ticket.masks


def wide(ticket):
    return ControlStart(ticket.masks, {path: np.zeros(3) for path in ticket.masks})
"""
SMALL = {"dataset": "digits", "steps": 12, "eval_every": 6, "rounds": 1, "rate": 0.5, "xla": "off", "jobs": 1}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The name of a module in the current directory, which changes are written to."""
    monkeypatch.chdir(tmp_path)
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield name
    sys.modules.pop(name, None)


def change(name, old, new):
    """Change the source of a module, and import it again."""
    with open(f"{name}.py") as file:
        text = file.read()
    assert old in text
    with open(f"{name}.py", "w") as file:
        file.write(text.replace(old, new))
    sys.modules.pop(name, None)
    importlib.invalidate_caches()


def train(config, store):
    """Train in this process, whatever TensorFlow did here before; in worker processes for several jobs."""
    return run(config, store, make_problem=(lambda: from_config(config)) if config.jobs == 1 else None)


def half(weights):
    """A criterion of this module."""
    return {path: weight / 2 for path, weight in weights.items()}


def test_functions_and_objects_are_named(own):
    with references.current_directory_importable():
        module = importlib.import_module(own)
    config = Config(
        criterion=module.score,
        variants=("other_order", module.turned, module.OTHER, random_reinit, CONTROLS["shuffled_masks"]),
        rewind=module.late,
        densities=lambda number: 0.5**number,
        rounds=2,
    )
    assert (config.criterion, config.rewind) == (f"{own}:score", f"{own}:late")
    assert config.variants == (
        *("ticket", "random_reinit", "shuffled_masks", "other_order"),
        *(f"{own}:turned", f"{own}:OTHER"),
    )
    assert config.densities == (1.0, 0.5, 0.25)
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert Config(criterion=scoring.snip) == Config(criterion="snip")
    assert Config(rewind=RewindPoint("lr", "step", 20)).rewind == "lr:step:20"
    assert Config(variants=random_reinit) == Config(variants="random_reinit")


def test_names_need_no_module(tmp_path):
    """Whoever only reads a run need not have the modules of the one who made it."""
    config = Config(criterion="not_here:score", variants=("not_here:control",), rewind="not_here:late")
    assert [job.variant for job in plan.jobs(config.updated(rounds=1))] == ["ticket", "ticket", "not_here:control"]
    assert config.hash() != Config(rewind="not_here:late").hash()
    with pytest.raises(UsageError, match="No module named 'not_here'"):
        locate(config, tmp_path)
    with pytest.raises(UsageError, match=r"No module named 'not_here'.* for the control"):
        check_own_functions(Config(variants=("not_here:control",)))


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"criterion": "wrong"}, UsageError, "needs temperature, which an experiment does not provide.*gradients"),
        ({"criterion": "not_a_function"}, UsageError, "must be a function. Received: int"),
        ({"criterion": "absent"}, UsageError, "has no 'absent', for the criterion"),
        ({"criterion": "against", "pruning": "before_training"}, UsageError, "looks back on a whole training"),
        ({"variants": ("not_a_function",)}, UsageError, "must be a function or a `Control`"),
        ({"variants": ("ROUND_0",)}, UsageError, "only registered controls have them"),
        ({"rewind": "not_a_function"}, UsageError, "The rewind function .* must be a function"),
    ],
    ids=str,
)
def test_what_an_experiment_can_t_use_is_refused(own, values, error, message):
    names = {
        key: tuple(f"{own}:{name}" for name in value) if isinstance(value, tuple) else f"{own}:{value}"
        for key, value in values.items()
        if key != "pruning"
    }
    with pytest.raises(error, match=message):
        check_own_functions(Config(**{**values, **names}))


def test_a_lambda_works_in_this_process_and_is_refused_in_others(tmp_path):
    scale = 3.0
    config = Config(criterion=lambda weights: {path: scale * weight for path, weight in weights.items()}, replicates=2)
    assert config.criterion.startswith("local:lambda-")
    assert config.needs_this_process == [config.criterion]
    assert workers(config, 10, cores=8) == 1
    with pytest.raises(UsageError, match=r"can't be imported by worker processes: a lambda.*`jobs=2`.*top level"):
        config.updated(jobs=2)
    with pytest.raises(UsageError, match="can't be imported by worker processes"):
        Config(variants=(Control(functools.partial(noise, deviations=9.0), "louder"),), jobs=2)
    text = json.dumps(config.to_json()).replace(config.criterion, "local:lambda-ffffffffff")
    with pytest.raises(UsageError, match=r"was a function of the process that began the run.*Pass that function again"):
        check_own_functions(Config.from_json(json.loads(text)))


def test_what_a_function_does_decides_its_digest(own):
    def scaled(factor):
        return lambda weights: {path: factor * weight for path, weight in weights.items()}

    assert own_functions.digest(scaled(2)) == own_functions.digest(scaled(2)) != own_functions.digest(scaled(3))
    first, second = (lambda weights: weights), (lambda weights: {})  # on one line
    assert own_functions.digest(first) != own_functions.digest(second)
    assert own_functions.digest(Control(half, "a")) != own_functions.digest(Control(half, "a", own_masks=True))
    digests = [own_functions.functions_hash(f"{own}:score", "magnitude")]
    for old, new in (("POWER = 2", "POWER = 3"), ("np.abs(weight) **", "np.abs(weight + 1) **")):
        change(own, old, new)
        digests.append(own_functions.functions_hash(f"{own}:score"))
    change(own, "own trouble", "other trouble")  # which `score` does not use
    assert len(set(digests)) == 3
    assert own_functions.functions_hash(f"{own}:score") == digests[-1]
    assert own_functions.functions_hash("magnitude", "") == ""


def test_a_changed_criterion_is_another_run(own, tmp_path):
    config = Config(**SMALL, criterion=f"{own}:score", variants=("ticket",))
    store = locate(config, tmp_path)
    train(config, store)
    change(own, "POWER = 2", "POWER = 3")
    assert locate(config, tmp_path).path != store.path
    with pytest.raises(UsageError, match="a function that has changed since"):
        train(config, store)
    assert not verify_run(RunReader(store.path)).problems


def test_a_changed_control_is_refused(own, tmp_path):
    config = Config(**SMALL, variants=(f"{own}:turned",))
    store = locate(config, tmp_path)
    rows = train(config, store)
    assert [row["variant"] for row in rows] == ["ticket", "ticket", f"{own}:turned"]
    change(own, "-ticket.initial", "2 * ticket.initial")
    with pytest.raises(UsageError, match=f"The control '{own}:turned' has changed since"):
        train(config, store)


def read(store, job, name):
    with np.load(store.job_folder(job) / f"{name}.npz") as arrays:
        return {key: arrays[key].tobytes() for key in arrays}


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_own_functions_train_here_and_in_worker_processes(own, tmp_path, monkeypatch, jobs):
    variants = (f"{own}:turned", f"{own}:OTHER")
    names = {"criterion": f"{own}:score", "rewind": f"{own}:late", "variants": variants}
    config = Config(**{**SMALL, "jobs": jobs}, **names)
    store = locate(config, tmp_path)
    rows = train(config, store)
    assert {row["variant"] for row in rows} == {"ticket", *variants}
    plain = Config(**{**SMALL, "jobs": jobs}, rewind="step:3")
    expected = locate(plain, tmp_path)
    train(plain, expected)
    # The criterion ranks as the magnitude does.
    assert read(store, Job(0, 1), "masks") == read(expected, Job(0, 1), "masks")
    assert read(store, Job(0, 1), "weights") == read(expected, Job(0, 1), "weights")
    assert read(store, Job(0, 1, variants[0]), "weights") != read(store, Job(0, 1, variants[1]), "weights")
    assert store.metrics(Job(0, 1))["start_step"] == 3
    assert store.metrics(Job(0, 1, variants[0]))["start_step"] == 0
    # It is read, verified and resumed; read also where the module is not.
    assert train(config, store) == rows
    monkeypatch.chdir(tmp_path.parent)
    sys.modules.pop(own)
    assert read_state(store.path).state == "complete"
    assert not verify_run(RunReader(store.path)).problems
    assert RunReader(store.path).complete_jobs()[-1].variant == variants[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"criterion": "broken"}, "The criterion .*broken' failed: RuntimeError: own trouble"),
        ({"criterion": "short"}, "The scores of .*short' of .* must have shape"),
        ({"variants": ("no_start",)}, "must return a `ControlStart`. It returned: dict"),
        ({"variants": ("wide",)}, r"gives .* the shape \(3,\)"),
    ],
    ids=str,
)
def test_functions_that_fail_or_return_what_does_not_fit(own, tmp_path, values, message):
    names = {
        key: tuple(f"{own}:{name}" for name in value) if isinstance(value, tuple) else f"{own}:{value}"
        for key, value in values.items()
    }
    config = Config(**{**SMALL, "variants": ("ticket",), **names})
    with pytest.raises(UnfitError, match=message):
        train(config, locate(config, tmp_path))


@pytest.mark.parametrize("step", [-1, 1.5, True, "3", None])
def test_a_rewind_function_returns_a_step(step):
    config = Config(steps=10, rewind=lambda steps: step)
    with pytest.raises(UsageError, match=r"must return a step, an integer of at least 0. It returned"):
        rewind_step(config, None)
    with pytest.raises(UsageError, match="before the end of a training of 10 steps"):
        rewind_step(Config(steps=10, rewind=lambda steps: steps), None)
    assert rewind_step(Config(steps=10, rewind=lambda steps: np.int64(steps // 2)), None) == 5


def test_functions_of_rewind_and_densities_that_fail():
    with pytest.raises(UnfitError, match=r"The rewind function '.*' failed: ZeroDivisionError"):
        rewind_step(Config(steps=10, rewind=lambda steps: 1 // 0), None)
    with pytest.raises(UnfitError, match=r"The densities function '<lambda>' failed: ZeroDivisionError"):
        Config(rounds=2, densities=lambda number: 1 / 0)
    with pytest.raises(UsageError, match=r"must return numbers. It returned: \['half', 'half'\]"):
        Config(rounds=2, densities=lambda number: "half")


def test_scores_of_functions():
    weights = {"a": np.array([1.0, -2.0])}
    assert scoring.scores(weights, half)["a"].tolist() == [0.5, -1.0]
    assert scoring.scores(weights, f"{__name__}:half")["a"].tolist() == [0.5, -1.0]
    assert scoring.needs(lambda w, *, initial, alpha=1, **others: w) == {"initial"}
    assert scoring.iterations(half) == 1
    with pytest.raises(UnfitError, match=r"must return scores by weight path. It returned: list"):
        scoring.scores(weights, lambda weights: [1])


def test_names_on_the_command_line(own):
    from tf_lottery_cli.options import given
    from tf_lottery_cli.run import command

    arguments = ["--criterion", f"{own}:score", "--variants", f"ticket,{own}:turned", "--rewind", f"{own}:late"]
    values = given(command.make_context("run", arguments).params)
    config = Config(**{name: values[name] for name in ("criterion", "variants", "rewind")})
    assert (config.criterion, config.rewind) == (f"{own}:score", f"{own}:late")
    assert config.variants == ("ticket", f"{own}:turned")

"""What studies know of a run, what they refuse, what they cost, and what is written."""

import csv
import json
import shutil
import subprocess
import sys

import pyarrow.parquet
import pytest
from sealed_runs import seal
from tf_lottery_cli.wording import in_flags

from tf_lottery.errors import DamagedError, NamedCall, UnfitError, UsageError, split_message
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.run import locate, run
from tf_lottery.studies import STUDIES, StudyOutcome, StudyRun, analyze
from tf_lottery.studies.extending import extend_run, extension_cost, train_missing
from tf_lottery.studies.study_outcome import average_replicates, rounds_side_by_side, write_outcome


@pytest.fixture
def unfinished(run_path, tmp_path):
    """A run whose last round has no ticket in replicate 1, and no other order anywhere."""
    path = tmp_path / "unfinished"
    shutil.copytree(run_path, path)
    shutil.rmtree(path / "replicate_1" / "round_02")
    for folder in path.glob("replicate_*/round_*/variants/other_order"):
        shutil.rmtree(folder)
    seal(path, variants=("ticket", "random_reinit"))
    return path


def test_a_run_tells_what_it_has(toy):
    assert toy.rounds == (0, 1, 2)
    assert toy.replicates == (0, 1)
    assert toy.controls() == ["noise_1", "other_order", "random_reinit"]
    assert toy.controls(among=["shuffled_masks", "random_reinit"]) == ["random_reinit"]
    assert toy.jobs("random_reinit")[0] == Job(0, 1, "random_reinit")  # none in round 0
    assert toy.jobs("other_order")[0] == Job(0, 0, "other_order")
    assert toy.density(1) == pytest.approx(toy.rows()[4]["density"])
    assert {row["variant"] for row in StudyRun(toy.path, rounds=[0]).rows()} == {"ticket", "other_order"}


def test_what_is_not_there_is_refused(toy, tmp_path):
    with pytest.raises(UsageError, match="no ticket of round 7") as caught:
        StudyRun(toy.path, rounds=[1, 7])
    assert "0, 1, 2" in caught.value.remedy
    with pytest.raises(UsageError, match="no ticket of replicate 3"):
        StudyRun(toy.path, replicates=[3])
    with pytest.raises(UsageError, match="none was named"):
        StudyRun(toy.path, rounds=[])
    with pytest.raises(UsageError, match="not a run directory"):
        StudyRun(tmp_path)
    with pytest.raises(UsageError, match="examples"):
        StudyRun(toy.path, examples=0)


def test_an_unfinished_run_is_refused_but_what_is_there_can_be_studied(unfinished):
    with pytest.raises(UnfitError, match=r"1 of the trainings .* replicate 1, round 2, ticket") as caught:
        StudyRun(unfinished)
    assert "train_missing(" in caught.value.remedy
    assert "`rounds`" in caught.value.remedy
    assert analyze("stability", StudyRun(unfinished, rounds=[0, 1])).tables["stability"]
    assert StudyRun(unfinished, replicates=[0]).rounds == (0, 1, 2)


def test_missing_controls_are_refused_with_the_call_that_trains_them(unfinished):
    with pytest.raises(UnfitError, match="other_order") as caught:
        analyze("instability", StudyRun(unfinished, rounds=[0, 1]))
    assert "variants=('random_reinit', 'other_order'))`" in caught.value.remedy
    assert " --variants random_reinit,other_order`" in in_flags(caught.value.remedy)


def test_the_command_line_names_the_directory_as_run_will_find_it(unfinished):
    """The command for a renamed directory once started a run of its own beside it."""
    with pytest.raises(UnfitError) as caught:
        StudyRun(unfinished)
    here = unfinished.parent
    name = locate(RunDirectory(unfinished).config(), here).path
    command = f"tf-lottery run --config {name}/config.json --out {here}`;"
    assert f"`mv {unfinished} {name}; {command}" in in_flags(caught.value.remedy)
    unfinished.rename(name)
    with pytest.raises(UnfitError) as caught:
        StudyRun(name)
    assert in_flags(caught.value.remedy).startswith(f"Train them: `{command} or")
    shutil.copytree(name, here / "other")  # the name is taken: the next one is free, and is then found first
    with pytest.raises(UnfitError) as caught:
        StudyRun(here / "other")
    assert f"mv {here}/other {name}-2; " in in_flags(caught.value.remedy)


def test_the_cost_of_missing_controls_is_their_number_times_the_mean_time(unfinished):
    actual = extension_cost(StudyRun(unfinished, replicates=[0]), ("other_order",))
    assert {job.variant for job in actual.jobs} == {"ticket", "random_reinit", "other_order"}
    assert len(actual.jobs) == 8  # 6 of the other order, and the missing round of replicate 1
    times = [row["seconds"] for row in RunDirectory(unfinished).rows()]
    assert actual.seconds == pytest.approx(8 * sum(times) / len(times))


def test_extending_a_run_trains_the_controls(monkeypatch, unfinished, problem):
    from tf_lottery.experiment import run as experiment

    def with_problem(config, store, **options):
        return run(config, store, **options, make_problem=lambda: problem)

    monkeypatch.setattr(experiment, "run", with_problem)
    extend_run(StudyRun(unfinished, replicates=[0]), ("other_order",))
    whole = StudyRun(unfinished)
    assert not whole.missing("other_order")
    assert whole.config.variants == ("ticket", "random_reinit", "other_order")
    assert extension_cost(whole, ("other_order",)).jobs == ()


def test_the_call_that_a_remedy_names_trains_what_is_missing(monkeypatch, unfinished, problem):
    from tf_lottery.experiment import run as experiment

    monkeypatch.setattr(experiment, "run", lambda *what, **options: run(*what, **options, make_problem=lambda: problem))
    with pytest.raises(UnfitError) as caught:
        StudyRun(unfinished)
    _, call, *_ = split_message(caught.value.remedy)
    assert isinstance(call, NamedCall)
    assert call.function == f"{train_missing.__module__}.{train_missing.__name__}"
    train_missing(*call.positional, **call.keywords)
    assert not StudyRun(unfinished).missing("ticket")


def test_a_run_of_find_ticket_needs_its_problem(toy, tmp_path, problem):
    path = tmp_path / "run"
    config = toy.config.updated(model="user", dataset="user", rounds=1, replicates=1, steps=3, variants=("ticket",))
    run(config, RunDirectory(path), make_problem=lambda: problem)
    with pytest.raises(UsageError, match="made by `find_ticket`"):
        _ = StudyRun(path).problem
    with pytest.raises(UsageError, match="can't be extended"):
        extend_run(StudyRun(path), ("other_order",))
    assert analyze("survivors", StudyRun(path)).tables["survivors"]


def test_a_damaged_file_is_said(run_path, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(run_path, path)
    target = path / "replicate_0" / "round_01" / "weights.npz"
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    with pytest.raises(DamagedError, match=r"weights\.npz"):
        analyze("stability", StudyRun(path))


def test_an_unknown_study_option_or_second_run_is_refused(toy):
    with pytest.raises(UsageError, match="Unknown study 'stabilty'") as caught:
        analyze("stabilty", toy)
    assert "'stability'" in caught.value.remedy
    with pytest.raises(UsageError, match="no option `points`"):
        analyze("stability", toy, points=3)
    with pytest.raises(UsageError, match="is of one run"):
        analyze("stability", toy, toy)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_can_be_loaded_and_says_what_it_does(name):
    study = STUDIES[name]
    assert callable(study.load())
    assert study.load().__doc__
    assert study.summary[0].islower()


def test_over_replicates_by_hand():
    rows = [
        {"replicate": 0, "round": 1, "error": 0.2, "loss": None},
        {"replicate": 1, "round": 1, "error": 0.4, "loss": float("nan")},
        {"replicate": 0, "round": 2, "error": 0.5, "loss": 1.0},
    ]
    assert average_replicates(rows, by=["round"], of=["error", "loss"]) == [
        {
            **{"round": 1, "replicates": 2, "error": pytest.approx(0.3), "error_low": 0.2, "error_high": 0.4},
            **{"loss": None, "loss_low": None, "loss_high": None},
        },
        {"round": 2, "replicates": 1, "error": 0.5, "loss": 1.0},
    ]


def test_side_by_side_by_hand():
    rows = [{"round": r, "noise": n, "score": s} for r, n, s in ((0, 0, 1.0), (0, 0, 0.5), (3, 0, 0.25), (0, 1, 0.1))]
    assert rounds_side_by_side(rows, by=["noise"], names={0: "dense", 3: "ticket"}, of="score") == [
        {"noise": 0, "dense": 0.75, "ticket": 0.25},
        {"noise": 1, "dense": 0.1, "ticket": None},
    ]


def test_an_outcome_is_written_as_tables_figures_and_words(toy, tmp_path):
    outcome = analyze("stability", toy)
    paths = write_outcome(outcome, tmp_path / "out", about={"study": "stability"})
    assert set(paths) == {
        *(f"{name}.{kind}" for name in outcome.tables for kind in ("csv", "parquet")),
        *(f"{name}.{kind}" for name in outcome.figures for kind in ("png", "svg")),
        "outcome.json",
    }
    with open(paths["stability.csv"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(outcome.tables["stability"]) == 4
    assert float(rows[0]["angle"]) == outcome.tables["stability"][0]["angle"]
    assert pyarrow.parquet.read_table(paths["stability.parquet"]).to_pylist() == outcome.tables["stability"]
    assert paths["angle.png"].read_bytes()[:4] == b"\x89PNG"
    assert b"<svg" in paths["angle.svg"].read_bytes()
    document = json.loads(paths["outcome.json"].read_text())
    assert document["sentences"] == outcome.sentences
    assert document["study"] == "stability"
    before = {name: path.read_bytes() for name, path in paths.items()}
    again = write_outcome(analyze("stability", StudyRun(toy.path)), tmp_path / "out", about={"study": "stability"})
    assert {name: path.read_bytes() for name, path in again.items()} == before


def test_an_outcome_of_a_callers_own_can_be_written(tmp_path):
    paths = write_outcome(StudyOutcome({"mine": [{"a": 1}]}), tmp_path, about={})
    assert paths["mine.csv"].read_text() == "a\n1\n"


def test_listing_and_studies_of_stored_arrays_load_no_tensorflow(run_path):
    # Rewind weights are a checkpoint, so `survivors` loads it; these need masks and trained weights only.
    code = f"""
import sys
from tf_lottery.studies import STUDIES, StudyRun, analyze
for name in ("stability", "overlap"):
    assert analyze(name, StudyRun({str(run_path)!r})).tables
print({{"tensorflow", "keras"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"

"""`tf-lottery analyze`: the list, studies of a real run, new trainings announced first, and bad input."""

import csv
import json

import pytest

NAMES = ("stability", "instability", "rounds-barrier", "overlap", "survivors", "weight-noise", "corruption", "attacks")


def test_the_name_of_earlier_versions_is_a_hidden_alias(invoke):
    assert invoke("analyse").stdout == invoke("analyze").stdout != ""
    assert "analyse" not in invoke("--help").stdout
    assert "Usage: tf-lottery analyze" in invoke("analyse", "--help").stdout
    assert "tf-lottery analyze --help" in invoke("analyse", "--nosuch").stderr


def test_without_a_study_the_studies_are_listed(invoke):
    for arguments in (["analyze"], ["analyze", "--list"]):
        lines = invoke(*arguments).output.splitlines()
        assert [line.split()[0] for line in lines[1:]] == [*NAMES, "transfer"]
    document = json.loads(invoke("analyze", "--list", "--json").output)
    assert document["schema"] == "tf-lottery.studies/1"
    assert {"name": "instability", "variants": ["other_order"]}.items() <= document["studies"][1].items()


@pytest.mark.slow
def test_a_study_prints_its_table_and_sentences_and_writes_files(copied, invoke):
    result = invoke("analyze", "stability", copied.name)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["round", "variant", "density"]
    assert any(line.startswith("Angle to the full network") for line in lines)
    folder = copied / "analysis" / "stability"
    assert lines[-1] == f"Written to {folder.relative_to(copied.parent.parent)}"
    assert {"stability.csv", "stability.parquet", "angle.png", "angle.svg", "outcome.json"} <= {
        path.name for path in folder.iterdir()
    }
    with open(folder / "stability.csv", newline="") as file:
        assert [(row["round"], row["variant"]) for row in csv.DictReader(file)] == [
            (number, variant) for number in ("1", "2") for variant in ("ticket", "random_reinit")
        ]


def test_json_is_one_document_and_options_choose_rounds(copied, invoke, tmp_path):
    result = invoke("analyze", "overlap", copied.name, "--rounds", "0,2", "--to", tmp_path / "there", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["schema"] == "tf-lottery.analysis/1"
    assert document["rounds"] == [0, 2]
    assert [row["round"] for row in document["tables"]["overlap"]] == [2]
    assert (tmp_path / "there" / "outcome.json").is_file()
    assert not (copied / "analysis").exists()


def test_two_runs_are_compared(copied, invoke):
    result = invoke("analyze", "overlap", copied.name, copied.name, "--json")
    document = json.loads(result.stdout)
    runs = [row for row in document["tables"]["overlap"] if row["between"] == "runs"]
    assert [row["overlap"] for row in runs] == [1.0, 1.0, 1.0]


def test_what_must_be_trained_is_said_first(copied, invoke):
    before = sorted(copied.rglob("*"))
    result = invoke("analyze", "instability", copied.name, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "3 more trainings of other_order, about " in result.stdout
    assert sorted(path for path in copied.rglob("*") if path.name != ".lock") == [
        path for path in before if path.name != ".lock"
    ]
    document = json.loads(invoke("analyze", "instability", copied.name, "--dry-run", "--json").stdout)
    assert document["trainings"] == 3
    assert document["seconds"] > 0
    assert "Everything" in invoke("analyze", "stability", copied.name, "--dry-run").stdout


@pytest.mark.slow
def test_instability_trains_the_second_order(copied, shell):
    arguments = ("analyze", "instability", str(copied), "--points", "5", "--json", "--examples", "500")
    done = shell(*arguments, cwd=copied.parent.parent)
    assert done.returncode == 0, done.stderr
    assert "The study needs 3 more trainings" in done.stderr
    document = json.loads(done.stdout)
    assert [row["round"] for row in document["tables"]["barriers"]] == [0, 1, 2]
    assert document["options"] == {"points": 5}
    assert "500 training examples" in " ".join(document["sentences"])
    assert json.loads((copied / "config.json").read_text())["variants"] == ["ticket", "random_reinit", "other_order"]
    again = shell(*arguments, cwd=copied.parent.parent)
    assert "more trainings" not in again.stderr
    assert json.loads(again.stdout)["tables"] == document["tables"]


@pytest.mark.parametrize("name", ["survivors", "attacks", "corruption", "weight-noise", "rounds-barrier"])
def test_the_other_studies_of_a_real_run(name, copied, invoke):
    options: dict[str, tuple[str, ...]] = {
        "weight-noise": ("--draws", "1"),
        "rounds-barrier": ("--points", "3"),
        "attacks": ("--test-examples", "50"),
    }
    done = invoke("analyze", name, str(copied), "--rounds", "0,2", *options.get(name, ()))
    assert done.exit_code == 0, done.stderr
    assert "Written to" in done.stdout
    assert list((copied / "analysis" / name).glob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["stabilty", "digits"], 2, "Unknown study 'stabilty'"),
        (["stability"], 2, "needs a run"),
        (["stability", "nowhere"], 2, "There is no run 'nowhere'"),
        (["stability", "digits", "--rounds", "1,9"], 2, "no ticket of round 9"),
        (["stability", "digits", "--rounds", "one"], 2, "integers separated by commas"),
        (["stability", "digits", "--replicates", "5"], 2, "no ticket of replicate 5"),
        (["stability", "digits", "--points", "5"], 2, "no option --points"),
        (["stability", "digits", "digits"], 2, "is of one run"),
        (["rounds-barrier", "digits", "--rounds", "1"], 3, "at least two"),
        (["stability", "digits", "--rounds", "1,2"], 3, "with round 0"),
        (["transfer", "digits"], 3, "found its own tickets"),
        (["rounds-barrier", "digits", "--points", "2"], 2, "--points"),
    ],
)
def test_bad_input_has_its_code(arguments, code, words, copied, invoke):
    result = invoke("analyze", *arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (copied / "analysis").exists()


def test_an_unfinished_run_is_refused(copied, invoke):
    (copied / "replicate_0" / "round_02" / "manifest.json").unlink()
    result = invoke("analyze", "stability", copied.name)
    assert result.exit_code == 3
    assert "replicate 0, round 2, ticket" in result.stderr
    assert "tf-lottery run --config" in result.stderr
    assert invoke("analyze", "stability", copied.name, "--rounds", "0,1").exit_code == 0


def test_a_damaged_run_is_refused(copied, invoke):
    target = copied / "replicate_0" / "round_01" / "weights.npz"
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    result = invoke("analyze", "stability", copied.name)
    assert result.exit_code == 5
    assert "weights.npz" in result.stderr

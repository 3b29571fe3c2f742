"""`compare` on runs that were really made: one, and a copy of it under another name or with other contents."""

import json
import shutil

import pytest
from sealed_runs import seal

from tf_lottery.utils.files import dump_json, load_json, write_bytes


@pytest.fixture
def twin(copied):
    """A second run beside the first, which says that it rewound elsewhere."""
    target = copied.with_name("twin-0000000000")
    shutil.copytree(copied, target)
    seal(target, rewind="step:10")
    return target


def replace_pinned(run, name, content):
    """Give a run another file of its own, with trainings that hold its hash: what another run would have."""
    write_bytes(run / name, content)
    seal(run)


def test_compare_writes_its_page_and_prints_the_verdict(copied, twin, invoke, tmp_path):
    result = invoke("compare", "digits-mlp", "twin", "--to", tmp_path / "page")
    assert result.exit_code == 0, result.stderr
    *verdict, page = result.stdout.splitlines()
    assert page == str(tmp_path / "page" / "comparison.html")
    assert verdict[0].startswith("rewind step:10 against rewind init, test accuracy: not judged at 2 equal densities")
    assert {"cost.svg", "cost_seconds.svg", "accuracy.png", "rounds.csv", "jobs.parquet"} <= {
        p.name for p in (tmp_path / "page").iterdir()
    }


def test_compare_prints_one_document(copied, twin, invoke):
    result = invoke("compare", copied, twin, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["schema"] == "tf-lottery.compare/1"
    assert [run["run"] for run in document["runs"]] == ["rewind init", "rewind step:10"]
    assert {row["outcome"] for row in document["differences"]} == {"not judged"}
    assert all(run["seconds"] > run["dense_seconds"] > 0 for run in document["runs"] if run["round"])
    # The same command writes to the same folder below --out, which is no run.
    result = invoke("compare", copied, twin, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["files"] == document["files"]
    runs = json.loads(invoke("ls", "--json").stdout)["runs"]
    assert len(runs) == 2


def test_one_run_is_a_wrong_use(copied, invoke):
    for arguments in (["digits-mlp"], ["digits-mlp", copied]):
        result = invoke("compare", *arguments)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 2)
    assert invoke("compare").exit_code == 2
    assert invoke("compare", copied, "nosuch").exit_code == 2


def test_another_model_does_not_fit(copied, twin, invoke, tmp_path):
    model = load_json(twin / "model.json")
    model["config"]["layers"][-1]["config"]["units"] = 7
    replace_pinned(twin, "model.json", dump_json(model))
    result = invoke("compare", copied, twin, "--to", tmp_path / "page")
    assert result.exit_code == 3
    assert "different models" in result.stderr
    assert not (tmp_path / "page").exists()


def test_other_data_do_not_fit_unless_allowed(copied, twin, invoke, tmp_path):
    environment = load_json(twin / "environment.json")
    replace_pinned(twin, "environment.json", dump_json(environment | {"data_fingerprint": "0" * 64}))
    result = invoke("compare", copied, twin, "--to", tmp_path / "page")
    assert result.exit_code == 3
    assert "--allow-data" in result.stderr
    allowed = invoke("compare", copied, twin, "--allow-data", "--to", tmp_path / "page")
    assert allowed.exit_code == 0, allowed.stderr
    assert "the data differ" in allowed.stdout


def test_damage_is_refused_and_an_unfinished_run_remarked_on(copied, twin, invoke, tmp_path):
    (twin / "replicate_0/round_02/variants/random_reinit/manifest.json").unlink()
    result = invoke("compare", copied, twin, "--to", tmp_path / "page")
    assert result.exit_code == 0
    assert "not finished: 4 of 5" in result.stderr
    (twin / "model.json").write_text("{}")
    assert invoke("compare", copied, twin).exit_code == 5


def test_runs_of_equal_names_elsewhere_have_a_page_of_their_own(copied, twin, invoke, tmp_path):
    """The default folder once depended on the names alone: another comparison was overwritten."""
    shutil.copytree(tmp_path / "runs", tmp_path / "elsewhere")
    first = json.loads(invoke("compare", copied, twin, "--json").stdout)["files"]["comparison.html"]
    there = (tmp_path / "elsewhere" / run.name for run in (copied, twin))
    second = json.loads(invoke("compare", *there, "--json").stdout)["files"]["comparison.html"]
    assert first != second
    again = invoke("compare", copied.relative_to(tmp_path), twin.relative_to(tmp_path), "--json")
    assert json.loads(again.stdout)["files"]["comparison.html"] == first

"""`status`, `ls`, `report` and `verify` on a finished run and on damaged copies of it."""

import json
import re

import numpy as np
import pytest
from sealed_runs import seal

from tf_lottery.results.run_lookup import find_run
from tf_lottery.utils.files import dump_arrays, load_arrays


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_status_of_a_finished_run(copied, invoke):
    state = json.loads(invoke("status", "--json").stdout)
    assert state["schema"] == "tf-lottery.status/1"
    assert (state["complete"], state["state"], state["in_use"]) == (True, "complete", False)
    assert (state["jobs_done"], state["jobs_total"], state["rounds_done"], state["rounds_total"]) == (5, 5, 2, 2)
    text = invoke("status", copied).stdout
    assert re.search(r"Trainings +5 of 5", text)


def test_status_of_an_unfinished_run_shows_what_is_left(copied, invoke):
    (copied / "replicate_0/round_02/manifest.json").unlink()
    state = json.loads(invoke("status", "--json").stdout)
    assert (state["complete"], state["state"], state["jobs_done"], state["rounds_done"]) == (False, "unfinished", 4, 1)
    assert state["seconds_left"] > 0


def test_status_of_a_run_in_use(copied, invoke):
    from tf_lottery.experiment.directory import RunDirectory

    with RunDirectory(copied).lock():
        state = json.loads(invoke("status", "--json").stdout)
    assert (state["state"], state["in_use"]) == ("running", True)


def test_ls_shows_damaged_runs_among_the_others(copied, invoke):
    (copied.parent / "broken-0000000000").mkdir()
    (copied.parent / "broken-0000000000" / "config.json").write_text("{")
    (copied.parent / "no run at all").mkdir()
    result = invoke("ls", "--json")
    assert result.exit_code == 0
    states = {run["run_dir"].split("/")[-1]: run["state"] for run in json.loads(result.stdout)["runs"]}
    assert states == {copied.name: "complete", "broken-0000000000": "damaged"}
    assert "damaged" in invoke("ls").stdout
    assert invoke("status", "broken").exit_code == 5


def test_ls_without_runs_says_so(invoke, tmp_path):
    result = invoke("ls", "--out", tmp_path / "none")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no run" in result.stderr
    assert not (tmp_path / "none").exists()


def test_runs_are_found_by_path_name_and_beginning(copied):
    out = copied.parent
    for name in (str(copied), copied.name, "digits", None):
        assert find_run(name, out).path.resolve() == copied.resolve()


def test_report_writes_its_files_and_prints_the_page(copied, invoke, tmp_path):
    result = invoke("report", "digits-mlp")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == f"runs/{copied.name}/report/report.html"
    names = {path.name for path in (copied / "report").iterdir()}
    assert {"report.html", "accuracy.png", "accuracy.svg", "learning_curves.png", "layer_density.svg"} <= names
    document = json.loads(invoke("report", "digits-mlp", "--to", tmp_path / "there", "--json").stdout)
    assert document["files"]["report.html"] == str(tmp_path / "there" / "report.html")
    assert invoke("verify", "digits-mlp").exit_code == 0


def test_verify_shows_what_it_checked(copied, invoke):
    document = json.loads(invoke("verify", copied, "--json").stdout)
    assert document["ok"] is True
    assert document["problems"] == document["remarks"] == []
    checked = document["checked"]
    assert checked["files of trainings have their SHA-256"] == 5 * 3 + 1  # the optimizer of the dense round
    assert checked["pruned weights are exactly 0.0"] == 5
    assert checked["masks of controls are the ticket's"] == 2
    assert checked["masks are subsets of the round before"] == 2


@pytest.mark.parametrize(
    "name",
    [
        "replicate_0/round_01/weights.npz",
        "replicate_0/round_01/masks.npz",
        "replicate_0/round_02/metrics.json",
        "replicate_0/round_02/variants/random_reinit/weights.npz",
        "replicate_0/rewind/checkpoint.data-00000-of-00001",
    ],
)
def test_verify_finds_a_flipped_bit(name, copied, invoke):
    (copied / name).chmod(0o644)
    flip(copied / name)
    result = invoke("verify", copied)
    assert result.exit_code == 5
    assert name in result.stderr
    assert len(result.stderr.splitlines()) == 2


def recommit(directory, **arrays):
    """Write other arrays with manifests that fit them: what only a faulty program would do."""
    from tf_lottery.utils.files import write_bytes

    for name, content in arrays.items():
        write_bytes(directory / f"{name}.npz", dump_arrays(content))
    seal(directory.parents[1])


def test_verify_finds_pruned_weights_that_are_not_zero(copied, invoke):
    directory = copied / "replicate_0/round_01"
    weights, masks = load_arrays(directory / "weights.npz"), load_arrays(directory / "masks.npz")
    key = next(iter(masks))
    weights[key][~masks[key]] = 1e-30
    recommit(directory, weights=weights)
    result = invoke("verify", copied)
    assert result.exit_code == 5
    assert "replicate 0, round 1, ticket has pruned weights that are not 0.0" in result.stderr


def test_verify_finds_masks_that_do_not_belong(copied, invoke):
    directory = copied / "replicate_0/round_02"
    masks = load_arrays(directory / "masks.npz")
    key = next(iter(masks))
    dropped, kept = np.argwhere(~masks[key])[0], np.argwhere(masks[key])[0]
    before = load_arrays(copied / "replicate_0/round_01/masks.npz")[key]
    dropped = np.argwhere(~before)[0]
    masks[key][tuple(dropped)], masks[key][tuple(kept)] = True, False
    recommit(directory, masks=masks)
    document = json.loads(invoke("verify", copied, "--json").stdout.split("\nerror")[0])
    assert any("keeps pruned weights" in text for text in document["problems"])
    assert any("other masks than the ticket" in text for text in document["problems"])


def test_verify_finds_changed_results_and_configuration(copied, invoke):
    table = (copied / "results.csv").read_text()
    (copied / "results.csv").write_text(table.replace(",8988,", ",8989,"))
    assert "results.csv" in invoke("verify", copied).stderr
    (copied / "results.csv").write_text(table)
    config = (copied / "config.json").read_text()
    (copied / "config.json").write_text(config.replace('"rate": 0.25', '"rate": 0.26'))
    result = invoke("verify", copied)
    assert result.exit_code == 5
    assert "hash" in result.stderr


def test_verify_remarks_on_what_a_kill_leaves(copied, invoke):
    table = (copied / "results.csv").read_text().splitlines(keepends=True)
    (copied / "results.csv").write_text("".join(table[:-1]))
    (copied / "replicate_0/round_02/.weights.npz.123.tmp").write_bytes(b"half")
    result = invoke("verify", copied)
    assert result.exit_code == 0
    assert "lacks 1 committed" in result.stderr
    assert "half-written" in result.stderr
    assert "1 file of a killed process" in invoke("status", copied).stdout
    (copied / "replicate_0/round_02/variants/random_reinit/manifest.json").unlink()
    result = invoke("verify", copied)
    assert "not finished: 1 of 5" in result.stderr


def test_verify_and_export_take_a_ticket_file(copied, invoke, tmp_path):
    import tf_lottery

    path = tf_lottery.open_run(copied).ticket(2).save(tmp_path / "ticket.npz")
    assert invoke("verify", path).exit_code == 0
    result = invoke("export", path, "--formats", "keras", "--to", tmp_path / "app", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["schema"] == "tf-lottery.export/1"
    assert document["samples"] == "given"
    model = document["files"][0]["path"]
    assert invoke("verify", model).exit_code == 0
    again = invoke("export", path, "--formats", "keras", "--to", tmp_path / "app")
    assert again.exit_code == 2
    assert "--force" in again.stderr
    taken = invoke(
        "export", model, "--dataset", "digits", "--formats", "saved_model", "--to", tmp_path / "app2", "--json"
    )
    assert taken.exit_code == 0, taken.stderr
    assert json.loads(taken.stdout)["files"][0]["accuracy"] > 0.5
    flip(tmp_path / "ticket.npz")
    assert invoke("verify", path).exit_code == 5
    flip(tmp_path / "app" / "ticket.keras")
    assert invoke("verify", model).exit_code == 5
    assert invoke("verify", tmp_path / "app").exit_code == 5
    assert invoke("export", copied, "--round", "7").exit_code == 2

"""The page of claims: made from outcomes, and its example runs as written."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tf_lottery.studies.claims import CLAIMS, plan_claims, reproduce

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.spec_from_file_location("refresh_claims", ROOT / "docs" / "refresh_claims.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def change(out, name, *, date, keras=None):
    """Another day, and another version of Keras, in an outcome that is written."""
    path = out / "claims-quick" / name / "outcome.json"
    document = json.loads(path.read_text()) | {"date": date}
    for run in document["runs"].values():
        run["versions"] |= {"keras": keras} if keras else {}
    path.write_text(json.dumps(document))


def test_the_page_tells_what_came_out(module, small_claims, tmp_path, capsys):
    reproduce(plan_claims(["quarter-learns", "reinit-better"], quick=True, out=tmp_path / "runs", jobs=1))
    # The page once took today for the day of the verdicts, one version for all, and part of the list for all of it.
    change(tmp_path / "runs", "quarter-learns", date="2026-11-02")
    change(tmp_path / "runs", "reinit-better", date="2026-11-04", keras="9.9.9")
    arguments = [str(tmp_path / "runs"), "--docs", str(tmp_path)]
    with pytest.raises(SystemExit):
        module.main(arguments)
    assert "no outcome of stable, elsewhere, diverges below" in capsys.readouterr().err
    module.main([*arguments, "--partial"])
    text = (tmp_path / "claims.md").read_text()
    called = "`tf-lottery reproduce quarter-learns reinit-better --quick`"
    assert f"{called} on 2026-11-02 to 2026-11-04; tf-lottery " in text
    assert "; seed 0." in text
    assert re.search(r"; tf-lottery .*, keras [\d.]+ and 9\.9\.9, numpy ", text)
    assert "- Judged on 2026-11-04; replicates: digits 3.\n" in text
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        *("Results", "quarter-learns", "reinit-better", "Adding a claim")
    ]
    assert "**Passed.**\n" in text
    assert re.search(r"\*\*Failed\.\*\* Test accuracy, .* wanted above \+90.00 points", text)
    assert (
        "  - digits: mlp on digits; adam at 0.002; batch 32; 40 steps; 2 rounds of rate 0.5 (output layer 0.25)" in text
    )
    for name in ("quarter-learns", "reinit-better"):
        assert f"](images/claims/{name}.png)" in text
        assert (tmp_path / f"images/claims/{name}.png").stat().st_size < 80_000
    assert not re.search(r"/(tmp|root|work|home)/", text)
    with pytest.raises(SystemExit):
        module.main([str(tmp_path / "nothing")])
    for name in ("stable", "elsewhere", "diverges"):
        CLAIMS.pop(name)
    module.main(arguments)
    assert "`tf-lottery reproduce all --quick` on 2026-11-02" in (tmp_path / "claims.md").read_text()


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_every_claim_has_a_protocol_and_a_cost(module, claim):
    for quick in (True, False):
        assert re.fullmatch(
            r"\d+ trainings, about [\d.]+ (minute|hour|day)s? on two cores\.", module.cost(claim, quick=quick)
        )
        for config in claim.configs(quick=quick).values():
            assert f"{config.model} on {config.dataset}; {config.optimizer}" in module.protocol(config)


@pytest.mark.slow
def test_the_example_of_the_page_runs(module, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", module.ADDING, re.DOTALL)
    (tmp_path / "example.py").write_text(code)
    warnings = [part for kind in ("User", "Runtime", "Future") for part in ("-W", f"error::{kind}Warning")]
    command = [sys.executable, *warnings, "example.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n"

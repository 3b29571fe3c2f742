"""What a run was made with: another processor or release is a warning, for results are then not those of one run."""

import logging

import pytest

from tf_lottery.experiment import environment
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.utils.files import dump_json

BEFORE = {
    "tensorflow": "2.21.0",
    "processor": "AMD EPYC",
    "instructions": "avx512f",
    "threads": 1,
    "data_fingerprint": "0",
    "cores": 8,
}


@pytest.fixture
def warnings_of(tmp_path, caplog):
    """The warnings where a run that was begun with one environment continues with another."""

    def warnings(before, now):
        caplog.clear()
        (tmp_path / "environment.json").write_bytes(dump_json(before))
        store = RunDirectory(tmp_path)
        with caplog.at_level(logging.WARNING), store.lock():
            environment.record(store, now)
        return caplog.messages

    return warnings


def test_what_stays_is_no_warning(warnings_of):
    assert warnings_of(BEFORE, BEFORE) == []
    assert warnings_of(BEFORE, BEFORE | {"cores": 4}) == []


@pytest.mark.parametrize("key", ["tensorflow", "processor", "instructions", "threads"])
def test_what_changes_the_bits_is_a_warning(warnings_of, key):
    (message,) = warnings_of(BEFORE, BEFORE | {key: "other"})
    assert f"{key} (other instead of {BEFORE[key]})" in message
    assert "no longer bit for bit" in message


def test_runs_of_earlier_versions_do_not_name_their_instructions(warnings_of):
    earlier = {key: value for key, value in BEFORE.items() if key != "instructions"}
    assert warnings_of(earlier, BEFORE) == []

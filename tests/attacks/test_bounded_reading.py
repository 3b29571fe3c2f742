"""Reading what a stranger sends takes bounded memory and time, and stays inside its folder."""

import contextlib
import io
import json
import os
import resource
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sent_files import METRICS, archive, header, sha256, ticket_arrays, write_manifest, write_run, write_training
from tf_lottery_cli.app import app

import tf_lottery as tfl
from tf_lottery.errors import DamagedError, LotteryError, ResourceError, UsageError
from tf_lottery.experiment.config_file import read_config_file
from tf_lottery.experiment.directory import Job, RunReader, manifest
from tf_lottery.experiment.run_state import read_state
from tf_lottery.experiment.run_verification import verify_run
from tf_lottery.exporting.measure.model_files import FileIdentity, identify
from tf_lottery.exporting.tflite import flatbuffers
from tf_lottery.layers import model_from_architecture
from tf_lottery.utils import array_archive
from tf_lottery.utils.files import dump_arrays, load_arrays, load_json
from tf_lottery.utils.regular_files import MOST_HOLES, open_regular

ROUND = "replicate_0/round_00"
DEEP = 100_000


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "sent")


@contextlib.contextmanager
def little_memory(more):
    """At most so many bytes more than now."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def verify(path):
    return CliRunner().invoke(app, ["verify", str(path)], prog_name="tf-lottery")


# Archives of arrays.


def zeros(members, size, method=zipfile.ZIP_DEFLATED):
    """An .npz file of float32 zeros, `size` in each member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method, compresslevel=9) as file:
        for name in members:
            with file.open(f"{name}.npy", "w") as member:
                member.write(header((size,)))
                for _ in range(0, 4 * size, 1 << 20):
                    member.write(bytes(1 << 20))
    return buffer.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_small_file_does_not_become_a_large_one(tmp_path, method):
    path = tmp_path / "bomb.npz"
    path.write_bytes(zeros(["masks/a"], 1 << 26, method))
    assert path.stat().st_size < 1 << 20
    with little_memory(200 << 20), pytest.raises(DamagedError, match=r"would become|compressed by"):
        load_arrays(path)
    with little_memory(200 << 20), pytest.raises(DamagedError, match=r"would become|compressed by"):
        tfl.load_ticket(path)


def test_members_that_share_their_bytes_count_each(tmp_path):
    content = zeros(["a"], 1 << 22)
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        member = file.infolist()[0]
    members = []
    for number in range(100):
        copy = zipfile.ZipInfo(f"{number}.npy")
        copy.file_size, copy.compress_type = member.file_size, member.compress_type
        members.append(copy)
    with pytest.raises(ValueError, match="would become"):
        array_archive.check_members(members, len(content))


PROMISES = {
    "more than there is": header((1 << 33,)),
    "sizes whose product overflows": header((1 << 33, 1 << 33)),
    "sizes whose product overflows to zero": header((1 << 32, 1 << 32)),
    "a negative size": header((-1,)),
    "two negative sizes": header((-2, -2)) + bytes(16),
    "less than there is": header((1,)) + bytes(4096),
    "texts of a gigabyte": header((1,), "<U268435456"),
    "no header": b"not an array",
    "an empty member": b"",
    "another version": b"\x93NUMPY\x09\x00" + bytes(100),
    "a header without end": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + bytes(100),
}


@pytest.mark.parametrize("promise", PROMISES)
def test_headers_are_compared_with_what_there_is(tmp_path, promise):
    path = tmp_path / "promise.npz"
    path.write_bytes(archive({"a": PROMISES[promise]}))
    with little_memory(200 << 20), pytest.raises(DamagedError):
        load_arrays(path)


def test_one_name_is_one_array(tmp_path):
    path = tmp_path / "twice.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", header((0,)))
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("a.npy", header((0,)))
    with pytest.raises(DamagedError, match="two of one name"):
        load_arrays(path)


def test_arrays_beyond_the_memory_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "large.npz"
    path.write_bytes(dump_arrays({"a": np.ones(1000)}))
    monkeypatch.setattr(array_archive, "available_memory", lambda: 7999.0)
    with pytest.raises(ResourceError, match="memory"):
        load_arrays(path)
    monkeypatch.setattr(array_archive, "available_memory", lambda: 8200.0)
    assert load_arrays(path)["a"].sum() == 1000


def test_sparse_arrays_of_this_library_are_read(tmp_path):
    """All zeros, compressed as `Ticket.save` does it, are the most that a file of its size can hold."""
    path = tmp_path / "zeros.npz"
    path.write_bytes(dump_arrays({"a": np.zeros(40 << 20, "float32")}, compressed=True))
    assert path.stat().st_size < 1 << 20
    assert not load_arrays(path)["a"].any()


# Pipes, devices and links.


def replace_by_pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def replace_by_device(path):
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def replace_by_link_out(path):
    outside = path.parent.parent.parent.parent / f"outside-{path.name}"
    outside.write_bytes(path.read_bytes() if path.exists() else b"{}")
    path.unlink(missing_ok=True)
    path.symlink_to(outside)


FILES = [
    *("config.json", "model.json", "environment.json", "results.csv", "metrics.jsonl", ".lock"),
    *(f"{ROUND}/{name}" for name in ("manifest.json", "metrics.json", "masks.npz", "weights.npz", "partial.npz")),
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("replace", [replace_by_pipe, replace_by_device])
def test_no_reader_waits_for_a_pipe_or_a_device(run, name, replace):
    if name.endswith("partial.npz"):
        (run / ROUND / "manifest.json").unlink()
    replace(run / name)
    store = RunReader(run)
    for read in (
        store.document,
        store.architecture,
        store.environment,
        store.rows,
        lambda: store.masks(Job(0, 0)),
        lambda: store.weights(Job(0, 0)),
        lambda: store.load_partial(Job(0, 0)),
        lambda: store.partial_progress(Job(0, 0)),
        store.in_use,
        lambda: verify_run(store),
        lambda: read_state(run),
    ):
        with contextlib.suppress(LotteryError):
            read()
    if name not in (".lock", "results.csv", "metrics.jsonl"):
        result = verify(run)
        assert result.exit_code != 0
        assert "This is a bug" not in result.output


@pytest.mark.parametrize("name", [f"{ROUND}/masks.npz", f"{ROUND}/metrics.json", f"{ROUND}/weights.npz"])
def test_links_that_lead_out_are_not_followed(run, name):
    replace_by_link_out(run / name)
    problems = " ".join(verify_run(RunReader(run)).problems)
    assert "leads out" in problems


@pytest.mark.parametrize(
    "name", ["../../config.json", "../../../../../../etc/hostname", "/etc/hostname", "a/b", "..", "a\\b"]
)
def test_manifests_name_files_beside_them(run, name):
    files = {"metrics.json": sha256((run / ROUND / "metrics.json").read_bytes()), name: "0" * 64}
    write_manifest(run / ROUND, files)
    with pytest.raises(DamagedError, match="no plain name"):
        manifest.read(run / ROUND)
    assert "no plain name" in " ".join(verify_run(RunReader(run)).problems)


def test_a_lock_that_is_a_link_changes_no_other_file(run, tmp_path):
    other = tmp_path / "other"
    other.write_text("content")
    (run / ".lock").symlink_to(other)
    assert RunReader(run).in_use() is False
    assert other.read_text() == "content"


@pytest.mark.parametrize("replace", [replace_by_pipe, replace_by_device])
def test_named_files_that_are_pipes_or_devices(tmp_path, replace):
    for name, read in {
        "sent.npz": tfl.load_ticket,
        "sent.keras": tfl.load_model,
        "sent.h5": tfl.load_model,
        "sent.toml": read_config_file,
        "sent.json": read_config_file,
    }.items():
        replace(tmp_path / name)
        with pytest.raises((DamagedError, UsageError)):
            read(tmp_path / name)


# Documents.


NESTED = {
    "lists": "[" * DEEP,
    "closed lists": "[" * DEEP + "]" * DEEP,
    "objects": '{"a":' * DEEP,
    "medium": "[" * 900 + "]" * 900,
}


@pytest.mark.parametrize("replace", [replace_by_pipe, replace_by_device])
def test_a_tflite_file_that_is_a_pipe_or_a_device_is_not_read(tmp_path, replace):
    replace(tmp_path / "model.tflite")
    assert identify(tmp_path / "model.tflite") == FileIdentity()
    with pytest.raises(OSError, match="regular file"):
        flatbuffers.read(tmp_path / "model.tflite")


@pytest.mark.parametrize("nested", NESTED)
@pytest.mark.parametrize("name", ["config.json", "environment.json", f"{ROUND}/manifest.json", f"{ROUND}/metrics.json"])
def test_deep_json_is_a_damaged_file(run, name, nested):
    (run / name).write_text(NESTED[nested])
    if name.endswith("metrics.json"):
        write_training(run / ROUND, metrics=NESTED[nested].encode())
    with pytest.raises(DamagedError):
        load_json(run / name)
    result = verify(run)
    assert isinstance(result.exception, LotteryError) or result.exit_code == 5
    assert read_state(run).state == "damaged" or name == "environment.json"


@pytest.mark.parametrize("nested", NESTED)
def test_deep_recipes_architectures_and_configurations(tmp_path, nested):
    ticket = tmp_path / "sent.npz"
    ticket.write_bytes(archive(ticket_arrays(NESTED[nested].encode())))
    with pytest.raises(DamagedError):
        tfl.load_ticket(ticket)
    with pytest.raises(LotteryError):
        model_from_architecture(NESTED[nested])
    for name, text in {"a.json": NESTED[nested], "a.toml": f"a = {NESTED[nested]}"}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(DamagedError):
            read_config_file(tmp_path / name)


def test_large_documents_are_not_read(tmp_path):
    path = tmp_path / "large.json"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DamagedError, match="more than"):
        load_json(path)


def test_metrics_of_the_usual_depth_are_read(run):
    assert RunReader(run).rows() == [METRICS["row"]]
    assert json.loads((run / ROUND / "metrics.json").read_text())["history"]


@pytest.mark.parametrize("name", ["config.json", "model.json", f"{ROUND}/metrics.json", f"{ROUND}/weights.npz"])
def test_a_file_of_holes_is_damaged(run, name):
    """It takes no room in an archive: to compute the SHA-256 of a terabyte takes an hour."""
    (run / name).unlink()
    with open(run / name, "wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(b"{}")
    with pytest.raises(DamagedError):
        verify_run(RunReader(run)).raise_problems()
    store = RunReader(run)
    with pytest.raises(DamagedError):
        store.architecture(), store.weights(Job(0, 0))


def test_a_large_file_with_some_holes_is_read(tmp_path):
    with open(tmp_path / "weights.npz", "wb") as file:
        file.seek(MOST_HOLES)
        file.write(bytes(MOST_HOLES // 200))
    with open_regular(tmp_path / "weights.npz") as file:
        assert file.tell() == 0


def test_folders_may_be_deep(run, monkeypatch):
    """Deeper than Python's stack, and than the longest path."""
    before = verify_run(RunReader(run)).problems
    monkeypatch.chdir(run / ROUND)
    try:
        for _ in range(2500):
            os.mkdir("a")
            os.chdir("a")
        Path("manifest.json").write_text("{}")
        assert len(tfl.open_run(run).rows) == 1
        assert verify_run(RunReader(run)).problems == before
    finally:
        monkeypatch.chdir(run)
        subprocess.run(["rm", "-r", f"{ROUND}/a"], check=True)

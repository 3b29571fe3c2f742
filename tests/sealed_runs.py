"""Runs that were altered on purpose, made to look as if they had been written so."""

from tf_lottery.experiment.config import HASHED_BESIDE
from tf_lottery.experiment.config_file import RUN_SCHEMA, run_document
from tf_lottery.experiment.directory import RunReader, manifest
from tf_lottery.experiment.directory.manifest import Manifest
from tf_lottery.utils.files import dump_json, load_json, write_bytes


def seal(run_dir, **changes):
    """Write a run's configuration and manifests again, to fit its files as they are now: as another program might.

    Args:
        run_dir: a run directory of this version.
        **changes: options of its configuration that become others.
    """
    store = RunReader(run_dir)
    beside = {key: value for key, value in store.document().items() if key in HASHED_BESIDE}
    config = store.config().updated(**changes)
    run = config.hash(**beside)
    write_bytes(
        store.path / "config.json", dump_json(run_document({**config.to_json(), "hash": run, **beside}, RUN_SCHEMA))
    )
    for folder in store.path.glob("replicate_*/rewind"):
        _seal_folder(store, folder, run)
    for job in sorted(store.complete_jobs(), key=lambda job: job.round):
        folder = store.job_folder(job)
        metrics = load_json(folder / "metrics.json")
        if metrics.get("rewind_manifest"):
            metrics["rewind_manifest"] = store.rewind_digest(job.replicate)
        metrics["pinned"] = {name: manifest.digest(store.path / name) for name in metrics["pinned"]}
        write_bytes(folder / "metrics.json", dump_json(metrics))
        _seal_folder(store, folder, run)


def _seal_folder(store, folder, run):
    before = manifest.read(folder)
    files = {name: manifest.digest(folder / name) for name in before.files}
    made_from = {name: manifest.read(store.path / name).digest() for name in before.made_from}
    manifest.write(folder, Manifest(files, {**before.owner, "run": run}, made_from))

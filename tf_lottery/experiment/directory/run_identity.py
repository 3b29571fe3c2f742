"""`RunIdentity`: whose the files of a run directory are, checked wherever one of them is used. No TensorFlow."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tf_lottery.errors import DamagedError, LotteryError, UsageError
from tf_lottery.experiment.config import HASHED_BESIDE, Config
from tf_lottery.experiment.config_file import RUN_SCHEMA, RUN_SCHEMA_WITHOUT_DIGEST, check_digest
from tf_lottery.experiment.directory import manifest
from tf_lottery.experiment.directory.job import Job
from tf_lottery.experiment.directory.layout import RunLayout
from tf_lottery.experiment.directory.manifest import Manifest
from tf_lottery.utils.documents import parse_json
from tf_lottery.utils.files import damaged, reading
from tf_lottery.utils.regular_files import read_regular

# Keys of config.json beside the fields of `Config`.
NOT_CONFIGURATION = ("hash", *HASHED_BESIDE)
_REMEDY = "Put back what was there before, from a copy, or start over with `fresh=True`."


class RunIdentity(RunLayout):
    """The configuration of a run directory, and the owner of each of its files.

    Every manifest names the run (by the hash of its configuration, which no extension changes), the replicate and the
    training; and the digests of the manifests that it was made from. Run directories that an earlier version began may
    hold manifests without an owner.

    Attributes:
        path: the run directory.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._configuration: tuple[bytes, dict[str, Any], Config] | None = None
        self._checked: dict[Path, Manifest] = {}

    def document(self) -> dict[str, Any]:
        """The effective configuration as `config.json` holds it, with the run's hash.

        Raises:
            UsageError: this is not a run directory.
            DamagedError: the file can't be read, or was changed.
        """
        return {key: value for key, value in self._read_configuration()[0].items() if key != "schema"}

    def config(self) -> Config:
        """The checked configuration.

        Raises:
            UsageError: this is not a run directory.
            DamagedError: the configuration can't be read, was changed, or a value of it is not valid.
        """
        return self._read_configuration()[1]

    def schema(self) -> str:
        """The schema of `config.json`: that of the version which began the run, or of this one if there is none yet."""
        return str(self._read_configuration()[0]["schema"]) if self._has_configuration() else RUN_SCHEMA

    def _has_configuration(self) -> bool:
        with reading(self.path / "config.json", kind="configuration"):
            return (self.path / "config.json").is_file()

    def _read_configuration(self) -> tuple[dict[str, Any], Config]:
        path = self.path / "config.json"
        if not self._has_configuration():
            raise UsageError(
                f"{self.path} is not a run directory: it has no config.json.",
                "`tf_lottery.results.run_lookup.list_runs(...)` lists runs.",
            )
        try:
            content = read_regular(path)
        except OSError as error:
            raise damaged(path, error) from error
        if self._configuration is None or self._configuration[0] != content:
            self._configuration = content, *_checked_configuration(path, content)
        return self._configuration[1:]

    # Owners.

    def owner(self, replicate: int, job: Job | None = None) -> dict[str, Any]:
        """Whose a directory is, as its manifest should say.

        Args:
            replicate: the replicate.
            job: the training; None for the rewind state.
        """
        training = {} if job is None else {"round": job.round, "variant": job.variant}
        return {"run": None, **self.run_owner(), "replicate": replicate, **training}

    def run_owner(self) -> dict[str, Any]:
        """Whose a folder of the run as a whole is, e.g. its report; {} without a configuration or its hash."""
        run = self._read_configuration()[0].get("hash") if self._has_configuration() else None
        return {"run": run} if run else {}

    def made_from(self, jobs: Iterable[Job] = (), *, rewind_of: int | None = None) -> dict[str, str]:
        """The digests of the manifests that a training is made from, by the directory's path in the run directory.

        Args:
            jobs: the committed trainings that it needs.
            rewind_of: the replicate whose rewind state it takes or saves; None if it does neither.

        Raises:
            DamagedError: one of them is not of this run.
        """
        folders = [self.job_folder(job) for job in jobs]
        if rewind_of is not None and self.has_rewind_state(rewind_of):
            folders.append(self.rewind_folder(rewind_of))
        return {folder.relative_to(self.path).as_posix(): self.checked_manifest(folder).digest() for folder in folders}

    def checked_manifest(self, folder: Path) -> Manifest:
        """The manifest of a training or rewind state, checked to be of this run with all that it was made from.

        What is missing is left to those who need it: a training that was removed can be repeated.

        Args:
            folder: where the manifest is.

        Raises:
            DamagedError: a manifest is damaged, of another run, replicate, round or variant, or of an earlier state.
        """
        checked = self._owned_manifest(folder)
        # A list, not a recursion: a chain may have a thousand rounds.
        pending, seen, whole = [(folder, checked)], {folder}, True
        while pending:
            place, found = pending.pop()
            if self._checked.get(place) == found:
                continue
            for name, digest in found.made_from.items():
                source = self.path / name
                if not manifest.exists(source):
                    whole = False
                    continue
                before = self._owned_manifest(source)
                if before.digest() != digest:
                    raise DamagedError(f"{place} was not made from {source} as it is now.", _REMEDY)
                if source not in seen:
                    seen.add(source)
                    pending.append((source, before))
        if whole:
            self._checked[folder] = checked
        return checked

    def _owned_manifest(self, folder: Path) -> Manifest:
        """The manifest of a training or rewind state, if it belongs there."""
        found, job = manifest.read(folder), self._job_of(folder)
        replicate = str(job.replicate) if job else folder.parent.name.removeprefix("replicate_")
        if not replicate.isdecimal() or (job is None and folder != self.rewind_folder(int(replicate))):
            raise DamagedError(f"{folder} is no place of a run directory.", _REMEDY)
        self.check_owner(folder, found.owner, self.owner(int(replicate), job))
        return found

    def check_owner(self, place: Path, owner: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        """Check that a file or directory belongs where it is.

        Args:
            place: where it is.
            owner: whose it is, as it says itself; {} if it says nothing.
            expected: whose it should be.

        Raises:
            DamagedError: it is of another run, replicate, round or variant; or says nothing, in a run of this version.
        """
        if owner == expected or (not owner and self.schema() == RUN_SCHEMA_WITHOUT_DIGEST):
            return
        if owner:
            raise DamagedError(f"{place} belongs to {_words(owner)}, not to {_words(expected)}.", _REMEDY)
        raise DamagedError(f"{place} does not say that it belongs to {_words(expected)}.", _REMEDY)


def _words(owner: Mapping[str, Any]) -> str:
    """An owner in words, e.g. "run 8352f9bc72, replicate 0, round 1, ticket"."""
    keys = [key for key in ("run", "replicate", "round") if owner.get(key) is not None]
    return ", ".join([*(f"{key} {owner[key]}" for key in keys), str(owner.get("variant", "rewind state"))])


def _checked_configuration(path: Path, content: bytes) -> tuple[dict[str, Any], Config]:
    """The document of a `config.json`, with its schema, and the configuration that it describes."""
    try:
        document = parse_json(content)
    except ValueError as error:
        raise damaged(path, error) from error
    if not isinstance(document, dict) or document.get("schema") not in (RUN_SCHEMA, RUN_SCHEMA_WITHOUT_DIGEST):
        raise DamagedError(f"{path} is not a configuration of a run.", "Start over with `fresh=True`.")
    try:
        document = check_digest(path, document)
        config = Config.from_json({k: v for k, v in document.items() if k not in ("schema", *NOT_CONFIGURATION)})
    except DamagedError:
        raise
    except LotteryError as error:
        raise DamagedError(
            f"{path} is damaged: {error.cause}", "Restore it, or start over with `fresh=True`."
        ) from error
    expected = config.hash(**{key: document[key] for key in HASHED_BESIDE if key in document})
    if document.get("hash", expected) != expected:
        raise DamagedError(
            f"{path} has been changed: its hash is {expected}, not {document['hash']}.",
            "Restore it, or start over with `fresh=True`.",
        )
    return document, config

"""What is installed and what is shipped: releases with hashes, a wheel that is the same bytes, known advisories."""

import configparser
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".ci"
PYTHONS = ("3.11", "3.12", "3.13")
ADVISORY = {
    "id": "TEST-1",
    "summary": "An example.",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "NumPy"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
        }
    ],
}


@pytest.fixture(autouse=True)
def tools(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)


@pytest.fixture
def releases():
    from requirements import releases

    return releases()


def requirements(extra):
    """What this package needs for an extra."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    text = setup["options.extras_require"][extra] if extra else setup["options"]["install_requires"]
    return [Requirement(line) for line in text.split("\n") if line]


def test_every_release_is_pinned_with_hashes(releases):
    """The file has releases with the SHA-256 of their files, and names no index."""
    names = [release.name for release in releases]
    assert names == sorted(set(names))
    assert len(releases) > 100
    assert not re.search(r"https?:|file:|index-url|find-links|trusted-host", (ROOT / "constraints.txt").read_text())


@pytest.mark.parametrize("python", PYTHONS)
def test_the_releases_are_those_that_the_package_takes(releases, python):
    linux = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "os_name": "posix",
    }
    pinned = {release.name: release for release in releases if not release.marker or release.marker.evaluate(linux)}
    build = re.search(r'requires = \["(.*)"\]', (ROOT / "pyproject.toml").read_text())[1]
    for requirement in [*requirements(""), *requirements("all"), *requirements("test"), Requirement(build)]:
        release = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(release.version), requirement


def test_the_releases_are_all_that_is_needed(releases):
    """Packages are installed from this file alone, without what they say that they need."""
    pinned = {release.name: release.version for release in releases}
    waiting = [(name, "") for name in pinned]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        try:
            needed = importlib.metadata.requires(name) or ()
        except importlib.metadata.PackageNotFoundError:  # of another system
            assert name in ("colorama", "setuptools", "wheel")
            continue
        if importlib.metadata.version(name) != pinned[name]:
            continue
        for requirement in map(Requirement, needed):
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            other = canonicalize_name(requirement.name)
            assert requirement.specifier.contains(pinned[other], prereleases=True), (name, requirement)
            more = {(other, part) for part in requirement.extras} - seen
            seen |= more
            waiting += more


@pytest.mark.parametrize(
    "line", ["--index-url https://example.org", "numpy>=2", "numpy==2.0", "numpy==2.0 --hash=md5:0", "-e ."]
)
def test_another_line_is_no_release(tmp_path, line):
    from requirements import releases

    (tmp_path / "file.txt").write_text(f"# comment\n{line}\n")
    with pytest.raises(ValueError, match="no release with hashes"):
        releases(tmp_path / "file.txt")


def test_the_bill_of_materials_names_what_is_installed(releases):
    import bill_of_materials

    document = bill_of_materials.bill_of_materials()
    assert document == bill_of_materials.bill_of_materials()
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    components = {component["name"]: component for component in document["components"]}
    assert {canonicalize_name(requirement.name) for requirement in requirements("")} <= components.keys()
    for name, component in components.items():
        assert component["version"] == importlib.metadata.version(name)
    hashes = {release.name: release.hashes for release in releases}
    assert [part["content"] for part in components["keras"]["hashes"]] == list(hashes["keras"])
    assert components["keras"]["scope"] == "required"
    assert components["pandas"]["scope"] == "optional"
    references = {component["bom-ref"] for component in document["components"]}
    for entry in document["dependencies"]:
        assert set(entry["dependsOn"]) <= references
    assert any("numpy@" in other for entry in document["dependencies"] for other in entry["dependsOn"])


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.9", True), ("2.0", False), ("2.1", False), ("2.4", True), ("3.0", True), ("3.1", False)],
)
def test_an_advisory_holds_in_its_ranges(version, expected):
    import audit

    events = [{"introduced": "0"}, {"fixed": "2.0"}, {"introduced": "2.4"}, {"last_affected": "3.0"}]
    entry = ADVISORY["affected"][0] | {"ranges": [{"type": "ECOSYSTEM", "events": events}]}
    lines, count = audit.vulnerable(iter([ADVISORY | {"affected": [entry]}]), {"numpy": version})
    assert (lines == [f"numpy {version}: TEST-1 An example."], count) == (expected, 1)


def test_advisories_that_do_not_hold():
    import audit

    withdrawn = ADVISORY | {"withdrawn": "2026-01-01T00:00:00Z"}
    entry = ADVISORY["affected"][0]
    elsewhere = ADVISORY | {"affected": [entry | {"package": {"ecosystem": "npm", "name": "numpy"}}]}
    listed = ADVISORY | {"affected": [{"package": entry["package"], "versions": ["1.5"]}]}
    assert audit.vulnerable(iter([withdrawn, elsewhere]), {"numpy": "1.0"}) == ([], 1)
    assert audit.vulnerable(iter([listed]), {"numpy": "1.0"}) == ([], 1)
    assert audit.vulnerable(iter([listed]), {"numpy": "1.5"})[0] == ["numpy 1.5: TEST-1 An example."]


def test_an_audit_of_a_zip_file_and_of_a_folder(tmp_path, capsys):
    import audit

    entry = ADVISORY["affected"][0]
    every = entry | {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}
    with zipfile.ZipFile(tmp_path / "advisories.zip", "w") as archive:
        archive.writestr("TEST-1.json", json.dumps(ADVISORY | {"affected": [every]}))
    assert audit.main(tmp_path / "advisories.zip") == 1
    assert "numpy" in capsys.readouterr().out
    (tmp_path / "folder").mkdir()
    assert audit.main(tmp_path / "folder") == 2
    (tmp_path / "folder" / "one.json").write_text(json.dumps(ADVISORY))
    assert audit.main(tmp_path / "folder") == 0


@pytest.mark.slow
def test_the_wheel_is_the_same_bytes_whenever_it_is_built(tmp_path):
    """In two folders, at different times, with other rights of new files and in another time zone."""
    for number, (umask, zone) in enumerate([("022", "UTC"), ("077", "Asia/Tokyo")]):
        environment = {**os.environ, "PYTHON": sys.executable, "TZ": zone, "TMPDIR": str(tmp_path)}
        command = f"umask {umask}; exec {TOOLS / 'wheel'} {tmp_path / str(number)}"
        result = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        time.sleep(2.1)  # the resolution of times in a zip file is 2 s
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / part).iterdir()} for part in "01")
    assert first == second
    assert sorted(Path(name).suffix for name in first) == [".json", ".whl"]

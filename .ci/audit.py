"""Look for vulnerable releases in `constraints.txt`, without a network: `python .ci/audit.py ADVISORIES`.

ADVISORIES is a folder or a zip file of advisories in the OSV format (JSON), as the advisory databases for Python
packages publish them. Exits with 1 where a release is vulnerable, and with 2 where there are no advisories to say so.
"""

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from requirements import FILE, releases


def vulnerable(advisories: Iterator[dict[str, Any]], pinned: dict[str, str]) -> tuple[list[str], int]:
    """Return a line for each release that an advisory names, and how many advisories of Python packages were read.

    Args:
        advisories: advisories in the OSV format.
        pinned: the version of each package.
    """
    lines, count = [], 0
    for advisory in advisories:
        affected = [
            entry for entry in advisory.get("affected", ()) if entry.get("package", {}).get("ecosystem") == "PyPI"
        ]
        count += bool(affected)
        for entry in affected if not advisory.get("withdrawn") else ():
            name = canonicalize_name(entry["package"]["name"])
            if name in pinned and _is_affected(entry, pinned[name]):
                lines.append(f"{name} {pinned[name]}: {advisory['id']} {advisory.get('summary', '')}".rstrip())
    return sorted(set(lines)), count


def _is_affected(entry: dict[str, Any], version: str) -> bool:
    if version in entry.get("versions", ()):
        return True
    ranges = [part for part in entry.get("ranges", ()) if part.get("type") == "ECOSYSTEM"]
    return any(_is_in_range(part.get("events", ()), Version(version)) for part in ranges)


def _is_in_range(events: list[dict[str, str]], version: Version) -> bool:
    """Return whether the last event at or before a version leaves it vulnerable."""
    inside = False
    for event in sorted(events, key=lambda event: _version(next(iter(event.values())))):
        kind, limit = next(iter(event.items()))
        if kind == "introduced" and version >= _version(limit):
            inside = True
        elif (kind == "fixed" and version >= _version(limit)) or (
            kind == "last_affected" and version > _version(limit)
        ):
            inside = False
    return inside


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")


def read_advisories(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the advisories of a folder or a zip file."""
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            yield json.loads(file.read_bytes())
    else:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".json"):
                    yield json.loads(archive.read(name))


def main(path: Path) -> int:
    """Print what is found; return the exit code."""
    pinned = {release.name: release.version for release in releases()}
    lines, count = vulnerable(read_advisories(path), pinned)
    print(*lines, sep="\n", end="\n" if lines else "")
    print(f"{len(lines)} known vulnerabilities of {len(pinned)} releases of {FILE.name}, by {count:,} advisories.")
    return 2 if not count else 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""`constraints.txt` as data: one release of each package, with the SHA-256 of its files."""

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

FILE = Path(__file__).resolve().parent.parent / "constraints.txt"
_RELEASE = re.compile(
    r"(?P<name>[\w.-]+)==(?P<version>[\w.!+]+)(?: ; (?P<marker>.+?))?(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)"
)


@dataclass(frozen=True)
class Release:
    """A release of a package.

    Attributes:
        name: the package, as indexes write it.
        version: its version.
        marker: where it is needed; None for everywhere.
        hashes: the SHA-256 of each of its files, in hexadecimal.
    """

    name: str
    version: str
    marker: Marker | None
    hashes: tuple[str, ...]


def releases(path: Path = FILE) -> list[Release]:
    """Return the releases of a file of requirements with hashes.

    Raises:
        ValueError: a line is something else, such as the address of an index.
    """
    text = path.read_text().replace("\\\n", "")
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if line and not line.startswith("#")]
    matches = [_RELEASE.fullmatch(line) for line in lines]
    if None in matches:
        raise ValueError(f"{path} has a line that is no release with hashes: {lines[matches.index(None)][:80]}")
    return [
        Release(
            canonicalize_name(match["name"]),
            match["version"],
            Marker(match["marker"]) if match["marker"] else None,
            tuple(part.removeprefix("--hash=sha256:") for part in match["hashes"].split()),
        )
        for match in matches
        if match
    ]

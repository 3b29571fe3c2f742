"""Print what tf_lottery needs, as CycloneDX JSON: made from `constraints.txt` and the metadata of what is installed.

The same commit, versions and installation give the same bytes.
"""

import datetime
import importlib.metadata as metadata
import json
import os
import uuid
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from requirements import Release, releases

ROOT = "tf-lottery"
EXTRAS = ("", "all", "onnx")


def bill_of_materials() -> dict[str, Any]:
    """Return the document: each package that tf_lottery needs, with its version, license, hashes and dependencies."""
    pinned = {release.name: release for release in releases()}
    required, optional = _needed(("",)), _needed(EXTRAS)
    names = sorted(optional - {ROOT})
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": _component(ROOT, None, "required") | {"type": "library"},
        },
        "components": [
            _component(name, pinned.get(name), "required" if name in required else "optional") for name in names
        ],
        "dependencies": [
            {"ref": _reference(name), "dependsOn": sorted(_reference(other) for other in _dependencies(name, optional))}
            for name in (ROOT, *names)
        ],
    }
    identity = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(document, sort_keys=True))
    return {**document, "serialNumber": f"urn:uuid:{identity}"}


def _needed(extras: tuple[str, ...]) -> set[str]:
    """Return the installed packages that extras of this one need, directly or not."""
    needed, waiting = {ROOT}, [(ROOT, extra) for extra in extras]
    seen = set(waiting)
    while waiting:
        for name, extra in _requirements(*waiting.pop()):
            needed.add(name)
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting.append((name, extra))
    return needed


def _requirements(name: str, extra: str) -> list[tuple[str, str]]:
    """Return what a package needs here: each name, without an extra and with each that is asked for."""
    requirements = [Requirement(line) for line in metadata.requires(name) or ()]
    wanted = [
        requirement
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra})
    ]
    pairs = [(canonicalize_name(one.name), part) for one in wanted for part in ("", *sorted(one.extras))]
    return [pair for pair in pairs if _is_installed(pair[0])]


def _dependencies(name: str, among: set[str]) -> set[str]:
    extras = EXTRAS if name == ROOT else ("",)
    return {other for extra in extras for other, _ in _requirements(name, extra)} & among - {name}


def _component(name: str, release: Release | None, scope: str) -> dict[str, Any]:
    version = metadata.version(name)
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _reference(name),
        "name": name,
        "version": version,
        "scope": scope,
        "purl": _reference(name),
    }
    about = metadata.metadata(name)
    license_text = about.get("License-Expression") or about.get("License") or ""
    if license_text and "\n" not in license_text:
        component["licenses"] = [{"license": {"name": license_text}}]
    if release is not None and release.version == version:
        component["hashes"] = [{"alg": "SHA-256", "content": content} for content in release.hashes]
    return component


def _reference(name: str) -> str:
    return f"pkg:pypi/{name}@{metadata.version(name)}"


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    print(json.dumps(bill_of_materials(), indent=1))

"""Imports run one way, rooms without TensorFlow stay so, and every package is installed."""

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tf_lottery"

# Lowest first: a room may import from those before it only.
ORDER = ("errors", "utils", "pruning", "layers", "data", "models", "training", "compat", "experiment", "results")
ORDER += ("studies", "exporting", "finding", "__main__")
# Rooms, sub-rooms and modules that load neither TensorFlow nor Keras when they are imported.
WITHOUT_TENSORFLOW = ("errors", "utils", "pruning", "experiment.directory", "experiment.config", "experiment.plan")
WITHOUT_TENSORFLOW += ("experiment.presets", "experiment.run_state", "experiment.sweep", "results")
WITH_TENSORFLOW = ("experiment.directory.rewind_checkpoint", "results.ticket")
MOST_ENTRIES = 14
SOURCES = [
    path
    for folder in ("tf_lottery", "cli", "tests", "examples", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
LIBRARY = [path for path in SOURCES if path.is_relative_to(PACKAGE)]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """The dotted names that a file imports, anywhere in it; `from a import b` as `a.b`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = path.relative_to(ROOT).parent.parts
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def module(path: Path) -> str:
    """The dotted name of a module below `tf_lottery`; of a package, the name of its `__init__`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def without_tensorflow(path: Path) -> bool:
    """Whether a module belongs to those that load no TensorFlow."""
    dotted = f"{module(path)}."
    listed = any(dotted.startswith(f"{prefix}.") for prefix in WITHOUT_TENSORFLOW)
    return listed and not any(dotted.startswith(f"{prefix}.") for prefix in WITH_TENSORFLOW)


def imported_modules(path: Path) -> set[Path]:
    """The files of the library that a file imports."""
    files = set()
    for dotted in imported(path):
        parts = dotted.split(".")
        if parts[0] != "tf_lottery":
            continue
        for length in (len(parts), len(parts) - 1):
            target = ROOT.joinpath(*parts[:length])
            candidates = [file for file in (target / "__init__.py", target.with_suffix(".py")) if file.is_file()]
            if candidates:
                files.add(candidates[0])
                break
    return files


def imported_rooms(path: Path) -> set[str]:
    """The rooms of the library that a file imports from; names of the package itself, such as its version, are none."""
    parts = [dotted.split(".") for dotted in imported(path)]
    return {each[1] for each in parts if each[0] == "tf_lottery" and len(each) > 1} & rooms()


def rooms() -> set[str]:
    actual = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    return actual | {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}


def test_every_room_has_its_place():
    assert rooms() == set(ORDER)


@pytest.mark.parametrize("path", [path for path in LIBRARY if path != PACKAGE / "__init__.py"], ids=name)
def test_imports_run_one_way(path):
    place = ORDER.index(room(path))
    later = {other for other in imported_rooms(path) if ORDER.index(other) > place}
    assert not later, f"{name(path)} imports from {', '.join(sorted(later))}, which stand above it."


def test_the_top_level_is_small():
    no_code = ("__init__.py", "__pycache__", "py.typed")
    entries = [path.name for path in PACKAGE.iterdir() if path.name not in no_code]
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


def test_modules_import_in_no_circle():
    graph = {path: imported_modules(path) - {path} for path in LIBRARY if path != PACKAGE / "__init__.py"}
    assert circle(graph) == []


def test_sub_rooms_import_one_way():
    """Inside a room, its sub-rooms and the modules beside them import each other in no circle."""
    for folder in {path.parent for path in LIBRARY} - {PACKAGE}:
        inside = [path for path in LIBRARY if path.is_relative_to(folder) and path != folder / "__init__.py"]
        graph: dict[str, set[str]] = {}
        for path in inside:
            place = path.relative_to(folder).parts[0]
            targets = {other.relative_to(folder).parts[0] for other in imported_modules(path) if other in inside}
            graph.setdefault(place, set()).update(targets - {place})
        assert circle(graph) == [], folder


def circle(graph: dict) -> list[str]:
    """What is left of a graph of imports when nodes that import nothing are taken away, over and over."""
    left = {node: set(targets) & set(graph) for node, targets in graph.items()}
    while done := {node for node, targets in left.items() if not targets}:
        left = {node: targets - done for node, targets in left.items() if node not in done}
    return sorted(map(str, left))


def test_a_circle_is_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]
    assert circle({"a": {"b"}, "b": set()}) == []


@pytest.mark.parametrize("path", [path for path in LIBRARY if path != PACKAGE / "__main__.py"], ids=name)
def test_the_library_knows_no_command_line(path):
    tops = {dotted.split(".")[0] for dotted in imported(path)}
    assert not tops & {"click", "tf_lottery_cli", "cli"}


@pytest.mark.parametrize("path", [path for path in LIBRARY if without_tensorflow(path)], ids=name)
def test_rooms_without_tensorflow(path):
    tops = {dotted.split(".")[0] for dotted in imported(path)}
    assert not tops & {"tensorflow", "keras", "tensorflow_datasets", "tf_keras", "ai_edge_litert"}


def test_rooms_without_tensorflow_do_not_load_it_by_others():
    modules = ["tf_lottery"]
    for path in LIBRARY:
        if without_tensorflow(path):
            modules.append(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    code = f"""
import sys
for module in {modules!r}:
    __import__(module)
print({{'tensorflow', 'keras'}} & set(sys.modules))
"""
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert out.strip() == "set()"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_keras_is_imported_as_keras(path):
    # `tf.keras` may mean another library in a process that also uses the older pruning toolkit.
    tree = ast.parse(path.read_text())
    uses = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr == "keras"
        and isinstance(node.value, ast.Name)
        and node.value.id in ("tf", "tensorflow")
    ]
    assert not uses
    assert not any(dotted.startswith("tensorflow.keras") for dotted in imported(path))


def test_every_package_is_installed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    actual = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")}
    actual |= {
        ".".join(("tf_lottery_cli", *path.parent.relative_to(ROOT / "cli").parts))
        for path in (ROOT / "cli").rglob("__init__.py")
    }
    assert listed == actual
    folders = {path.parent for path in LIBRARY}
    assert all((folder / "__init__.py").exists() for folder in folders)

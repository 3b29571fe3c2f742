"""The house's language: plain English, one meaning for each name, and documented arguments."""

import ast
import importlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tf_lottery"
LIBRARY = [*sorted(PACKAGE.rglob("*.py")), *sorted((ROOT / "cli").rglob("*.py"))]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted(PACKAGE.rglob("*.html"))
# Words of a private dialect: they say nothing of type or purpose.
DIALECT = re.compile(
    r"\b(?:tell|tells|told|telling|anew|drawn together|it is none|in (?:the|its) stead|by (?:itself|themselves))\b"
    r"|\b(?:go|goes|went|gone|going) on\b(?! the\b| a\b)",
    re.IGNORECASE,
)
# Keras writes American English.
BRITISH = re.compile(
    r"\w*(?:normalis|initialis|optimis|serialis|regularis|summaris|randomis|recognis|minimis|maximis|organis|visualis"
    r"|quantis|categoris|generalis|vectoris|parametris|colour|behaviour|favour|neighbour|labelled|modelled|modelling"
    r"|catalogue)\w*|\banalys(?:e|ed|ing)\b|\bcentre\b",
    re.IGNORECASE,
)
# What a user of version 0.1 wrote or stored is still read.
OLD_NAMES = {"normalisation", "normalisations", "analyse", "catalogue"}
VAGUE_LOCALS = ("found", "each", "told")
MOST_VAGUE_LOCALS = 20
MOST_LINES = 300


def name(path: Path) -> str:
    """The path of a file below the root, as a test's name."""
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text())


def public_functions(body: list[ast.stmt]) -> Iterator[tuple[ast.FunctionDef | ast.ClassDef, ast.FunctionDef]]:
    """Public functions and methods with the node that documents them; a class documents its `__init__`."""
    for node in body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                    yield node, item
            yield from public_functions(node.body)


def parameters(function: ast.FunctionDef) -> list[str]:
    """The names of a function's parameters, without the instance or the class."""
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    every += [argument for argument in (function.args.vararg, function.args.kwarg) if argument]
    return [argument.arg for argument in every if argument.arg not in ("self", "cls")]


def sections(docstring: str) -> dict[str, list[str]]:
    """The entries of each section of a Google docstring: the names in front of the colons."""
    entries: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in docstring.splitlines():
        if match := re.fullmatch(r"(Args|Attributes|Returns|Raises|Yields|Example|Examples|References):", line):
            section = match[1]
            entries[section] = []
        elif match := re.match(r" {4}(\S[^:`\"]*?)(?: \([^)]*\))?:(?:\s|$)", line):
            entries[section].append(match[1])
    return entries


@pytest.mark.parametrize("path", [*LIBRARY, *PAGES], ids=name)
def test_plain_english(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if "replicate_seed(" in line:  # its parts decide what is drawn
            continue
        assert not DIALECT.search(line), f"{name(path)}:{number}: {line.strip()}"
        words = {match.lower().strip("_") for match in BRITISH.findall(line)} - OLD_NAMES
        assert not words, f"{name(path)}:{number}: British spelling in {line.strip()}"


def test_locals_have_names_that_say_what_they_are():
    counts = Counter(
        node.id
        for path in LIBRARY
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in VAGUE_LOCALS
    )
    assert counts["found"] < MOST_VAGUE_LOCALS
    assert counts["each"] < MOST_VAGUE_LOCALS
    assert counts["told"] == 0


@pytest.mark.parametrize("path", LIBRARY, ids=name)
def test_public_functions_document_their_arguments(path):
    command_line = path.is_relative_to(ROOT / "cli")
    for documented, function in public_functions(tree(path).body):
        wanted = parameters(function)
        docstring = ast.get_docstring(documented) or ""
        if function.name == "__init__":
            docstring += "\n" + (ast.get_docstring(function) or "")
        if len(wanted) < 2 or any("overload" in ast.unparse(each) for each in function.decorator_list):
            continue
        if command_line and re.search(r"click\.|\.command\(", " ".join(map(ast.unparse, function.decorator_list))):
            continue  # the page of `--help` documents the options
        entries = [entry.lstrip("*") for entry in sections(docstring)["Args"]]
        missing = [parameter for parameter in wanted if parameter not in entries]
        assert not missing, f"{name(path)}:{function.lineno}: `{documented.name}` has no Args entry for {missing}."


@pytest.mark.parametrize("path", LIBRARY, ids=name)
def test_docstrings_name_one_thing_per_line(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (docstring := ast.get_docstring(node)):
            listed = sections(docstring)
            several = [entry for entry in [*listed["Args"], *listed["Attributes"]] if "," in entry]
            assert not several, f"{name(path)}:{node.lineno}: {several}"


def test_a_type_name_has_one_meaning():
    places = defaultdict(list)
    for path in PACKAGE.rglob("*.py"):
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name(path))
            elif isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation):
                places[ast.unparse(node.target)].append(name(path))
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                alias = node.targets[0].id
                if re.fullmatch(r"[A-Z][a-zA-Z]*[a-z][a-zA-Z]*", alias):
                    places[alias].append(name(path))
    clashes = {kind: where for kind, where in places.items() if len(where) > 1 and not kind.startswith("_")}
    assert not clashes


def test_a_file_name_has_one_meaning():
    stems = Counter(path.stem for path in PACKAGE.rglob("*.py") if path.stem != "__init__")
    assert [stem for stem, count in stems.items() if count > 1] == []


@pytest.mark.parametrize("path", LIBRARY, ids=name)
def test_long_files_give_a_reason(path):
    lines = path.read_text().count("\n")
    docstring = ast.get_docstring(tree(path)) or ""
    assert lines <= MOST_LINES or "one file" in docstring, f"{name(path)} has {lines} lines and no reason for it."


def _resolves(dotted: str) -> bool:
    """Whether a dotted name of the package is a module, or an attribute of one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(value, part):
                return part in getattr(value, "__dataclass_fields__", {})
            value = getattr(value, part)
        return True
    return False


@pytest.mark.parametrize("path", [page for page in PAGES if page.suffix == ".md"], ids=name)
def test_names_in_the_documents_resolve(path):
    """A back-ticked dotted name, or the path of a file, is one that exists."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for quoted in re.findall(r"`([^`\n]+)`", text):
        if match := re.match(r"(?:tfl|tf_lottery)((?:\.\w+)+)", quoted):
            assert _resolves("tf_lottery" + match[1]), f"{name(path)}: `{quoted}`"
        elif match := re.fullmatch(r"((?:tf_lottery|cli|tests|docs|examples|benchmarks)/[\w/.-]*)(?:::\w+)?", quoted):
            assert (ROOT / match[1]).exists(), f"{name(path)}: `{quoted}`"
        elif match := re.fullmatch(r"([a-z_]+(?:/[a-z_]+)*)((?:\.[A-Za-z_]\w*)+)(?:\(.*\))?", quoted):
            assert _short_name_resolves(match[1], match[2]), f"{name(path)}: `{quoted}`"


def _short_name_resolves(start: str, rest: str) -> bool:
    """Whether `room.module.name` or `module.name` is a name of the package, or one of another library."""
    if start in FOREIGN or rest in (
        ".cfg",
        ".txt",
        ".py",
        ".md",
        ".json",
        ".npz",
        ".csv",
        ".keras",
        ".tflite",
        ".jsonl",
        ".toml",
    ):
        return True
    dotted = start.replace("/", ".") + rest
    modules = [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")]
    modules = [module.removesuffix(".__init__") for module in modules]
    first = dotted.split(".")[0]
    homes = [module for module in modules if module.split(".")[-1] == first]
    return any(_resolves(f"tf_lottery.{home}{dotted[len(first) :]}") for home in homes)


# Names of other libraries, of files, and of values in examples.
FOREIGN = {
    "keras_hub",
    "keras",
    "tf",
    "np",
    "numpy",
    "variable",
    "model",
    "layer",
    "optimizer",
    "self",
    "config",
    "result",
    "ticket",
    "report",
}


def test_the_gates_refuse():
    """The checks above fail on what they are for."""
    assert DIALECT.search("which tells one run from another")
    assert DIALECT.search("The run goes on.")
    assert not DIALECT.search("what goes on the disk")
    assert BRITISH.search("normalisation")
    assert sections("Summary.\n\nArgs:\n    x, y: data.\n    rate (float): fraction.\n")["Args"] == ["x, y", "rate"]
    assert not _resolves("tf_lottery.exporting.pipeline.WRITERS")
    assert _resolves("tf_lottery.errors.LotteryError")

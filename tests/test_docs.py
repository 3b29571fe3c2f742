"""The documentation holds what it says: Python blocks run as written, commands parse, links and tables are right."""

import importlib.util
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest

from tf_lottery.results.tables.summary import Table

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)#]+)(?:#[^)]*)?\)")
# No other warning may come from a block that users copy. Keras's conversion of variables, and Python 3.11's own regular
# expressions in the libraries that it loads, are not the block's.
WARNINGS = ("error::UserWarning", "error::RuntimeWarning", "error::FutureWarning")


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(page.read_text()) if language in languages]


def commands(page: Path, program: str) -> list[list[str]]:
    """The calls of a program in the shell blocks of a page, without comments."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    calls = [shlex.split(line, comments=True) for line in lines]
    return [call[1:] for call in calls if call and call[0] == program]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_blocks_run_as_written(page: Path, run_python: Callable[..., str], tmp_path: Path) -> None:
    """All blocks of a page, in their order, in one fresh process and an empty folder."""
    script = tmp_path / "blocks.py"
    script.write_text("\n".join(blocks(page, "python")))
    options = [part for warning in WARNINGS for part in ("-W", warning)]
    run_python(*options, script, folder=tmp_path)


def test_what_comments_say_of_printed_values_is_printed(run_python: Callable[..., str], tmp_path: Path) -> None:
    """`print(...)  # value` in the docs shows the value."""
    text = "\n".join(blocks(ROOT / "docs" / "rewinding.md", "python"))
    assert run_python("-c", text, folder=tmp_path).split("\n")[:2] == ["[100, 80, 80]", "20"]


@pytest.mark.parametrize(
    "call", [pytest.param(call, id=" ".join(call)) for page in PAGES for call in commands(page, "tf-lottery")]
)
def test_commands_parse(call: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of the docs has options and arguments that the program takes."""
    from tf_lottery_cli.app import app

    monkeypatch.chdir(tmp_path)
    command: click.Command | None = app
    context = click.Context(app, info_name="tf-lottery")
    while isinstance(command, click.Group):
        command, call = command.get_command(context, call[0]), call[1:]
    assert command is not None
    command.make_context("tf-lottery", list(call))


def test_commands_are_found() -> None:
    assert len(commands(ROOT / "README.md", "tf-lottery")) > 10
    assert ["digits-mlp", "--max-drop", "0.005"] in [call[1:] for call in commands(ROOT / "README.md", "tf-lottery")]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {call[0] for call in commands(page, "make")} <= targets


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page: Path) -> None:
    local = [link for link in LINK.findall(page.read_text()) if not link.startswith("http")]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_every_page_is_linked_from_the_readme() -> None:
    links = LINK.findall((ROOT / "README.md").read_text())
    assert {name(page) for page in PAGES} - {"README.md"} <= set(links)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_names_of_the_library_exist(page: Path) -> None:
    """`tfl.something` in prose or code is a public name."""
    import tf_lottery as tfl

    assert set(re.findall(r"\btfl\.(\w+)", page.read_text())) <= set(tfl.__all__)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_options_in_prose_exist(page: Path) -> None:
    """Each `--option` that a page names is an option of some command (or of another program, listed here)."""
    from tf_lottery_cli.app import app

    known = {option for command in _commands(app) for parameter in command.params for option in parameter.opts}
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    assert set(re.findall(r"`[^`\n]*?(--[a-z][a-z-]+)", text)) - known - {"--help"} == set()


def _commands(group: click.Group) -> list[click.Command]:
    actual: list[click.Command] = []
    context = click.Context(group)
    for child in filter(None, (group.get_command(context, each) for each in group.list_commands(context))):
        actual += [child, *(_commands(child) if isinstance(child, click.Group) else [])]
    return actual


def test_the_table_of_presets_is_that_of_the_code() -> None:
    assert refresh_demo().presets_markdown() in (ROOT / "README.md").read_text()


def test_every_room_is_described() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    package = ROOT / "tf_lottery"
    rooms = {path.name for path in package.iterdir() if (path / "__init__.py").is_file()}
    rooms |= {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    first_cells = re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE)
    named = {room.strip("`/") for cell in first_cells for room in cell.split(", ")}
    assert {room for room in named if "/" not in room} == rooms
    assert all((package / room).is_dir() for room in named if "/" in room)


def test_the_demo_table_is_replaced_between_its_marks() -> None:
    module = refresh_demo()
    headers = (
        "Round",
        "Variant",
        "Weights left",
        "Weights kept",
        "Validation accuracy",
        "Test accuracy",
        "Early-stop step",
    )
    rows = tuple((str(i), "ticket", "100 %", "10", "1.0 %", "2.0 %", "3") for i in range(5))
    table = module.markdown(Table(headers, rows, tuple(header != "Variant" for header in headers)))
    assert table == (
        "| Round | Variant | Weights left | Weights kept | Test accuracy | Early-stop step |\n"
        "|--:|---|--:|--:|--:|--:|\n"
        "| 0 | ticket | 100 % | 10 | 2.0 % | 3 |\n"
        "| 3 | ticket | 100 % | 10 | 2.0 % | 3 |\n"
    )
    readme = f"before\n{module.BEGIN}old\n{module.END}after\n"
    assert module.refreshed(readme, table) == f"before\n{module.BEGIN}\n{table}\n{module.END}after\n"
    with pytest.raises(ValueError, match="must hold the lines"):
        module.refreshed("no marks", table)


def test_the_readme_shows_the_demo() -> None:
    module, readme = refresh_demo(), (ROOT / "README.md").read_text()
    table = readme.partition(module.BEGIN)[2].partition(module.END)[0]
    assert "| 0 | ticket | 100 % | 11,900 |" in table
    assert "random reinit" in table
    assert (ROOT / "docs" / "images" / "demo_accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_no_machine_paths() -> None:
    """The docs and examples name no folder of somebody's machine."""
    for page in [*PAGES, *(ROOT / "examples").glob("*.py")]:
        assert not re.search(r"(?<![\w.])/(work|home|root|tmp|Users)/", page.read_text()), page


def refresh_demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("refresh_demo", ROOT / "docs" / "refresh_demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

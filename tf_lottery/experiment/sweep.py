"""A sweep: one file that describes many runs. No TensorFlow.

The file is a configuration file with a table `[grid]`, of which every combination is a run, or with tables `[[runs]]`,
each of which is one. What they set wins over the rest of the file.
"""

import contextlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_origin

from tf_lottery.errors import LotteryError, UsageError
from tf_lottery.experiment import presets
from tf_lottery.experiment.config import BY_LAYER, Config, check_keys, with_current_keys
from tf_lottery.experiment.config_file import read_config_file
from tf_lottery.experiment.effective_config import merged_config, override
from tf_lottery.experiment.options import Options
from tf_lottery.experiment.trust import check_trust

GRID, RUNS = "grid", "runs"
MOST_RUNS = 1000
"""The most combinations of a sweep, far beyond what is useful: it only catches slips."""
_LONGEST_VALUE = 60  # characters in a message
# Options that hold several values; those by layer may be one number too.
_LISTS = [field.name for field in fields(Options) if get_origin(field.type) is tuple and field.name not in BY_LAYER]


@dataclass(frozen=True)
class Sweep:
    """What the file of a sweep says.

    Attributes:
        path: the file.
        base: the options of all runs, by name.
        combinations: the options that make each run, by name; they win over those of the base.
    """

    path: Path
    base: Mapping[str, Any]
    combinations: tuple[Mapping[str, Any], ...]


def read_sweep(path: str | Path) -> Sweep:
    """Read the file of a sweep, TOML or JSON.

    Raises:
        UsageError: there is no such file, it does not hold a grid or a list of runs, or an option is unknown.
        DamagedError: it can't be parsed.
    """
    path = Path(path)
    document = read_config_file(path)
    with naming_place(str(path)):
        check_keys(document, beside=(GRID, RUNS))
        grid, runs = document.pop(GRID, None), document.pop(RUNS, None)
        if (grid is None) == (runs is None):
            raise UsageError(
                f"A sweep holds either a table [{GRID}] or tables [[{RUNS}]]. Received "
                f"{'neither' if grid is None else 'both'}.",
                f"Add e.g. [{GRID}] with the line `seed = [0, 1, 2]` below it."
                if grid is None
                else "Drop one of them.",
            )
        combinations = _listed(runs) if grid is None else _product(grid)
    return Sweep(path, document, tuple(combinations))


def configurations(
    sweep: Sweep,
    options: Mapping[str, Any] | None = None,
    *,
    trust: bool = False,
    find_run: Callable[[str], Path] = Path,
) -> list[Config]:
    """Return the checked configuration of each combination of a sweep, in their order.

    Args:
        sweep: what its file says.
        options: values by option that win over those of the file.
        trust: whether code may be imported that the file names.
        find_run: returns the run directory that `tickets_from` names.

    Raises:
        UsageError: a value of a combination is not valid, options exclude each other, or the file names code that the
            user has not trusted.
    """
    configs = []
    for combination in sweep.combinations:
        with naming_place(f"{sweep.path}, {describe_combination(combination)}"):
            given = override(override(sweep.base, combination), options or {})
            configs.append(_configuration(given, find_run))
        check_trust(configs[-1], sweep.path, trust=trust)
    return configs


def _configuration(given: dict[str, Any], find_run: Callable[[str], Path]) -> Config:
    """Return the configuration of options as a file gives them; `preset` is the name of a preset, or "custom"."""
    default = Config().preset
    preset = given.get("preset", default)
    if isinstance(preset, str) and preset != default:
        presets.get(preset)  # a name that is none would only name the directory
    source = given.get("tickets_from")
    if not (source and isinstance(source, str)):
        return merged_config(None, {"preset": preset, **given}, {})
    given = {name: value for name, value in given.items() if name != "preset"}
    return merged_config(None if preset == default else preset, {}, {**given, "tickets_from": find_run(source)})


def describe_combination(combination: Mapping[str, Any]) -> str:
    """Return the options of a combination in a line, as the file has them.

    Example:
        >>> describe_combination({"seed": 1, "rewind": "step:20"})
        'seed = 1, rewind = "step:20"'
    """
    texts = {name: json.dumps(value, default=str) for name, value in combination.items()}
    return ", ".join(f"{name} = {_shortened(text)}" for name, text in texts.items()) or "nothing of its own"


@contextlib.contextmanager
def naming_place(place: str) -> Iterator[None]:
    """Let an error that is raised in the block begin with the place that it is about."""
    try:
        yield
    except LotteryError as error:
        error.cause = f"{place}: {error.cause}"
        raise


def _product(grid: Any) -> list[dict[str, Any]]:
    """Return every combination of a grid; the values of the last option change fastest."""
    if not isinstance(grid, dict) or not grid:
        raise UsageError(
            f"[{GRID}] must be a table of options, each with a list of values. Received: {_shortened(repr(grid))}.",
            "Write e.g. `seed = [0, 1, 2]` below it.",
        )
    grid = with_current_keys(grid)
    check_keys(grid)
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UsageError(
                f"[{GRID}] must give {name} a list of values. Received: {_shortened(repr(values))}.",
                "Put what all runs share above it.",
            )
        if name in _LISTS and not all(isinstance(value, list) for value in values):
            raise UsageError(
                f"{name} is a list, so [{GRID}] must give it a list of lists. Received: {_shortened(repr(values))}.",
                f"Write {name} = [[...], [...]].",
            )
    count = math.prod(map(len, grid.values()))
    if count > MOST_RUNS:
        raise UsageError(f"A sweep has at most {MOST_RUNS:,} runs. Received: {count:,}.", "Make several of it.")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _listed(runs: Any) -> list[dict[str, Any]]:
    """Return the tables of a list of runs."""
    if not isinstance(runs, list) or not runs or not all(isinstance(run, dict) for run in runs):
        raise UsageError(
            f"[[{RUNS}]] must be a list of tables of options. Received: {_shortened(repr(runs))}.",
            f"Begin each run with a line [[{RUNS}]].",
        )
    if len(runs) > MOST_RUNS:
        raise UsageError(f"A sweep has at most {MOST_RUNS:,} runs. Received: {len(runs):,}.", "Make several of it.")
    combinations = [with_current_keys(run) for run in runs]
    for number, combination in enumerate(combinations, 1):
        with naming_place(f"run {number}"):
            check_keys(combination)
    return combinations


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."

"""The effective configuration of a run: options over a configuration file over a preset over the defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tf_lottery.errors import UsageError
from tf_lottery.experiment import presets
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.config_file import read_config_file
from tf_lottery.experiment.directory import RunReader
from tf_lottery.experiment.transferred_tickets import transferred
from tf_lottery.experiment.trust import check_trust, given_names
from tf_lottery.pruning.distributions import UNIFORM
from tf_lottery.pruning.layer_rates import ladder

# Options that say the same thing in different ways: one of them from a stronger source replaces the others.
REPLACES: dict[str, dict[str, Any]] = {
    "steps": {"epochs": None},
    "epochs": {"steps": None},
    "densities": {"output_rate": None, "conv_rate": None, "layer_rates": (), "final_density": None},
    "final_density": {"densities": ()},
    "rate": {"densities": (), "final_density": None},
}
# What makes masks: a run that trains the tickets of another one makes none of its own.
DECIDED_BY_TICKETS = (
    *("rate", "output_rate", "conv_rate", "layer_rates", "final_density", "densities", "min_density", "max_density"),
    *("scope", "distribution", "criterion"),
    *("score_examples", "pruning", "search_steps", "mask_distance", "granularity", "indivisible"),
    *("include", "exclude", "rewind"),
)


def effective_config(
    preset: str | None, config_file: str | Path | None, options: Mapping[str, Any], *, trust: bool = False
) -> Config:
    """Return the configuration of a run.

    Args:
        preset: the name of a preset, or None for the default one.
        config_file: the path of a TOML or JSON file, or None.
        options: values by option; `tickets_from` is the path of a run directory.
        trust: whether code may be imported that the file, or the run of `tickets_from`, names and no option does.

    Raises:
        UsageError: a name is unknown, a value is out of range, options exclude each other, there is no such file, or
            it names code that the user has not trusted.
        DamagedError: the file can't be parsed.
    """
    file_options = read_config_file(config_file) if config_file else {}
    config = merged_config(preset, file_options, options)
    source = options.get("tickets_from") or config_file
    check_trust(config, str(source), trust=trust, known=given_names(options))
    return config


def merged_config(preset: str | None, file_options: Mapping[str, Any], options: Mapping[str, Any]) -> Config:
    """Return the configuration that options from several sources make, whatever code it names.

    Args:
        preset: the name of a preset, or None for the default one.
        file_options: values by option, from a file.
        options: stronger values by option; `tickets_from` is the path of a run directory.

    Raises:
        UsageError: a name is unknown, a value is out of range, or options exclude each other.
    """
    options = dict(options)
    _check_densities(options)
    source = options.pop("tickets_from", None)
    if source is None:
        base = _base(preset, file_options, options)
    else:
        _check_transfer(options, alone=not (preset or file_options))
        base = transferred(RunReader(source))
    for stronger in (file_options, options):
        base = override(base, stronger)
    if preset:
        base["preset"] = preset
    return Config.from_json(base)


def _check_densities(options: Mapping[str, Any]) -> None:
    """Check that nothing beside explicit densities says how much is pruned."""
    densities = options.get("densities")
    if not densities:
        return
    for name in ("rate", "output_rate", "conv_rate", "layer_rates", "final_density"):
        if options.get(name) not in (None, ()):
            raise UsageError(f"`densities` and `{name}` exclude each other.", "Drop one of them.")
    rounds = len(ladder(densities)) - 1
    if (options.get("rounds") or 0) > rounds:
        raise UsageError(
            f"`densities` has {rounds} rounds after the dense one. Received: `rounds={options['rounds']}`.",
            "Give a density for each round.",
        )


def _check_transfer(options: Mapping[str, Any], *, alone: bool) -> None:
    """Check that nothing beside the tickets of another run decides masks."""
    if not alone:
        raise UsageError("`tickets_from` takes the configuration of that run.", "Drop the preset and `config_file`.")
    for name in DECIDED_BY_TICKETS:
        if options.get(name) not in (None, ()):
            raise UsageError(f"`{name}` decides masks, and `tickets_from` takes those of another run.", "Drop it.")


def _base(preset: str | None, file_options: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    if preset:
        return presets.get(preset).config().to_json()
    if file_options:
        name = file_options.get("preset")
        return (
            presets.get(name).config().to_json()
            if isinstance(name, str) and name in presets.PRESETS
            else Config().to_json()
        )
    base = presets.get(presets.DEFAULT).config().to_json()
    # With other data or another model it is no longer the experiment that the preset's name stands for.
    return base | ({"preset": "custom"} if {"dataset", "model"} & options.keys() else {})


def override(base: Mapping[str, Any], stronger: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with those of a stronger source, which replace other ways to say the same.

    Args:
        base: values by option.
        stronger: values by option that win over them.

    Example:
        >>> override({"steps": 100, "seed": 1}, {"epochs": 2.0})
        {'steps': None, 'seed': 1, 'epochs': 2.0}
    """
    merged = dict(base)
    for key in stronger:
        if stronger[key] not in (None, (), []):
            merged |= {other: value for other, value in REPLACES.get(key, {}).items() if other not in stronger}
    if stronger.get("distribution") not in (None, UNIFORM):
        # It divides one number among all layers: rates by role or layer of a weaker source have no meaning.
        by_role = {"output_rate": None, "conv_rate": None, "layer_rates": ()}
        merged |= {name: value for name, value in by_role.items() if name not in stronger}
    merged |= stronger
    if isinstance(stronger.get("densities"), list | tuple) and stronger["densities"] and "rounds" not in stronger:
        # There is a round for each density; `Config` adds the dense one where it is missing.
        merged["rounds"] = len(stronger["densities"])
    return merged

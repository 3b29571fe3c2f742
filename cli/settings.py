"""The effective configuration of a run: command line over configuration file over preset over defaults."""

from collections.abc import Mapping
from typing import Any

from tf_lottery.errors import UsageError
from tf_lottery.experiment import presets
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.config_file import read_config_file
from tf_lottery.experiment.transferred_tickets import transferred
from tf_lottery.pruning.rates import ladder

# Options that say the same thing in different ways: one of them given by a stronger source replaces the others.
REPLACES: dict[str, dict[str, Any]] = {
    "steps": {"epochs": None},
    "epochs": {"steps": None},
    "densities": {"output_rate": None, "conv_rate": None, "final_density": None},
    "final_density": {"densities": ()},
    "rate": {"densities": (), "final_density": None},
}


# What makes masks, of which a run with the tickets of another one has none of its own.
DECIDED_BY_TICKETS = (
    *("rate", "output_rate", "conv_rate", "final_density", "densities", "scope", "criterion", "score_examples"),
    *("pruning", "search_steps", "mask_distance", "granularity", "indivisible", "include", "exclude", "rewind"),
)


def effective(preset: str | None, config_file: str | None, options: Mapping[str, Any]) -> Config:
    """The configuration of a run.

    Args:
        preset: the preset that was named, or None.
        config_file: the path of a TOML or JSON file, or None.
        options: configuration keys that were given on the command line; `tickets_from` is a `RunDirectory`.

    Raises:
        LotteryError: a name is unknown, a value out of range, or the file can't be read.
    """
    given = read_config_file(config_file) if config_file else {}
    options = dict(options)
    _check_ladder(options)
    source = options.pop("tickets_from", None)
    base = transferred(source) if source else _base(preset, given, options)
    if source and (preset or config_file):
        raise UsageError("--tickets-from takes the configuration of that run.", "Drop the preset and --config.")
    for name in DECIDED_BY_TICKETS if source else ():
        if options.get(name) not in (None, ()):
            raise UsageError(
                f"--{name.replace('_', '-')} decides masks, and --tickets-from takes those of another run.", "Drop it."
            )
    for layer in (given, options):
        base = _over(base, layer)
    if preset:
        base["preset"] = preset
    return Config.from_json(base)


def _check_ladder(options: Mapping[str, Any]) -> None:
    """A ladder says all of the densities, so that no other option may say them too."""
    densities = options.get("densities")
    if not densities:
        return
    for name in ("rate", "output_rate", "conv_rate", "final_density"):
        if options.get(name) is not None:
            option = name.replace("_", "-")
            raise UsageError(f"--densities and --{option} exclude each other.", "Drop one of them.")
    rungs = len(ladder(densities)) - 1
    if (options.get("rounds") or 0) > rungs:
        raise UsageError(
            f"--densities has {rungs} rounds after the dense one. Received: --rounds {options['rounds']}.",
            "Give a density for each round.",
        )


def _base(preset: str | None, given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    if preset:
        return presets.get(preset).config().to_json()
    if given:
        name = given.get("preset")
        return presets.get(name).config().to_json() if name in presets.PRESETS else Config().to_json()
    base = presets.get(presets.DEFAULT).config().to_json()
    # With other data or another model it is no longer the experiment that the preset's name stands for.
    return base | ({"preset": "custom"} if {"dataset", "model"} & options.keys() else {})


def _over(base: dict[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key in layer:
        if layer[key] not in (None, (), []):
            merged |= {other: value for other, value in REPLACES.get(key, {}).items() if other not in layer}
    merged |= layer
    if layer.get("densities") and "rounds" not in layer:
        # A ladder has as many rounds as rungs; `Config` adds the dense one where it is missing.
        merged["rounds"] = len(layer["densities"])
    return merged

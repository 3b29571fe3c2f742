"""The configuration of an experiment: options that are checked when made, with a JSON round trip and a hash."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from tf_lottery.errors import UsageError
from tf_lottery.experiment import option as declared
from tf_lottery.experiment import own_functions
from tf_lottery.experiment.config_checks import check_combinations
from tf_lottery.experiment.layer_values import layer_values
from tf_lottery.experiment.options import Options, variants
from tf_lottery.pruning import layer_rates
from tf_lottery.utils.text import suggestion

# Options whose values are by weight path or pattern.
BY_LAYER = ("layer_rates", "min_density", "max_density")
# Keys of a run's config.json beside the options: digests of a user's own model and functions, which are hashed too.
HASHED_BESIDE = ("model_hash", "functions_hash")


@dataclass(frozen=True)
class Config(Options):
    """A checked configuration; its options are those of `Options`.

    Raises:
        UsageError: a value is of the wrong type, unknown, out of range, or excluded by another one.

    Example:
        >>> config = Config(rounds=3, rate=0.5, variants=("random_reinit",))
        >>> config.variants, config.updated(rounds=5).hash() == config.hash()
        (('ticket', 'random_reinit'), True)
    """

    def __post_init__(self) -> None:
        self._name_own_functions()
        self._set({name: layer_values(getattr(self, name), what=name) for name in BY_LAYER})
        self._set(declared.tuples(self))
        self._set(declared.checked_types(self))
        # Controls are made from the ticket's masks, so the ticket is always trained.
        self._set({"variants": tuple(dict.fromkeys(("ticket", *self.variants)))})
        declared.check_choices(self)
        registered = [name for name in variants() if name in self.variants]
        self._set({"variants": tuple(dict.fromkeys((*registered, *self.variants)))})
        declared.check_ranges(self)
        if self.densities:
            rungs = layer_rates.ladder(self.densities)
            self._set({"densities": rungs, "rounds": min(self.rounds, len(rungs) - 1)})
        check_combinations(self)

    def _name_own_functions(self) -> None:
        """Put names in the place of functions and objects, so that a configuration can be stored and sent."""
        self._set(
            {
                "criterion": own_functions.criterion_name(self.criterion),
                "rewind": own_functions.rewind_name(self.rewind),
                "variants": own_functions.variant_names(self.variants),
                "densities": own_functions.ladder_of_rounds(self.densities, self.rounds),
            }
        )

    def _set(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def to_json(self) -> dict[str, Any]:
        """Return all options as JSON values."""
        return {f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v for f in fields(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Config":
        """Return the configuration of a document made by `to_json`, of version 0.1 too.

        What the document leaves out has its default.

        Raises:
            UsageError: a key is unknown, or a value is out of range.
        """
        document = with_current_keys(document)
        check_keys(document)
        return cls(**document)

    def updated(self, **changes: Any) -> "Config":
        """Return a copy with other values, checked again."""
        return replace(self, **changes)

    def hash(self, **extra: Any) -> str:
        """Return ten hexadecimal digits of the SHA-256 of all that decides the results.

        Args:
            **extra: what else does, e.g. the configuration of a user's model.
        """
        content = declared.hashed_values(self, self.to_json()) | extra
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def check_keys(document: Mapping[str, Any], *, beside: Iterable[str] = ()) -> None:
    """Check that every key of a document is an option.

    Args:
        document: values by key.
        beside: further keys that it may have.

    Raises:
        UsageError: a key is unknown; the remedy lists the valid ones.
    """
    names = [*(field.name for field in fields(Options)), *beside]
    for key in document:
        if key not in names:
            raise UsageError(f"Unknown configuration key {key!r}.", suggestion(str(key), names))


def merge_configs(first: Config, second: Config) -> Config:
    """Return the configuration with all rounds, replicates and variants of two configurations of one hash.

    Args:
        first: a configuration.
        second: another one with the same hash.

    Example:
        >>> second = Config(rounds=3, variants=("ticket", "shuffled_masks"))
        >>> both = merge_configs(Config(rounds=2, replicates=5), second)
        >>> both.rounds, both.replicates, both.variants
        (3, 5, ('ticket', 'random_reinit', 'shuffled_masks'))
    """
    return first.updated(
        rounds=max(first.rounds, second.rounds),
        replicates=max(first.replicates, second.replicates),
        variants=tuple(dict.fromkeys([*first.variants, *second.variants])),
    )


def differing_options(configs: Sequence[Config]) -> dict[str, list[Any]]:
    """Return the options in which configurations differ, with the value of each, in the order of the declarations.

    Example:
        >>> differing_options([Config(seed=1), Config(seed=2)])
        {'seed': [1, 2]}
    """
    values = {field.name: [getattr(config, field.name) for config in configs] for field in fields(Config)}
    return {name: of_each for name, of_each in values.items() if any(value != of_each[0] for value in of_each)}


def with_current_keys(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a configuration's document in which the keys of version 0.1 have their present names.

    Raises:
        UsageError: a key stands there under both names.
    """
    current = {option.earlier_name: name for name, option in declared.options(Options).items() if option.earlier_name}
    for earlier, name in current.items():
        if earlier in document and name in document:
            raise UsageError(f"`{earlier}` is the earlier name of `{name}`. Received both.", f"Drop `{earlier}`.")
    return {current.get(key, key): value for key, value in document.items()}

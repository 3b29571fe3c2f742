"""How many units a round keeps of which arrays, within bounds, and which: what `prune` and `prune_to` share.

Everything here is about arrays of units; `select` makes them from weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real

from tf_lottery.errors import UsageError
from tf_lottery.pruning.distributions import DISTRIBUTIONS, ERK, UNIFORM, apportion, erk_shares, lamp_counts
from tf_lottery.pruning.masks import Masks, WeightArrays, kept
from tf_lottery.pruning.path_patterns import values_by_path
from tf_lottery.pruning.ranking import groups, remove_lowest
from tf_lottery.pruning.units import Units
from tf_lottery.utils.text import suggestion


@dataclass(frozen=True)
class Rule:
    """What decides how many units each array keeps, beside a rate or a density.

    Attributes:
        units: The units of the arrays.
        shapes: The shape of every weight array by path.
        scope: "layerwise" or "global".
        distribution: "uniform", "erk" or "lamp".
        allow_empty: Whether an array may lose its last unit.
        min_density: The least density of an array, one for all or by path or pattern.
        max_density: The greatest density of an array, likewise.

    Raises:
        UsageError: If a name is unknown, or a distribution is asked for in the global scope.
    """

    units: Units
    shapes: Mapping[str, Sequence[int]]
    scope: str = "layerwise"
    distribution: str = UNIFORM
    allow_empty: bool = False
    min_density: float | Mapping[str, float] = 0.0
    max_density: float | Mapping[str, float] = 1.0

    def __post_init__(self) -> None:
        groups({}, scope=self.scope)
        if self.distribution not in DISTRIBUTIONS:
            raise UsageError(
                f"Unknown distribution {self.distribution!r}.", suggestion(str(self.distribution), DISTRIBUTIONS)
            )
        if self.distribution != UNIFORM and self.scope != "layerwise":
            raise UsageError(
                f"The distribution {self.distribution!r} decides how many weights each array keeps, the scope "
                f"{self.scope!r} ranks them all together.",
                "Drop one of them.",
            )

    def groups(self, rates: Mapping[str, float]) -> list[list[str]]:
        """Returns the arrays of units that are pruned together, by their rates.

        Raises:
            UsageError: If a distribution divides what is kept among arrays of different rates.
        """
        if self.distribution == UNIFORM:
            return groups(rates, scope=self.scope)
        if len(set(rates.values())) > 1:
            raise UsageError(
                f"The distribution {self.distribution!r} divides one number of weights among all arrays. Received: "
                f"the rates {', '.join(f'{rate:g}' for rate in sorted(set(rates.values())))}.",
                "Pass one rate, or the distribution 'uniform'.",
            )
        return [sorted(rates)] if rates else []

    def of_units(
        self, what: str, values: float | Mapping[str, float], default: float | None = None
    ) -> dict[str, float]:
        """Returns a caller's values by the paths of the arrays of units.

        Args:
            what: The name of the argument, for messages.
            values: One value, or values by path or pattern.
            default: The value of an array that none is given for.

        Raises:
            UsageError: If a pattern matches nothing, or arrays that share their units have different values.
            UnfitError: If an array has no value and there is no default.
        """
        by_path = values_by_path(values, self.shapes, what=what, default=default)
        for key, paths in self.units.members.items():
            for path in paths[1:]:
                if by_path[path] != by_path[key]:
                    raise UsageError(
                        f"`{what}` must be one for {key!r} and {path!r}, whose heads are pruned together. Received: "
                        f"{by_path[key]} and {by_path[path]}.",
                        "Give both the same value.",
                    )
        return {key: by_path[key] for key in self.units.members}

    @cached_property
    def densities(self) -> dict[str, tuple[float, float]]:
        """The least and the greatest density of each array of units."""
        lowest = self.of_units("min_density", self.min_density, 0.0)
        highest = self.of_units("max_density", self.max_density, 1.0)
        for name, densities in (("min_density", lowest), ("max_density", highest)):
            for key, value in densities.items():
                if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value <= 1:
                    raise UsageError(
                        f"`{name}` must be in [0, 1]: kept / total weights. Received: {value!r} for {key!r}.",
                        f"Pass e.g. {name}=0.05.",
                    )
        for key in lowest:
            if lowest[key] > highest[key]:
                raise UsageError(
                    f"`min_density` must not be above `max_density`. Received: {lowest[key]} and {highest[key]} for "
                    f"{key!r}.",
                    "Change one of them.",
                )
        return {key: (lowest[key], highest[key]) for key in lowest}

    def bounds(self, masks: WeightArrays, keys: Sequence[str]) -> "Bounds":
        """Returns how many units arrays keep at least and at most.

        Args:
            masks: The present masks of units.
            keys: The paths of the arrays of units.

        Raises:
            UsageError: If bounds are no densities, or exclude each other.
        """
        implied, least, most = {}, {}, {}
        for key in keys:
            survivors, size = kept({key: masks[key]}), masks[key].size
            lowest, highest = self.densities[key]
            floor = self.units.floors.get(key)
            implied[key] = floor.total(masks[key].shape) if floor else int(survivors > 0 and not self.allow_empty)
            least[key] = min(survivors, max(implied[key], round(lowest * size)))
            most[key] = min(survivors, round(highest * size))
            if most[key] < implied[key]:
                pattern = f" in the pattern {floor}" if floor else ""
                raise UsageError(
                    f"`max_density` of {highest:g} would keep {most[key]} of the {size} weights or units of {key!r}, "
                    f"which keeps at least {implied[key]}{pattern}.",
                    "Choose a greater one.",
                )
        return Bounds(implied, least, most)


@dataclass(frozen=True)
class Bounds:
    """How many units arrays keep, by path.

    Attributes:
        implied: The least counts that patterns N:M and the rule that no array is emptied imply.
        least: The least counts, `min_density` included.
        most: The greatest counts.
    """

    implied: dict[str, int]
    least: dict[str, int]
    most: dict[str, int]


def prune_by_rate(scores: WeightArrays, masks: WeightArrays, *, rates: Mapping[str, float], rule: Rule) -> Masks:
    """Returns the masks of units after one round that prunes a fraction of the survivors.

    Args:
        scores: Scores of units by path.
        masks: Masks of units by path.
        rates: The fraction to prune of each array of units, by path.
        rule: What else decides how many each array keeps.

    Raises:
        UsageError: If a pattern N:M or bounds do not admit the rate.
    """
    pruned: Masks = {}
    for keys in rule.groups(rates):
        rate, alive = rates[keys[0]], kept({key: masks[key] for key in keys})
        count = alive - round(rate * alive)
        wanted = f"A rate of {rate:g}"
        pruned |= _keep(scores, masks, keys, count, exact=(1 - rate) * alive, wanted=wanted, rule=rule)
    return pruned


def prune_to_density(
    scores: WeightArrays, masks: WeightArrays, *, density: float, rule: Rule, keys: Iterable[str] | None = None
) -> Masks:
    """Returns the masks of units after a round that reaches a density.

    Args:
        scores: Scores of units by path.
        masks: Masks of units by path.
        density: The fraction of the units to keep.
        rule: What else decides how many each array keeps.
        keys: The paths of the arrays of units; all by default.

    Raises:
        UsageError: If fewer units are left, or a pattern N:M or bounds do not admit the density.
    """
    pruned: Masks = {}
    for group in rule.groups(dict.fromkeys(rule.units.members if keys is None else keys, 0.0)):
        alive, size = (kept({key: masks[key] for key in group}), sum(masks[key].size for key in group))
        count = round(density * size)
        if count > alive:
            single = all(size == 1 for size in rule.units.sizes.values())
            raise UsageError(
                f"The density {density} is above what is left of {', '.join(group)}: {alive} "
                f"{'weights' if single else 'units'} survive.",
                "Densities must fall from round to round.",
            )
        wanted = f"A density of {density:g}"
        pruned |= _keep(scores, masks, group, count, exact=count, wanted=wanted, rule=rule)
    return pruned


def keep_highest(scores: WeightArrays, masks: WeightArrays, *, keys: Sequence[str], count: int, rule: Rule) -> Masks:
    """Returns the masks of arrays that keep so many units together, those of the highest scores.

    Args:
        scores: Scores of units by path.
        masks: Masks of units by path.
        keys: The paths of the arrays of units.
        count: How many units they keep together, within the sums of their bounds.
        rule: What decides how many of them each array keeps.
    """
    bounds = rule.bounds(masks, keys)
    counts = _counts(scores, masks, keys, count, bounds, rule)
    pruned: Masks = {}
    present = dict(masks)
    floors = rule.units.floors
    for key in keys:
        survivors = kept({key: masks[key]})
        surplus = survivors - (counts[key] if counts else bounds.most[key])
        if counts or surplus:
            least = {key: 0 if counts else bounds.least[key]}
            present |= remove_lowest(scores, masks, keys=[key], count=surplus, least=least, floors=floors)
        pruned[key] = present[key]
    if counts:
        return pruned
    excess = kept({key: present[key] for key in keys}) - count
    return remove_lowest(scores, present, keys=keys, count=excess, least=bounds.least, floors=floors)


def _counts(
    scores: WeightArrays, masks: WeightArrays, keys: Sequence[str], count: int, bounds: Bounds, rule: Rule
) -> dict[str, int]:
    """Returns how many units each array keeps; empty if their scores decide that among all of them."""
    if len(keys) == 1:
        return {keys[0]: count}
    if rule.distribution == UNIFORM:
        return {}
    if rule.distribution == ERK:
        shares = erk_shares(rule.shapes, rule.units)
        return apportion({key: shares[key] for key in keys}, count, least=bounds.least, most=bounds.most)
    chosen = {key: scores[key] for key in keys}
    return lamp_counts(chosen, masks, count, least=bounds.least, most=bounds.most)


def _keep(
    scores: WeightArrays,
    masks: WeightArrays,
    keys: Sequence[str],
    count: int,
    *,
    exact: float,
    wanted: str,
    rule: Rule,
) -> Masks:
    bounds = rule.bounds(masks, keys)
    implied, least, most = (sum(limit[key] for key in keys) for limit in (bounds.implied, bounds.least, bounds.most))
    patterns = {str(rule.units.floors[key]) for key in keys if key in rule.units.floors}
    if count < implied and patterns and exact <= implied - 1:
        raise UsageError(
            f"{wanted} would keep {count} weights of {', '.join(keys)}, and the pattern {', '.join(patterns)} keeps at "
            f"least {implied} of {sum(masks[key].size for key in keys)}.",
            "Prune less: at the pattern's own density, exactly N weights of each M are left.",
        )
    count = max(count, implied)
    if len(keys) == 1:
        count = min(max(count, least), most)
    elif not least <= count <= most:
        name, limit = ("min_density", least) if count < least else ("max_density", most)
        raise UsageError(
            f"{wanted} would keep {count} weights or units of {', '.join(keys)} together, and `{name}` "
            f"keeps at {'least' if name == 'min_density' else 'most'} {limit}.",
            f"Change one of them, or give `{name}` for fewer arrays.",
        )
    return keep_highest(scores, masks, keys=keys, count=count, rule=rule)

"""Names, glob patterns and predicates by which a caller chooses weights of a model."""

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import keras

from tf_lottery.errors import UsageError
from tf_lottery.layers.paths import held_layer
from tf_lottery.layers.sublayers import SEPARATOR

Selector: TypeAlias = str | Iterable[str] | Callable[[str, keras.Variable], bool]


class Selection:
    """A selector that remembers which of its patterns matched a weight.

    Args:
        what: The name of the argument, for messages: "include" or "exclude".
        selector: Names, glob patterns or a predicate; None selects nothing.
        layers: The layers of the model by path.
    """

    def __init__(self, what: str, selector: Selector | None, layers: Mapping[str, keras.layers.Layer]) -> None:
        """Raises a `UsageError` if a pattern is no text, or names a layer ambiguously."""
        self.what = what
        self.predicate = selector if callable(selector) else None
        self.patterns: list[str] = []
        if isinstance(selector, str):
            self.patterns = [selector]
        elif selector is not None and not callable(selector):
            self.patterns = list(selector)
        if bad := [pattern for pattern in self.patterns if not isinstance(pattern, str)]:
            raise UsageError(f"`{what}` must be names, glob patterns or a predicate. Received: {bad[0]!r}.")
        self.automatic = self._automatic_names(layers)
        self.unused = set(self.patterns)

    def matches(self, path: str, layer_path: str, variable: keras.Variable, *, kernel: bool) -> bool:
        """Returns whether a weight is selected: by its path, or, if it is a kernel, by a layer or model around it.

        Args:
            path: The path of the weight.
            layer_path: The path of the layer that holds it.
            variable: The weight.
            kernel: Whether a pattern for the layer stands for this weight.
        """
        if self.predicate is not None:
            return bool(self.predicate(path, variable))
        parts = path.split(SEPARATOR)
        holders = {SEPARATOR.join(parts[:end]) for end in range(1, len(parts))}
        holders |= {layer_path.rpartition(SEPARATOR)[2], self.automatic.get(layer_path, layer_path)}
        hits = set()
        for pattern in self.patterns:
            if any(fnmatch.fnmatchcase(holder, pattern) for holder in holders):
                hits |= {pattern} if kernel else set()
            elif fnmatch.fnmatchcase(path, pattern):
                hits.add(pattern)
        self.unused -= hits
        return bool(hits)

    def check_used(self, paths: Iterable[str]) -> None:
        """Raises a `UsageError` if a pattern selected none of the weights at `paths`."""
        unused = [pattern for pattern in self.patterns if pattern in self.unused]
        if unused:
            raise UsageError(
                f"`{self.what}` matches no weight of the model: {', '.join(map(repr, unused))}.",
                f"Its weights: {', '.join(paths)}.",
            )

    def _automatic_names(self, layers: Mapping[str, keras.layers.Layer]) -> dict[str, str]:
        """Returns the Keras names, by path, of the layers that a pattern calls by an automatic name like `dense_7`."""
        automatic = {}
        for path, layer in layers.items():
            name = held_layer(layer).name
            if name not in self.patterns or name == path.rpartition(SEPARATOR)[2]:
                continue
            rivals = [rival for rival in layers if rival == name or rival.endswith(SEPARATOR + name)]
            if rivals:
                raise UsageError(
                    f"`{self.what}` is ambiguous: Keras gave the name {name!r} to the layer at {path!r}, but {name!r} "
                    f"is also the path of the layer that Keras named {held_layer(layers[rivals[0]]).name!r}.",
                    f"Give the layers names of their own, or the path of a weight, such as {name + '/kernel'!r}.",
                )
            automatic[path] = name
        return automatic

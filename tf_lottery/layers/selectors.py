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
    """A selector, and which of its patterns were of use."""

    def __init__(self, what: str, selector: Selector | None, layers: Mapping[str, keras.layers.Layer]) -> None:
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
        """Whether a weight is selected: by its own path, or, if it is a kernel, by a name of what it is part of."""
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
        """Raise if a pattern selected nothing."""
        unused = [pattern for pattern in self.patterns if pattern in self.unused]
        if unused:
            raise UsageError(
                f"`{self.what}` matches no weight of the model: {', '.join(map(repr, unused))}.",
                f"Its weights: {', '.join(paths)}.",
            )

    def _automatic_names(self, layers: Mapping[str, keras.layers.Layer]) -> dict[str, str]:
        """The Keras names, by path, of the layers that the patterns call by an automatic name such as `dense_7`."""
        automatic = {}
        for path, layer in layers.items():
            name, known = held_layer(layer).name, path.rpartition(SEPARATOR)[2]
            if name not in self.patterns or name == known:
                continue
            other = [rival for rival in layers if rival == name or rival.endswith(SEPARATOR + name)]
            if other:
                raise UsageError(
                    f"`{self.what}` is ambiguous: Keras gave the name {name!r} to the layer at {path!r}, but {name!r} "
                    f"is also the path of the layer that Keras named {held_layer(layers[other[0]]).name!r}.",
                    f"Give the layers names of their own, or the path of a weight, such as {name + '/kernel'!r}.",
                )
            automatic[path] = name
        return automatic

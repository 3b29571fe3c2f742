"""The state of a training in its middle: all that an engine's variables hold, also what replicas do not share."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_lottery.training.engine import METRICS, Engine
from tf_lottery.training.state import State, capture_state, restore_state


def capture_running(engine: Engine) -> State:
    """Return copies of the values of every variable of a training.

    Under a strategy the running metrics, which each replica sums up alone, have the values of all: (replicas, ...).

    Args:
        engine: what trains.
    """
    variables = engine.variables()
    if not engine.replicas:
        return capture_state(variables)
    separate = {key: variable for key, variable in variables.items() if key.startswith(METRICS)}
    shared = _without(variables, separate)
    values = engine.replicas.gather(separate.values())
    return capture_state(shared) | dict(zip(separate, values, strict=True))


def restore_running(engine: Engine, state: Mapping[str, np.ndarray]) -> None:
    """Put a training into a state that `capture_running` returned.

    Args:
        engine: what trains; under a strategy, with as many replicas.
        state: one array per variable.

    Raises:
        UnfitError: a key is missing or extra; nothing is assigned then.
    """
    variables = engine.variables()
    if not engine.replicas:
        restore_state(variables, state)
        return
    separate = {key: variable for key, variable in variables.items() if key.startswith(METRICS)}
    restore_state(_without(variables, separate), _without(state, separate))
    engine.replicas.scatter(separate.values(), [state[key] for key in separate])


def _without(values: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}

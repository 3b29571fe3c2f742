"""Which operations of a TFLite file the default delegate takes on this machine, as the interpreter reports it."""

import json
from pathlib import Path

from tf_lottery.utils.child_process import ProgramError, run_program

# In a process of its own, because a bad file can crash the interpreter; it imports LiteRT only.
_PROGRAM = """
import json, sys
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1])
interpreter.allocate_tensors()
numbers = lambda values: [int(value) for value in values]
nodes = [(op["op_name"], numbers(op["inputs"]), numbers(op["outputs"])) for op in interpreter._get_ops_details()]
print(json.dumps(nodes))
"""
_DELEGATE = "DELEGATE"
_SECONDS = 120


class NotLoadedError(Exception):
    """The default interpreter does not load the file; the message says why, in one line."""


def delegated_positions(file: Path) -> set[int]:
    """Return the positions of the operations of a file's main graph that a delegate runs.

    Raises:
        NotLoadedError: if the interpreter fails.
    """
    try:
        return _positions(json.loads(run_program(_PROGRAM, [file], name="the interpreter", timeout=_SECONDS)))
    except ProgramError as error:
        raise NotLoadedError(error.reason) from None


def _positions(nodes: list[tuple[str, list[int], list[int]]]) -> set[int]:
    """The operations that lie between the inputs and the outputs of delegates.

    Example:
        >>> _positions([("PAD", [0], [1]), ("WHILE", [1], [2]), ("DELEGATE", [0], [1])])
        {0}
    """
    producers = {
        tensor: place for place, (kind, _, outputs) in enumerate(nodes) if kind != _DELEGATE for tensor in outputs
    }
    positions: set[int] = set()
    for kind, inputs, outputs in nodes:
        waiting = list(outputs) if kind == _DELEGATE else []
        while waiting:
            tensor = waiting.pop()
            place = producers.get(tensor)
            if place is not None and place not in positions:
                positions.add(place)
                waiting += [source for source in nodes[place][1] if source not in inputs]
    return positions

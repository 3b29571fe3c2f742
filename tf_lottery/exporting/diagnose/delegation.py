"""Which operations of a TFLite file the default delegate takes on this machine: asked of the interpreter itself."""

import json
from pathlib import Path

from tf_lottery.utils.child_process import ChildFailed, run_program

# In a process of its own, because a bad file can crash the interpreter; it imports LiteRT only.
_PROGRAM = """
import json, sys
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1])
interpreter.allocate_tensors()
numbers = lambda values: [int(value) for value in values]
found = [(op["op_name"], numbers(op["inputs"]), numbers(op["outputs"])) for op in interpreter._get_ops_details()]
print(json.dumps(found))
"""
_DELEGATE = "DELEGATE"
_SECONDS = 120


class NotLoaded(Exception):
    """The default interpreter does not load the file; the message says why, in one line."""


def delegated(file: Path) -> set[int]:
    """Positions of the operations of the file's main graph that a delegate runs.

    Raises:
        NotLoaded: if the interpreter fails.
    """
    try:
        return _taken(json.loads(run_program(_PROGRAM, [file], name="the interpreter", timeout=_SECONDS)))
    except ChildFailed as error:
        raise NotLoaded(error.reason) from None


def _taken(nodes: list[tuple[str, list[int], list[int]]]) -> set[int]:
    """The operations that lie between the inputs and the outputs of delegates.

    Example:
        >>> _taken([("PAD", [0], [1]), ("WHILE", [1], [2]), ("DELEGATE", [0], [1])])
        {0}
    """
    producers = {
        tensor: place for place, (kind, _, outputs) in enumerate(nodes) if kind != _DELEGATE for tensor in outputs
    }
    found: set[int] = set()
    for kind, inputs, outputs in nodes:
        waiting = list(outputs) if kind == _DELEGATE else []
        while waiting:
            tensor = waiting.pop()
            place = producers.get(tensor)
            if place is not None and place not in found:
                found.add(place)
                waiting += [each for each in nodes[place][1] if each not in inputs]
    return found

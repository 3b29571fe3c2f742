"""Which operations of a TFLite file the default delegate takes on this machine, as the interpreter reports it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tf_lottery.utils.child_process import ProgramError, run_program

# In a process of its own, because a bad file can crash the interpreter; it imports LiteRT only. Without delegates, and
# after one call, all tensors of the main graph have the shapes that the sizes of the inputs lead to.
_PROGRAM = """
import json, sys
from ai_edge_litert.interpreter import Interpreter, OpResolverType
file, sizes = sys.argv[1], json.loads(sys.argv[2])
def load(resolver):
    interpreter = Interpreter(model_path=file, experimental_op_resolver_type=resolver)
    for place, shape in sizes.items():
        interpreter.resize_tensor_input(int(place), shape)
    interpreter.allocate_tensors()
    return interpreter
numbers = lambda values: [int(value) for value in values]
operations = load(OpResolverType.AUTO)._get_ops_details()
nodes = [(op["op_name"], numbers(op["inputs"]), numbers(op["outputs"])) for op in operations]
shapes = {}
if sizes:
    plain = load(OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    for detail in plain.get_input_details():
        plain.tensor(detail["index"])()[...] = 0
    plain.invoke()
    shapes = {detail["index"]: numbers(detail["shape"]) for detail in plain.get_tensor_details()}
print(json.dumps([nodes, shapes]))
"""
_DELEGATE = "DELEGATE"
_SECONDS = 120


class NotLoadedError(Exception):
    """The default interpreter does not load the file; the message says why, in one line."""


@dataclass(frozen=True)
class LoadedGraph:
    """What the interpreter reports of a file's main graph.

    Attributes:
        delegated: the positions of the operations that a delegate runs.
        shapes: of all tensors, by number, where inputs were given sizes.
    """

    delegated: set[int]
    shapes: dict[int, list[int]] = field(default_factory=dict)


def load_graph(file: Path, sizes: Mapping[int, Sequence[int]] | None = None) -> LoadedGraph:
    """Return what the default interpreter makes of a file's main graph.

    Args:
        file: a TFLite file.
        sizes: the shapes to give to inputs of free size, by the number of the tensor.

    Raises:
        NotLoadedError: if the interpreter fails.
    """
    arguments: list[str | Path] = [file, json.dumps({place: list(shape) for place, shape in (sizes or {}).items()})]
    try:
        nodes, shapes = json.loads(run_program(_PROGRAM, arguments, name="the interpreter", timeout=_SECONDS))
    except ProgramError as error:
        raise NotLoadedError(error.reason) from None
    return LoadedGraph(_positions(nodes), {int(place): shape for place, shape in shapes.items()})


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

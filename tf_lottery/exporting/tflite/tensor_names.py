"""Shorter names of a file's inner tensors, which are a tenth of a small file."""

from tf_lottery.exporting.tflite import flatbuffers

_LOOPS = ("while", "cond", "StatefulPartitionedCall", "PartitionedCall")


def shorten_names(content: bytes) -> bytes:
    """Return a file whose inner tensors have the names of their layers alone, e.g. "/dense_1/".

    The converter names each tensor by the path of the operation that it comes from, which nothing reads at run time.
    From what is left `doctor` and profilers know the layer. Inputs and outputs of the file keep their names.

    Args:
        content: a `.tflite` file.

    Returns:
        The new file, or the same where it would be no smaller.
    """
    model = flatbuffers.read(content)
    for number, graph in enumerate(model.subgraphs):
        kept = {int(place) for place in (*graph.inputs, *graph.outputs)} if number == 0 else set()
        for place, tensor in enumerate(graph.tensors):
            if place not in kept:
                tensor.name = layer_path((tensor.name or b"").decode("utf-8", "replace")).encode()
    shorter = flatbuffers.write(model)
    return shorter if len(shorter) < len(content) else content


def layer_path(name: str) -> str:
    """Return the part of a tensor's name that names its layer, without the model's name and the operation's.

    Args:
        name: as the converter gives it: paths of operations, below the model's name, with ";" between.

    Returns:
        A path that begins and ends with "/"; "" if there is none.

    Example:
        >>> layer_path("sequential_1/block_1/dense_1/MatMul;sequential_1/block_1/dense_1/Relu")
        '/block_1/dense_1/'
        >>> layer_path("sequential_1/lstm_1/while/lstm_cell_1/mul_2")
        '/lstm_1/'
    """
    paths = [path.split("/") for path in name.split(";") if "/" in path]
    if not paths:
        return ""
    _, *parts, _ = paths[-1]  # where operations were fused, the last is what the layer was made for
    loop = next((place for place, part in enumerate(parts) if part.startswith(_LOOPS)), len(parts))
    return f"/{'/'.join(parts[:loop])}/" if parts[:loop] else ""

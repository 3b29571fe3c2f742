"""Which dimensions of a TFLite file's inputs take any size."""

from tf_lottery.exporting.tflite import flatbuffers


def free_dimensions(content: bytes) -> dict[str, list[int]]:
    """Return the places of the dimensions that take any size, the batch being 0, by the name of the input.

    Args:
        content: of a `.tflite` file with one signature; inputs without a free dimension are left out.
    """
    model = flatbuffers.read(content)
    tensors = model.subgraphs[0].tensors
    places = {
        entry.name.decode(): [
            place for place, size in enumerate(tensors[entry.tensorIndex].shapeSignature or ()) if size == -1
        ]
        for entry in model.signatureDefs[0].inputs
    }
    return {name: free for name, free in places.items() if free}
